//! What is in a bucket, in sixteen bytes an object: enough to say whether a key is there and how long it is.
//!
//! What must hold: a key that was listed is found with its length. One that was not is found with a chance of about one in
//! ten trillion for a million keys.
//!
//! It deliberately forgets the names: who needs them lists again.

use crate::mapping::Mapping;
use futures::StreamExt;
use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use store::{Store, StoreError};

/// Below this prefix of a bucket are our own journals and probes, which are no objects of the application.
const OUR_OWN: &str = ".syncline/";

/// The keys below some prefixes, and the lengths of their objects.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    objects: Vec<(u64, u64)>,
    bytes: u64,
}

impl Listing {
    /// Lists the prefixes; none means everything.
    ///
    /// # Errors
    /// If a page of the listing fails.
    pub async fn read(store: &Store, prefixes: &[String]) -> Result<Listing, StoreError> {
        let everything = [String::new()];
        let prefixes = if prefixes.is_empty() {
            &everything
        } else {
            prefixes
        };
        let mut listing = Listing::default();
        for prefix in prefixes {
            let mut entries = store.list_stream(prefix);
            while let Some(entry) = entries.next().await {
                let entry = entry?;
                if entry.key.starts_with(OUR_OWN) {
                    continue;
                }
                listing.objects.push((hash(&entry.key), entry.size));
                listing.bytes += entry.size;
            }
        }
        Ok(listing.in_order())
    }

    fn in_order(mut self) -> Listing {
        self.objects.sort_unstable();
        self.objects.dedup_by_key(|object| object.0);
        self
    }

    /// Returns an object's length in bytes, or none if there is no such object.
    #[must_use]
    pub fn size(&self, key: &str) -> Option<u64> {
        let place = self.place(key)?;
        self.objects.get(place).map(|object| object.1)
    }

    /// Returns a number below [`len`](Listing::len) that stands for a key, if it was listed.
    #[must_use]
    pub fn place(&self, key: &str) -> Option<usize> {
        let hash = hash(key);
        self.objects
            .binary_search_by_key(&hash, |object| object.0)
            .ok()
    }

    /// Returns how many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Tells whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Returns the length of all objects in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl<'k> FromIterator<(&'k str, u64)> for Listing {
    fn from_iter<I: IntoIterator<Item = (&'k str, u64)>>(objects: I) -> Listing {
        let mut listing = Listing::default();
        for (key, size) in objects {
            listing.objects.push((hash(key), size));
            listing.bytes += size;
        }
        listing.in_order()
    }
}

/// Returns where the objects of a mapping's rows are: without those that no row names, such as thumbnails.
#[must_use]
pub fn row_prefixes(mapping: &Mapping) -> Vec<String> {
    let derived: Vec<&str> = mapping
        .derived
        .iter()
        .map(|derived| derived.object_key.literal_head())
        .collect();
    let mut prefixes = mapping.object_prefixes();
    let tables: Vec<&str> = mapping
        .tables()
        .map(|table| table.object_key.literal_head())
        .collect();
    prefixes.retain(|prefix| {
        let names = |heads: &[&str]| heads.iter().any(|head| head.starts_with(prefix.as_str()));
        names(&tables) || !names(&derived)
    });
    prefixes
}

fn hash(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(key.as_bytes());
    hasher.finish()
}
