//! The types of elements: each is made of a number, and says it again.

use crate::unrecorded;
use std::hash::{Hash, Hasher};

pub trait Elem: Clone + Ord + Hash + Sized {
    fn make(text: &str) -> Self;
    fn number(&self) -> u64;
}

macro_rules! integer {
    ($($kind:ty)*) => {$(
        impl Elem for $kind {
            fn make(text: &str) -> Self { text.parse().unwrap() }
            fn number(&self) -> u64 { *self as u64 }
        }
    )*};
}

integer!(u8 u16 u32 u64);

impl Elem for () {
    fn make(_: &str) -> Self {}
    fn number(&self) -> u64 { 0 }
}

impl<const N: usize> Elem for [u8; N] {
    fn make(text: &str) -> Self { [text.parse().unwrap(); N] }
    fn number(&self) -> u64 { self[N - 1].into() }
}

impl Elem for String {
    fn make(text: &str) -> Self { String::from(text) }
    fn number(&self) -> u64 { self.parse().unwrap() }
}

impl<T: Elem> Elem for Box<T> {
    fn make(text: &str) -> Self { Box::new(T::make(text)) }
    fn number(&self) -> u64 { (**self).number() }
}

/// The numbers of elements, in a text that is made without being recorded.
pub fn shown<'a, T: Elem + 'a>(values: impl Iterator<Item = &'a T>) -> String {
    unrecorded(|| values.map(|value| format!(" {}", value.number())).collect())
}

/// FNV-1a, its high half folded into the low one: the hash that heapwright's HashMap has.
pub struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self { Fnv(0xCBF2_9CE4_8422_2325) }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3);
        }
    }
    fn finish(&self) -> u64 { self.0 ^ self.0 >> 32 }
}

/// Call a generic function for one of some types, by its name.
#[macro_export]
macro_rules! with_element {
    ($name:expr, $run:ident, $lines:expr, $($text:literal $kind:ty),*) => {
        match $name {
            $($text => $run::<$kind>($lines),)*
            other => panic!("no element type {other}"),
        }
    };
}
