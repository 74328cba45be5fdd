"""Runtimes with a heap of their own: each is named, with the memory that it has and where to ask for more."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from heapwright.lab.inspect import inspect
from heapwright.live.report import report_of
from heapwright.pictures.memory import answer, parts_table

BYTES = 48 << 20  # that each program keeps

GO = """
package main
import ("fmt"; "os")
func main() {
    var kept [][]byte
    for i := 0; i < 48; i++ {
        block := make([]byte, 1 << 20)
        for at := range block { block[at] = 1 }
        kept = append(kept, block)
    }
    fmt.Println("ready"); os.Stdin.Read(make([]byte, 1)); fmt.Println(len(kept))
}
"""
JAVA = """
import java.util.*;
public class Kept {
    public static void main(String[] words) throws Exception {
        List<byte[]> kept = new ArrayList<>();
        for (int i = 0; i < 48 * 1024; i++) { byte[] one = new byte[1008]; Arrays.fill(one, (byte) 1); kept.add(one); }
        System.out.println("ready"); System.in.read(); System.out.println(kept.size());
    }
}
"""
NODE = "kept = []; for (i = 0; i < 12e5; i++) kept.push({i}); console.log('ready'); process.stdin.resume()"
PROGRAMS = {
    "Go": ("go", "kept.go", GO, ["build", "-o", "kept", "kept.go"], ["./kept"]),
    "stripped Go": ("go", "kept.go", GO, ["build", "-ldflags=-s -w", "-o", "kept", "kept.go"], ["./kept"]),
    "Java": ("javac", "Kept.java", JAVA, ["Kept.java"], ["java", "Kept"]),
    "node": ("node", "kept.js", NODE, None, ["node", "kept.js"]),
}
SAID = {
    "Go": ("Go's runtime", "runtime.ReadMemStats"),
    "Java": ("the JVM", "jcmd PID GC.heap_info"),
    "node": ("V8", "process.memoryUsage()"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_runtime_is_named_with_its_memory(kind, program, tmp_path, monkeypatch):
    tool, file, text, arguments, command = PROGRAMS[kind]
    if not shutil.which(tool):
        pytest.skip(f"{tool} is not installed")
    monkeypatch.chdir(tmp_path)
    (tmp_path / file).write_text(text)
    if arguments:
        subprocess.run([tool, *arguments], check=True, cwd=tmp_path)
    found = report_of(inspect(program(*command, GOCACHE=str(tmp_path / "cache")).pid))
    name, remedy = SAID[kind.split()[-1]]
    size = found["parts"]["foreign_heap"]
    assert BYTES < size < 4 * BYTES
    assert sum(row["resident"] for row in found["table"].values()) == found["resident_bytes"]
    assert found["diagnosis"] == "another allocator"
    assert answer(found)[1].startswith(f"it is mostly memory of {name}, ")
    [note] = [note for note in found["notes"] if note.startswith(name)]
    assert note.startswith(f"{name} has {size / (1 << 20):,.1f} MiB, which is not read: ") and remedy in note
    assert f"memory of {name}" in list(parts_table(found).columns[0].cells)


MUSL = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static char *kept[20000];
int main(void) {
    for (int i = 0; i < 20000; i++) kept[i] = memset(malloc(1004), i + 1, 1004);
    for (int i = 0; i < 20000; i++) if (i % 4) free(kept[i]);
    for (int i = 0; i < 10000; i++) kept[i] = malloc(28); /* their groups lie within slots of others */
    for (int i = 0; i < 3; i++) memset(malloc(1 << 20), 1, 1 << 20);
    puts("ready"); fflush(stdout); return getchar();
}
"""


@pytest.mark.skipif(not shutil.which("musl-gcc"), reason="musl-gcc is not installed (Debian: musl-tools)")
@pytest.mark.parametrize("flags", [(), ("-static", "-s")])
def test_musls_live_blocks(flags, program, tmp_path):
    """A slot has 4 bytes more than the block that fills it; a mapped block is rounded up to a page."""
    (tmp_path / "kept.c").write_text(MUSL)
    subprocess.run(["musl-gcc", "-w", "-o", tmp_path / "kept", tmp_path / "kept.c", *flags], check=True)
    found = report_of(inspect(program(tmp_path / "kept").pid))
    [figures] = found["statistics"]
    live, freed = 5000 * 1008 + 10000 * 32 + (3 << 20), 15000 * 1008 - 10000 * 32
    assert found["allocator"] == figures["name"] == "musl's mallocng" and not found["notes"]
    assert live <= figures["live_bytes"] <= 1.001 * live + 20_000
    assert abs(figures["free_bytes"] - freed) < 0.01 * freed
    assert found["diagnosis"] == "fragmentation"
    assert answer(found)[2].startswith("musl's mallocng's own records: 8.1 MiB live, ")
