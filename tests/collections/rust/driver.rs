//! Runs a program of operations on one of Rust's collections and prints the requests that each operation makes.
//!
//! The first line of the program names the collection and its types, such as `vec u32` or `map u8 unit`. Each further
//! line is an operation on the slots `a` and `b`. The output repeats the operation after `>`, then has one line for
//! each request, then what the operation returned and the slot's contents after `=`.

mod elements;
mod maps;
mod sequences;
mod shared;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::fmt::Write;
use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[derive(Clone, Copy)]
pub struct Request(&'static str, usize, usize, usize);

const MAX_REQUESTS: usize = 1 << 16;

struct Recorder {
    requests: UnsafeCell<[Request; MAX_REQUESTS]>,
    count: AtomicUsize,
    is_on: AtomicBool,
}

unsafe impl Sync for Recorder {}

impl Recorder {
    fn note(&self, request: Request) {
        if self.is_on.load(Ordering::Relaxed) {
            let index = self.count.fetch_add(1, Ordering::Relaxed);
            unsafe { (*self.requests.get())[index] = request };
        }
    }
}

unsafe impl GlobalAlloc for Recorder {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.note(Request("alloc", layout.size(), layout.align(), 0));
        System.alloc(layout)
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.note(Request("zeroed", layout.size(), layout.align(), 0));
        System.alloc_zeroed(layout)
    }
    unsafe fn realloc(&self, address: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.note(Request("realloc", layout.size(), layout.align(), size));
        System.realloc(address, layout, size)
    }
    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        self.note(Request("free", layout.size(), layout.align(), 0));
        System.dealloc(address, layout)
    }
}

#[global_allocator]
static RECORDER: Recorder = Recorder {
    requests: UnsafeCell::new([Request("", 0, 0, 0); MAX_REQUESTS]),
    count: AtomicUsize::new(0),
    is_on: AtomicBool::new(false),
};

/// Run something of which the requests are recorded.
pub fn recorded<R>(action: impl FnOnce() -> R) -> R {
    let before = RECORDER.is_on.swap(true, Ordering::Relaxed);
    let result = action();
    RECORDER.is_on.store(before, Ordering::Relaxed);
    result
}

/// Run something in the middle of that without recording it.
pub fn unrecorded<R>(action: impl FnOnce() -> R) -> R {
    let before = RECORDER.is_on.swap(false, Ordering::Relaxed);
    let result = action();
    RECORDER.is_on.store(before, Ordering::Relaxed);
    result
}

/// One line of the program: the operation, its slot, and its arguments.
pub struct Step<'a> {
    pub name: &'a str,
    pub slot: usize,
    pub args: Vec<&'a str>,
}

impl Step<'_> {
    /// A numeric argument.
    pub fn number(&self, index: usize) -> usize {
        self.args[index].parse().unwrap()
    }
}

pub fn step(line: &str) -> Step<'_> {
    let mut words = line.split(' ');
    let name = words.next().unwrap();
    let slot = usize::from(words.next().unwrap_or("a") == "b");
    Step { name, slot, args: words.collect() }
}

/// Run each line by `perform`, which returns what the operation gave and what the slot holds.
pub fn run(lines: &[&str], mut perform: impl FnMut(&Step) -> String) {
    let mut out = String::new();
    for line in lines {
        let given = step(line);
        RECORDER.count.store(0, Ordering::Relaxed);
        let result = perform(&given);
        writeln!(out, "> {line}").unwrap();
        let count = RECORDER.count.load(Ordering::Relaxed);
        for Request(kind, size, align, new) in unsafe { &(&*RECORDER.requests.get())[..count] } {
            match *kind {
                "alloc" => writeln!(out, "{size}@{align}"),
                "realloc" => writeln!(out, "{size}@{align} -> {new}"),
                _ => writeln!(out, "{kind} {size}@{align}"),
            }
            .unwrap();
        }
        writeln!(out, "={result}").unwrap();
    }
    print!("{out}");
}

fn main() {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).unwrap();
    let programs: Vec<&str> = text.split("\n\n").filter(|program| !program.trim().is_empty()).collect();
    for program in programs {
        let lines: Vec<&str> = program.trim().lines().collect();
        let head: Vec<&str> = lines[0].split(' ').collect();
        println!("{}", lines[0]);
        match head[0] {
            "vec" | "deque" | "string" | "list" | "heap" => sequences::dispatch(head[0], head[1], &lines[1..]),
            "map" | "tree" => maps::dispatch(head[0], head[1], head[2], &lines[1..]),
            _ => shared::dispatch(head[0], head[1], &lines[1..]),
        }
        println!();
    }
}
