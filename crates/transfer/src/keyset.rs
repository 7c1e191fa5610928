//! A compact set of keys: eight bytes each, whatever their length.
//!
//! What must hold: a key that was put in is found. One that was not is found with a chance of 1 in 10^13 for a million keys.

use std::collections::HashSet;

/// So many keys are kept unsorted before they are merged.
const LOOSE_MAX: usize = 1 << 14;

/// Remembers keys by a 64-bit hash.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    sorted: Vec<u64>,
    loose: HashSet<u64>,
}

impl KeySet {
    /// Makes an empty set.
    #[must_use]
    pub fn new() -> KeySet {
        KeySet::default()
    }

    /// Puts a key in; returns whether it is new.
    pub fn insert(&mut self, key: &str) -> bool {
        self.insert_hash(hash(key))
    }

    /// Puts a key in by its hash; returns whether it is new.
    pub(crate) fn insert_hash(&mut self, hash: u64) -> bool {
        if self.sorted.binary_search(&hash).is_ok() || !self.loose.insert(hash) {
            return false;
        }
        if self.loose.len() >= LOOSE_MAX.max(self.sorted.len() / 8) {
            self.sorted.extend(self.loose.drain());
            self.sorted.sort_unstable();
        }
        true
    }

    /// Tells whether a key is in the set.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        let hash = hash(key);
        self.loose.contains(&hash) || self.sorted.binary_search(&hash).is_ok()
    }

    /// Returns how many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sorted.len() + self.loose.len()
    }

    /// Tells whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'a> FromIterator<&'a str> for KeySet {
    fn from_iter<I: IntoIterator<Item = &'a str>>(keys: I) -> KeySet {
        let mut set = KeySet::new();
        for key in keys {
            set.insert(key);
        }
        set
    }
}

/// Hashes a name to 64 bits.
pub(crate) fn hash(name: &str) -> u64 {
    let digest = blake3::hash(name.as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest.as_bytes()[..8]);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_put_in_and_nothing_else() {
        let mut set = KeySet::new();
        let n = 3 * LOOSE_MAX;
        for number in 0..n {
            assert!(set.insert(&format!("key/{number}")));
        }
        assert_eq!(set.len(), n);
        assert!((0..n).all(|number| set.contains(&format!("key/{number}"))));
        assert!((0..n).all(|number| !set.insert(&format!("key/{number}"))));
        assert!((n..2 * n).all(|number| !set.contains(&format!("key/{number}"))));
        assert!(!set.is_empty() && KeySet::new().is_empty());
    }
}
