"""Scripts of interpreters. `scale` is the amount of work: 1 is about a second."""

from __future__ import annotations

from pathlib import Path

PYTHON = """
import json, sys
words = {{f"key {{i}}": [i, str(i) * (i % 9), {{"n": i, "half": i / 2}}] for i in range({n})}}
for _ in range(3):
    words = json.loads(json.dumps(words))
groups = {{}}
for key, (i, text, more) in words.items():
    groups.setdefault(text, []).append((key, more["half"]))
print(sum(len(each) for each in groups.values()))
words = groups = key = text = more = None
open("drained", "w").write("\\n")
sys.stdin.read()
"""
PERL = """
my %h;
for my $i (1..{n}) {{ $h{{"k" . ($i * 7919 % 60013)}} .= chr(65 + $i % 26) x ($i % 13) }}
my @keys = sort {{ length($h{{$a}}) <=> length($h{{$b}}) || $a cmp $b }} keys %h;
print scalar(@keys), " ", join(",", @keys[0..4]), "\\n";
undef %h; undef @keys;
open(my $drained, ">", "drained"); print $drained "\\n"; close $drained;
my @rest = <STDIN>;
"""
LUA = """
local t, parts = {{}}, {{}}
for i = 1, {n} do
  t[i % 50021] = {{ name = ("x"):rep(i % 40) .. i, next = t[(i * 31) % 50021] and i }}
  if i % 7 == 0 then parts[#parts + 1] = t[i % 50021].name:upper() end
end
print(#table.concat(parts, ","))
t, parts = nil, nil
collectgarbage()
local drained = io.open("drained", "w")
drained:write("\\n")
drained:close()
io.read("a")
"""
RUBY = """
words = {{}}
{n}.times {{ |i| words["key #{{i * 7919 % 60013}}"] = [i.to_s * (i % 9), {{ n: i, half: i / 2.0 }}] }}
groups = words.values.group_by {{ |text, _| text.length }}
puts groups.keys.sort.map {{ |k| "#{{k}} #{{groups[k].map {{ |t, h| t + h[:n].to_s }}.sort.last}}" }}.join(",").length
puts words.keys.map(&:reverse).sort.uniq.length
words = groups = nil
GC.start
File.write("drained", "\\n")
STDIN.read
"""
NODE = """
const fs = require("fs");
let words = new Map(), bytes = 0;
for (let i = 0; i < {n}; i++)
  words.set("key " + i * 7919 % 60013, {{ text: String(i).repeat(i % 9), buffer: Buffer.alloc(16 + i % 3000, 65) }});
for (const [key, each] of words) bytes += each.buffer.toString().length + JSON.stringify([key, each.text]).length;
console.log(words.size, bytes);
words = null;
if (global.gc) global.gc();
fs.writeFileSync("drained", "\\n");
fs.readFileSync(0);
"""
PHP = """<?php
$words = [];
for ($i = 0; $i < {n}; $i++)
  $words["key " . ($i * 7919 % 60013)] = ["text" => str_repeat((string)$i, $i % 9), "n" => $i, "half" => $i / 2];
$words = json_decode(json_encode($words), true);
$groups = [];
foreach ($words as $key => $each) $groups[$each["text"]][] = $key;
ksort($groups, SORT_STRING);
echo count($groups), " ", md5(json_encode($groups)), "\\n";
$words = $groups = $each = null;
file_put_contents("drained", "\\n");
stream_get_contents(STDIN);
"""
GAWK = """
BEGIN {{
  letters_of_all = "abcdefghijklmnopqrstuvwxyz"
  for (i = 0; i < {n}; i++) text[i * 7919 % 60013] = text[i * 31 % 60013] substr(letters_of_all, i % 20, i % 7)
  for (key in text) {{
    if (length(text[key]) > 200) text[key] = substr(text[key], 1, 50)
    total += length(toupper(text[key])); parts += split(text[key], letters, "e")
  }}
  print total, parts
  delete text; delete letters
  print "" > "drained"; close("drained")
  while ((getline line < "-") > 0);
}}
"""
PROLOG = """
:- dynamic fact/3.
fill(N) :- forall(between(1, N, I), add(I)).
add(I) :- K is I * 7919 mod 60013, atom_concat(key_, K, A), assertz(fact(K, A, [I, K, A])).
lengths(N, L) :- findall(A-I, fact(_, A, [I|_]), Pairs), msort(Pairs, Sorted), length(Sorted, N), group(Sorted, L).
group(Sorted, L) :-
  pairs_keys(Sorted, Keys), sort(Keys, Unique), atomic_list_concat(Unique, ',', Text), atom_length(Text, L).
main :- fill({n}), lengths(N, L), print(N-L), nl, retractall(fact(_, _, _)), garbage_collect, garbage_collect_atoms,
  garbage_collect_clauses, trim_stacks, trim_heap, flush_output,
  open(drained, write, S), nl(S), close(S), read_string(user_input, _, _), halt.
:- initialization(main).
"""


def python_script(folder: Path, scale: float) -> None:
    (folder / "work.py").write_text(PYTHON.format(n=int(40_000 * scale)))


def perl_script(folder: Path, scale: float) -> None:
    (folder / "work.pl").write_text(PERL.format(n=int(1_000_000 * scale)))


def lua_script(folder: Path, scale: float) -> None:
    (folder / "work.lua").write_text(LUA.format(n=int(400_000 * scale)))


def ruby_script(folder: Path, scale: float) -> None:
    (folder / "work.rb").write_text(RUBY.format(n=int(300_000 * scale)))


def node_script(folder: Path, scale: float) -> None:
    (folder / "work.js").write_text(NODE.format(n=int(100_000 * scale)))


def php_script(folder: Path, scale: float) -> None:
    (folder / "work.php").write_text(PHP.format(n=int(300_000 * scale)))


def gawk_script(folder: Path, scale: float) -> None:
    (folder / "work.awk").write_text(GAWK.format(n=int(1_000_000 * scale)))


def prolog_script(folder: Path, scale: float) -> None:
    (folder / "work.pl").write_text(PROLOG.format(n=int(100_000 * scale)))
