//! Tell the linker where the heap is: in this folder.

fn main() {
    let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where the crate is");
    println!("cargo:rustc-link-search=native={folder}");
    println!("cargo:rerun-if-changed=libheapwright_heap.a");
}
