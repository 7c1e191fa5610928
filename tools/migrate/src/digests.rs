//! Lengths and digests by name, in fifty-odd bytes a name: of files by their paths, of objects by their keys.
//!
//! What must hold: the first that is said of a name counts.
//!
//! It deliberately forgets the names. Two with one hash are expected in one of millions of runs over millions of names, and then one file is
//! compared with another's digest: it is named, and nothing is done to it.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use transfer::Digest;

/// What is known of many names.
#[derive(Clone, Debug, Default)]
pub struct Digests {
    known: HashMap<u64, (u64, Digest)>,
    hasher: RandomState,
}

impl Digests {
    /// Takes in what is said of a name, unless something is known of it.
    pub fn add(&mut self, name: &str, size: u64, sha256: Digest) {
        let name = self.hasher.hash_one(name);
        self.known.entry(name).or_insert((size, sha256));
    }

    /// Returns the length and digest that a name has.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<(u64, Digest)> {
        self.known.get(&self.hasher.hash_one(name)).copied()
    }
}
