//! A method of a generic struct allocates most.
use std::hint::black_box;

mod orchard {
    pub struct Basket<T> {
        fruit: Vec<Box<T>>,
    }

    impl<T: Clone> Basket<T> {
        pub fn new() -> Self {
            Basket { fruit: Vec::new() }
        }

        #[inline(never)]
        pub fn fill(&mut self, one: &T, count: usize) {
            for _ in 0..count {
                self.fruit.push(Box::new(one.clone()));
            }
        }
    }
}

#[inline(never)]
fn harvest(basket: &mut orchard::Basket<[u8; 5000]>) {
    basket.fill(&[1; 5000], 100);
    black_box(basket);
}

fn main() {
    let mut basket = orchard::Basket::new();
    harvest(black_box(&mut basket));
    black_box(&basket);
}
