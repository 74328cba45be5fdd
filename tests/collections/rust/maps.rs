//! HashMap, with a hash that is the same in each run, and BTreeMap.

use crate::elements::{Elem, Fnv};
use crate::{recorded, run, unrecorded, Step};
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;

type Map<K, V> = HashMap<K, V, BuildHasherDefault<Fnv>>;

macro_rules! with_pair {
    ($names:expr, $run:ident, $lines:expr, $($key:literal $value:literal $k:ty, $v:ty);*) => {
        match $names {
            $(($key, $value) => $run::<$k, $v>($lines),)*
            other => panic!("no pair of types {other:?}"),
        }
    };
}

pub fn dispatch(kind: &str, key: &str, value: &str, lines: &[&str]) {
    match kind {
        "map" => with_pair!(
            (key, value), run_map, lines,
            "u8" "unit" u8, (); "u8" "u8" u8, u8; "u16" "u8" u16, u8; "u64" "u64" u64, u64; "b3" "unit" [u8; 3], ();
            "string" "u32" String, u32; "u32" "string" u32, String; "box" "box" Box<u32>, Box<u32>
        ),
        _ => with_pair!(
            (key, value), run_tree, lines,
            "u8" "unit" u8, (); "u32" "u32" u32, u32; "u16" "b3" u16, [u8; 3]; "string" "string" String, String
        ),
    }
}

fn pairs<K: Elem, V: Elem>(texts: &[&str]) -> Vec<(K, V)> {
    let mut values = unrecorded(|| Vec::with_capacity(texts.len() / 2));
    texts.chunks(2).for_each(|pair| values.push((K::make(pair[0]), V::make(pair[1]))));
    values
}

fn pair<K: Elem, V: Elem>(texts: &[&str]) -> (K, V) {
    (K::make(texts[0]), V::make(texts[1]))
}

fn shown<'a, K: Elem + 'a, V: Elem + 'a>(pairs: impl Iterator<Item = (&'a K, &'a V)>) -> String {
    unrecorded(|| pairs.map(|(key, value)| format!(" {}:{}", key.number(), value.number())).collect())
}

fn taken<K: Elem, V: Elem>(pairs: impl Iterator<Item = (K, V)>) -> String {
    let mut text = String::new();
    for (key, value) in pairs {
        unrecorded(|| text += &shown(std::iter::once((&key, &value))));
    }
    text
}

macro_rules! common {
    ($slots:ident, $s:ident, $kind:ty) => {{
        let slot = $s.slot;
        match $s.name {
            "new" => $slots[slot] = <$kind>::default(),
            "insert" => { let (k, v) = pair(&$s.args); $slots[slot].insert(k, v); }
            "entry" => { let (k, v) = pair(&$s.args); $slots[slot].entry(k).or_insert(v); }
            "extend" => { let mut values = pairs(&$s.args); $slots[slot].extend(values.drain(..)); unrecorded(|| drop(values)); }
            "extend_unsized" => {
                let mut values = pairs(&$s.args);
                $slots[slot].extend(values.drain(..).filter(|_| true));
                unrecorded(|| drop(values));
            }
            "clear" => $slots[slot].clear(),
            "retain_even" => $slots[slot].retain(|key, _| key.number() % 2 == 0),
            "clone" => $slots[1 - slot] = $slots[slot].clone(),
            other => panic!("no operation {other}"),
        }
        String::new()
    }};
}

fn key_of<K: Elem>(s: &Step) -> K {
    unrecorded(|| K::make(s.args[0]))
}

fn run_map<K: Elem, V: Elem>(lines: &[&str]) {
    let mut slots: [Map<K, V>; 2] = [Map::default(), Map::default()];
    run(lines, |s: &Step| {
        let result = recorded(|| {
            let map = &mut slots[s.slot];
            match s.name {
                "with_capacity" => *map = Map::with_capacity_and_hasher(s.number(0), Default::default()),
                "remove" => { let key = key_of(s); drop(map.remove(&key)); unrecorded(|| drop(key)) }
                "reserve" => map.reserve(s.number(0)),
                "shrink_to_fit" => map.shrink_to_fit(),
                "shrink_to" => map.shrink_to(s.number(0)),
                "drain" => return taken(map.drain()),
                _ => return common!(slots, s, Map<K, V>),
            }
            String::new()
        });
        let map = &slots[s.slot];
        format!("{result} | {} {}:{}", map.len(), map.capacity(), shown(map.iter()))
    });
}

fn run_tree<K: Elem, V: Elem>(lines: &[&str]) {
    let mut slots: [BTreeMap<K, V>; 2] = [BTreeMap::new(), BTreeMap::new()];
    run(lines, |s: &Step| {
        let result = recorded(|| {
            let map = &mut slots[s.slot];
            match s.name {
                "remove" => { let key = key_of(s); drop(map.remove(&key)); unrecorded(|| drop(key)) }
                "pop_first" => return taken(map.pop_first().into_iter()),
                "pop_last" => return taken(map.pop_last().into_iter()),
                "append" => { let [a, b] = &mut slots; if s.slot == 0 { a.append(b) } else { b.append(a) } }
                "split_off" => { let key = key_of(s); slots[1 - s.slot] = slots[s.slot].split_off(&key); unrecorded(|| drop(key)) }
                _ => return common!(slots, s, BTreeMap<K, V>),
            }
            String::new()
        });
        let map = &slots[s.slot];
        format!("{result} | {}:{}", map.len(), shown(map.iter()))
    });
}
