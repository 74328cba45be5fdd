//! Vec, VecDeque, LinkedList, BinaryHeap and String.

use crate::elements::{shown, Elem};
use crate::{recorded, run, unrecorded, with_element, Step};
use std::collections::{BinaryHeap, LinkedList, VecDeque};

pub fn dispatch(kind: &str, element: &str, lines: &[&str]) {
    match kind {
        "vec" => with_element!(
            element, run_vec, lines,
            "u8" u8, "u32" u32, "u64" u64, "unit" (), "b3" [u8; 3], "b1025" [u8; 1025], "string" String
        ),
        "deque" => with_element!(element, run_deque, lines, "u8" u8, "u32" u32, "unit" (), "string" String),
        "list" => with_element!(element, run_list, lines, "u8" u8, "u64" u64, "string" String),
        "heap" => with_element!(element, run_heap, lines, "u8" u8, "u64" u64, "string" String),
        _ => run_string(lines),
    }
}

/// Make elements in a Vec that is not recorded; the elements' own requests are.
fn made<T: Elem>(texts: &[&str]) -> Vec<T> {
    let mut values = unrecorded(|| Vec::with_capacity(texts.len()));
    texts.iter().for_each(|text| values.push(T::make(text)));
    values
}

fn forget_buffer<T>(values: Vec<T>) {
    assert!(values.is_empty());
    unrecorded(|| drop(values));
}

fn one<T: Elem>(value: &T) -> String {
    shown(std::iter::once(value))
}

/// The number of an element that was taken out, and its end.
fn taken<T: Elem>(value: Option<T>) -> String {
    value.map_or(String::new(), |value| one(&value))
}

fn drained<T: Elem>(values: impl Iterator<Item = T>) -> String {
    let mut text = String::new();
    for value in values {
        unrecorded(|| text += &one(&value));
    }
    text
}

macro_rules! common {
    ($kind:ident, $slots:ident, $s:ident, $push:ident) => {{
        let slot = $s.slot;
        match $s.name {
            "new" => $slots[slot] = $kind::new(),
            "with_capacity" => $slots[slot] = $kind::with_capacity($s.number(0)),
            "of" => {
                let mut values = made(&$s.args);
                $slots[slot] = values.drain(..).collect();
                forget_buffer(values);
            }
            "clear" => $slots[slot].clear(),
            "reserve" => $slots[slot].reserve($s.number(0)),
            "reserve_exact" => $slots[slot].reserve_exact($s.number(0)),
            "shrink_to_fit" => $slots[slot].shrink_to_fit(),
            "shrink_to" => $slots[slot].shrink_to($s.number(0)),
            "extend" => {
                let mut values = made(&$s.args);
                $slots[slot].extend(values.drain(..));
                forget_buffer(values);
            }
            "extend_unsized" => {
                let mut values = made(&$s.args);
                $slots[slot].extend(values.drain(..).filter(|_| true));
                forget_buffer(values);
            }
            "append" => {
                let [a, b] = &mut $slots;
                if slot == 0 { a.append(b) } else { b.append(a) }
            }
            "retain_even" => $slots[slot].retain(|value| value.number() % 2 == 0),
            "clone" => $slots[1 - slot] = $slots[slot].clone(),
            other => panic!("no operation {other}"),
        }
        String::new()
    }};
}

macro_rules! indexed {
    ($kind:ident, $slots:ident, $s:ident, $push:ident) => {{
        let slot = $s.slot;
        let len = $slots[slot].len();
        let at = |index: usize, end: usize| $s.number(index) % end;
        match $s.name {
            "insert" => {
                let value = T::make($s.args[1]);
                $slots[slot].insert(at(0, len + 1), value);
                String::new()
            }
            "truncate" => { $slots[slot].truncate($s.number(0)); String::new() }
            "split_off" => { $slots[1 - slot] = $slots[slot].split_off(at(0, len + 1)); String::new() }
            "drain" => {
                let (first, end) = (at(0, len + 1), at(1, len + 1));
                drained($slots[slot].drain(first.min(end)..first.max(end)))
            }
            "resize" => { let value = T::make($s.args[1]); $slots[slot].resize($s.number(0), value); String::new() }
            _ => common!($kind, $slots, $s, $push),
        }
    }};
}

fn run_vec<T: Elem>(lines: &[&str]) {
    let mut slots: [Vec<T>; 2] = [Vec::new(), Vec::new()];
    run(lines, |s: &Step| {
        let result = recorded(|| {
            let v = &mut slots[s.slot];
            match s.name {
                "push" => { v.push(T::make(s.args[0])); String::new() }
                "pop" => taken(v.pop()),
                "remove" if v.len() > 0 => { let i = s.number(0) % v.len(); taken(Some(v.remove(i))) }
                "swap_remove" if v.len() > 0 => { let i = s.number(0) % v.len(); taken(Some(v.swap_remove(i))) }
                "remove" | "swap_remove" => String::new(),
                "dedup" => { v.dedup(); String::new() }
                "boxed" => { *v = std::mem::take(v).into_boxed_slice().into_vec(); String::new() }
                _ => indexed!(Vec, slots, s, push),
            }
        });
        let v = &slots[s.slot];
        format!("{result} | {} {}:{}", v.len(), v.capacity() as i64, shown(v.iter()))
    });
    drop(slots);
}

fn run_deque<T: Elem>(lines: &[&str]) {
    let mut slots: [VecDeque<T>; 2] = [VecDeque::new(), VecDeque::new()];
    run(lines, |s: &Step| {
        let result = recorded(|| {
            let v = &mut slots[s.slot];
            match s.name {
                "push_back" => { v.push_back(T::make(s.args[0])); String::new() }
                "push_front" => { v.push_front(T::make(s.args[0])); String::new() }
                "pop_back" => taken(v.pop_back()),
                "pop_front" => taken(v.pop_front()),
                "remove" => { let i = s.number(0) % (v.len() + 1); taken(v.remove(i)) }
                _ => indexed!(VecDeque, slots, s, push_back),
            }
        });
        let v = &slots[s.slot];
        format!("{result} | {} {}:{}", v.len(), v.capacity() as i64, shown(v.iter()))
    });
}

fn run_list<T: Elem>(lines: &[&str]) {
    let mut slots: [LinkedList<T>; 2] = [LinkedList::new(), LinkedList::new()];
    run(lines, |s: &Step| {
        let result = recorded(|| {
            let v = &mut slots[s.slot];
            match s.name {
                "push_back" => v.push_back(T::make(s.args[0])),
                "push_front" => v.push_front(T::make(s.args[0])),
                "pop_back" => return taken(v.pop_back()),
                "pop_front" => return taken(v.pop_front()),
                "clear" => v.clear(),
                "extend" => {
                    let mut values = made(&s.args);
                    v.extend(values.drain(..));
                    forget_buffer(values);
                }
                "append" => { let [a, b] = &mut slots; if s.slot == 0 { a.append(b) } else { b.append(a) } }
                "split_off" => { let i = s.number(0) % (v.len() + 1); slots[1 - s.slot] = slots[s.slot].split_off(i) }
                "clone" => slots[1 - s.slot] = slots[s.slot].clone(),
                other => panic!("no operation {other}"),
            }
            String::new()
        });
        let v = &slots[s.slot];
        format!("{result} | {}:{}", v.len(), shown(v.iter()))
    });
}

fn run_heap<T: Elem>(lines: &[&str]) {
    let mut slots: [BinaryHeap<T>; 2] = [BinaryHeap::new(), BinaryHeap::new()];
    run(lines, |s: &Step| {
        let result = recorded(|| {
            let v = &mut slots[s.slot];
            match s.name {
                "push" => { v.push(T::make(s.args[0])); String::new() }
                "pop" => taken(v.pop()),
                _ => common!(BinaryHeap, slots, s, push),
            }
        });
        let v = &slots[s.slot];
        format!("{result} | {} {}:{}", v.len(), v.capacity() as i64, shown(v.iter()))
    });
}

fn run_string(lines: &[&str]) {
    let mut slots = [String::new(), String::new()];
    run(lines, |s: &Step| {
        let slot = s.slot;
        recorded(|| match s.name {
            "new" => slots[slot] = String::new(),
            "from" => slots[slot] = String::from(s.args[0]),
            "with_capacity" => slots[slot] = String::with_capacity(s.number(0)),
            "push" => slots[slot].push(s.args[0].chars().next().unwrap()),
            "push_str" => slots[slot].push_str(s.args[0]),
            "pop" => { slots[slot].pop(); }
            "insert_str" => { let i = boundary(&slots[slot], s.number(0)); slots[slot].insert_str(i, s.args[1]) }
            "remove" => {
                let i = boundary(&slots[slot], s.number(0));
                if i < slots[slot].len() { slots[slot].remove(i); }
            }
            "truncate" => { let i = boundary(&slots[slot], s.number(0)); slots[slot].truncate(i) }
            "split_off" => { let i = boundary(&slots[slot], s.number(0)); slots[1 - slot] = slots[slot].split_off(i) }
            "extend" => slots[slot].extend(s.args[0].chars()),
            "clear" => slots[slot].clear(),
            "reserve" => slots[slot].reserve(s.number(0)),
            "reserve_exact" => slots[slot].reserve_exact(s.number(0)),
            "shrink_to_fit" => slots[slot].shrink_to_fit(),
            "shrink_to" => slots[slot].shrink_to(s.number(0)),
            "clone" => slots[1 - slot] = slots[slot].clone(),
            "boxed" => slots[slot] = std::mem::take(&mut slots[slot]).into_boxed_str().into_string(),
            other => panic!("no operation {other}"),
        });
        format!(" | {} {}: {}", slots[slot].len(), slots[slot].capacity(), slots[slot])
    });
}

/// The start of a character, at or before a number that is brought into the string.
fn boundary(text: &str, number: usize) -> usize {
    let mut index = number % (text.len() + 1);
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}
