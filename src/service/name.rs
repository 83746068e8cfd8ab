//! Names of services that last as long as the process.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// `name` as one that lasts: services have their names from the configuration, and errors and ledgers carry them about.
/// The same name is kept once, so that this takes the memory of the different names and no more. Any thread; meant for the
/// names of a configuration, never for text from the network.
#[must_use]
pub fn named(name: &str) -> &'static str {
    static KNOWN: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = known.get(name) {
        return known;
    }
    let lasting: &'static str = Box::leak(name.to_owned().into_boxed_str());
    known.insert(lasting);
    lasting
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_is_kept_once() {
        let (a, b) = (named("deepgram-eu"), named(&String::from("deepgram-eu")));
        assert!(std::ptr::eq(a, b));
        assert_ne!(a, named("deepgram"));
    }
}
