//! A heapwright heap as the global allocator of a Rust program.
//!
//! ```
//! #[global_allocator]
//! static HEAP: heapwright::Heap = heapwright::Heap;
//! # fn main() {}
//! ```
//!
//! The heap is linked into the program. It is also the malloc of the C libraries that the program uses.

#![no_std]
#![warn(unsafe_op_in_unsafe_fn)]

use core::alloc::{GlobalAlloc, Layout};
use core::mem::MaybeUninit;

#[link(name = "heapwright_heap", kind = "static")]
extern "C" {
    fn heapwright_alloc(size: usize, align: usize) -> *mut u8;
    fn heapwright_alloc_zeroed(size: usize, align: usize) -> *mut u8;
    fn heapwright_dealloc(block: *mut u8, size: usize, align: usize);
    fn heapwright_realloc(block: *mut u8, size: usize, align: usize, new_size: usize) -> *mut u8;
    fn heapwright_trim(pad: usize) -> usize;
    fn heapwright_stats(stats: *mut Stats) -> i64;
}

/// The heap of the process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Heap;

// SAFETY: any number of threads may call the heap. It returns null, or a block of at least the layout's size at its
// alignment that no live block overlaps. `realloc` keeps the block's bytes and alignment, and the block itself where it
// fails. Nothing unwinds.
unsafe impl GlobalAlloc for Heap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        unsafe { heapwright_alloc(layout.size(), layout.align()) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        unsafe { heapwright_alloc_zeroed(layout.size(), layout.align()) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        unsafe { heapwright_dealloc(block, layout.size(), layout.align()) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        unsafe { heapwright_realloc(block, layout.size(), layout.align(), new_size) }
    }
}

/// Give free pages back to the kernel, except `pad` bytes at the end of the heap. Returns the number of bytes.
pub fn trim(pad: usize) -> usize {
    // SAFETY: any pad is one; the heap takes at most 2^62.
    unsafe { heapwright_trim(pad.min(1 << 62)) }
}

/// The heap's statistics now.
pub fn stats() -> Stats {
    let mut stats = MaybeUninit::uninit();
    // SAFETY: the heap fills in every field.
    unsafe {
        heapwright_stats(stats.as_mut_ptr());
        stats.assume_init()
    }
}

/// The blocks of one class of sizes.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SizeClass {
    /// The most bytes of a block of this class: 16, 32, 64 ... 1 GiB. The last class has no limit.
    pub size: i64,
    pub live_blocks: i64,
    pub live_bytes: i64,
    /// Requests that a block of this class served.
    pub requests: i64,
}

/// Statistics of a heap. Bytes are those that the allocator granted.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Stats {
    /// Without the layer `counted`: all that is not free, the heap's own records included.
    pub live_bytes: i64,
    /// 0 if the heap does not know.
    pub live_blocks: i64,
    /// The most live bytes at one time; 0 without `counted`.
    pub peak_bytes: i64,
    /// Bytes that the kernel gave and has not got back.
    pub heap_bytes: i64,
    pub peak_heap_bytes: i64,
    pub free_bytes: i64,
    pub free_blocks: i64,
    pub largest_free: i64,
    /// Those of the free bytes that fast bins keep unmerged.
    pub fast_bytes: i64,
    pub fast_blocks: i64,
    /// Bytes of the blocks that have a mapping each.
    pub mapped_bytes: i64,
    pub mapped_blocks: i64,
    /// Bytes that all other blocks are cut from.
    pub arena_bytes: i64,
    /// Bytes that [`trim`] could give back.
    pub spare_bytes: i64,
    /// Calls; 0 without `counted`.
    pub allocs: i64,
    pub deallocs: i64,
    pub reallocs: i64,
    pub failures: i64,
    /// How often the kernel gave memory.
    pub growths: i64,
    /// How often it got memory back.
    pub shrinks: i64,
    /// How often it got back the frames of pages that stay mapped.
    pub decommits: i64,
    /// All 0 without `counted`.
    pub classes: [SizeClass; 28],
}
