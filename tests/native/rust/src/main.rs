//! Rust's collections on a heapwright heap, which counts the calls: each check says what the heap must have served.

use std::alloc::{GlobalAlloc, Layout};
use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc;
use std::thread;

#[global_allocator]
static HEAP: heapwright::Heap = heapwright::Heap;

#[repr(align(65536))]
#[derive(Clone, Copy)]
struct Wide([u8; 65536]);

/// The calls of alloc, realloc and dealloc that a function makes.
fn calls<T>(function: impl FnOnce() -> T) -> (i64, i64, i64) {
    let before = heapwright::stats();
    let value = function();
    let after = heapwright::stats();
    drop(value);
    (after.allocs - before.allocs, after.reallocs - before.reallocs, after.deallocs - before.deallocs)
}

fn boxes() {
    let made = calls(|| [(); 1000].map(|()| Box::new(42u64)));
    assert_eq!(made, (1000, 0, 0));
    let made = calls(|| drop([(); 1000].map(|()| Box::new(42u64))));
    assert_eq!(made, (1000, 0, 1000));
}

fn vectors() {
    let grown = calls(|| (0..1000u32).fold(Vec::new(), |mut v, each| {
        v.push(each);
        v
    }));
    assert_eq!(grown, (1, 8, 0)); // room for 4, then doubled up to 1024
    let v: Vec<u32> = (0..100_000).collect();
    assert!(v.iter().enumerate().all(|(index, each)| index == *each as usize));
    let zeroed = vec![0u8; 1 << 20];
    assert!(zeroed.iter().all(|each| *each == 0));
}

fn strings_and_maps() {
    let words: Vec<String> = (0..5000).map(|each| format!("word number {each}")).collect();
    let mut map: HashMap<&str, usize> = words.iter().enumerate().map(|(index, word)| (word.as_str(), index)).collect();
    map.retain(|_, index| *index % 3 == 0);
    assert!(words.iter().enumerate().all(|(index, word)| map.get(word.as_str()).is_some() == (index % 3 == 0)));
    let tree: BTreeMap<usize, String> = words.iter().cloned().enumerate().collect();
    assert_eq!(tree.iter().map(|(_, word)| word.len()).sum::<usize>(), words.iter().map(String::len).sum());
}

fn wide_boxes() {
    let made: Vec<Box<Wide>> = (0..64).map(|each| Box::new(Wide([each; 65536]))).collect();
    for (index, wide) in made.iter().enumerate() {
        assert_eq!(&**wide as *const Wide as usize % 65536, 0);
        assert!(wide.0.iter().all(|byte| *byte == index as u8));
    }
}

/// The heap resizes a block of any alignment; without `global_allocator`, Rust would move it through malloc.
fn wide_vectors() {
    let grown = calls(|| (0..9).map(|each| Wide([each; 65536])).fold(Vec::new(), |mut v, each| {
        v.push(each);
        v
    }));
    assert_eq!(grown, (1, 4, 0)); // room for 1, 2, 4, 8, 16
}

/// A boxed slice of one alignment, grown twice.
fn aligned_slices() {
    for align in [1, 8, 64, 4096, 1 << 20] {
        let layout = Layout::from_size_align(1000, align).unwrap();
        let more = Layout::from_size_align(100_000, align).unwrap();
        // SAFETY: the layouts have bytes; the block is used with the layout that it has, and freed once.
        unsafe {
            let first = HEAP.alloc_zeroed(layout);
            let bytes = std::slice::from_raw_parts_mut(first, 1000);
            assert!(!first.is_null() && first as usize % align == 0 && bytes.iter().all(|byte| *byte == 0));
            bytes.fill(7);
            let second = HEAP.realloc(first, layout, more.size());
            assert!(!second.is_null() && second as usize % align == 0);
            assert!(std::slice::from_raw_parts(second, 1000).iter().all(|byte| *byte == 7));
            assert!(HEAP.realloc(second, more, isize::MAX as usize + 1 - align).is_null());
            HEAP.dealloc(second, more);
        }
    }
    let boxed: Box<[u8]> = vec![7; 1 << 22].into_boxed_slice();
    assert!(boxed.iter().all(|byte| *byte == 7));
}

/// Blocks made by some threads and freed by another.
fn threads() {
    let (sender, receiver) = mpsc::channel();
    let makers: Vec<_> = (0..4u8)
        .map(|each| {
            let sender = sender.clone();
            thread::spawn(move || (0..2000usize).for_each(|size| sender.send(vec![each; size % 700]).unwrap()))
        })
        .collect();
    drop(sender);
    let bytes: usize = receiver.iter().inspect(|v| assert!(v.iter().all(|each| *each == v[0]))).map(|v| v.len()).sum();
    assert_eq!(bytes, 4 * (0..2000usize).map(|size| size % 700).sum::<usize>());
    makers.into_iter().for_each(|maker| maker.join().unwrap());
}

fn main() {
    boxes();
    vectors();
    strings_and_maps();
    wide_boxes();
    wide_vectors();
    aligned_slices();
    threads();
    heapwright::trim(0);
    let stats = heapwright::stats();
    assert!(stats.classes.iter().map(|class| class.requests).sum::<i64>() >= stats.allocs);
    println!("{} {}", stats.allocs, stats.deallocs);
}
