//! Rc and Arc with their Weak: slots hold as many of each as the program made.

use crate::elements::Elem;
use crate::{recorded, run, unrecorded, with_element, Step};

macro_rules! counted {
    ($run:ident, $module:path) => {
        fn $run<T: Elem>(lines: &[&str]) {
            use $module as home;
            let mut strong: [Option<home::Shared<T>>; 2] = [None, None];
            let mut weak: [Option<home::Weak<T>>; 2] = [None, None];
            run(lines, |s: &Step| {
                let (here, other) = (s.slot, 1 - s.slot);
                let result = recorded(|| {
                    match s.name {
                        "new" => strong[here] = Some(home::Shared::new(T::make(s.args[0]))),
                        "new_cyclic" => {
                            let mut own = None;
                            let made = home::Shared::new_cyclic(|weak| { own = Some(weak.clone()); T::make(s.args[0]) });
                            weak[here] = own;
                            strong[here] = Some(made);
                        }
                        "clone" => strong[other] = strong[here].clone(),
                        "drop" => strong[here] = None,
                        "downgrade" => weak[here] = strong[here].as_ref().map(home::Shared::downgrade),
                        "weak_new" => weak[here] = Some(home::Weak::new()),
                        "weak_clone" => weak[other] = weak[here].clone(),
                        "weak_drop" => weak[here] = None,
                        "upgrade" => strong[here] = weak[here].as_ref().and_then(home::Weak::upgrade),
                        "try_unwrap" => if let Some(rc) = strong[here].take() {
                            match home::Shared::try_unwrap(rc) {
                                Ok(value) => return unrecorded(|| format!(" {}", value.number())),
                                Err(rc) => strong[here] = Some(rc),
                            }
                        },
                        "get_mut" => if let Some(rc) = &mut strong[here] {
                            return match home::Shared::get_mut(rc) {
                                Some(value) => { *value = T::make(s.args[0]); String::new() }
                                None => unrecorded(|| String::from(" none")),
                            };
                        },
                        "make_mut" => if let Some(rc) = &mut strong[here] {
                            *home::Shared::make_mut(rc) = T::make(s.args[0]);
                        },
                        other => panic!("no operation {other}"),
                    }
                    String::new()
                });
                let shown = strong[here].as_ref().map_or(String::from("none"), |rc| {
                    format!("{} {} {}", home::Shared::strong_count(rc), home::Shared::weak_count(rc), rc.number())
                });
                format!("{result} | {shown}")
            });
        }
    };
}

mod rc {
    pub use std::rc::{Rc as Shared, Weak};
}

mod arc {
    pub use std::sync::{Arc as Shared, Weak};
}

counted!(run_rc, crate::shared::rc);
counted!(run_arc, crate::shared::arc);

pub fn dispatch(kind: &str, element: &str, lines: &[&str]) {
    match kind {
        "rc" => with_element!(element, run_rc, lines, "u8" u8, "u64" u64, "string" String),
        _ => with_element!(element, run_arc, lines, "u8" u8, "u64" u64, "string" String),
    }
}
