//! The flat layout as files: `flat/NAME-VERSION.TAG.bottle.tar.gz`, for clients that set `HOMEBREW_BOTTLE_DOMAIN` to `URL/flat`.
//!
//! What must hold: a name stands for a bottle or a manifest of the mirror and is never a copy; after a generation became current its names
//! stand for its bottles; what a kept generation names stays until nobody keeps it.
//!
//! It deliberately does nothing in a bucket, whose objects cannot stand for others: `serve` answers in this layout from any store.

use crate::log::{Generation, Held};
use crate::names;
use std::collections::BTreeMap;
use store::{Store, StoreError};

/// Where the names lie. `serve` answers below it as it does at its root.
pub const ROOT: &str = "flat";

/// Where clients up to 5.0.0 look for their Ruby.
const OLD_RUBY: &str = "bottles-portable-ruby";

/// Returns the names that a generation has in the flat layout, each with the key that it stands for; none if nobody asked for it.
#[must_use]
pub fn links(generation: &Generation) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    if !generation.selection.flat {
        return found;
    }
    for held in &generation.bottles {
        let file = file_of(held);
        if held.formula == "portable-ruby" {
            found.insert(format!("{ROOT}/{OLD_RUBY}/{file}"), held.blob_key());
        }
        found.insert(format!("{ROOT}/{file}"), held.blob_key());
    }
    for key in generation.manifests.keys() {
        if let Some(rest) = key.strip_prefix(names::CORE) {
            found.insert(format!("{ROOT}{rest}"), key.clone());
        }
    }
    found
}

fn file_of(held: &Held) -> String {
    names::flat_file(&held.formula, &held.version, &held.tag, held.rebuild)
}

/// Finds the names of a generation that do not stand for what they should.
///
/// # Errors
/// If the store fails.
pub async fn wrong(
    store: &Store,
    generation: &Generation,
) -> Result<Vec<(String, String)>, StoreError> {
    let mut wanted = links(generation);
    if wanted.is_empty() || !store.can_refer() {
        return Ok(Vec::new());
    }
    for found in store.references(ROOT).await? {
        if wanted.get(&found.key) == found.to.as_ref() {
            wanted.remove(&found.key);
        }
    }
    Ok(wanted.into_iter().collect())
}

/// Makes the names of a generation stand for what they should; returns those that did not.
///
/// # Errors
/// If the store fails.
pub async fn put_right(store: &Store, generation: &Generation) -> Result<Vec<String>, StoreError> {
    let wrong = wrong(store, generation).await?;
    if !wrong.is_empty() {
        store.refer(&wrong).await?;
    }
    Ok(wrong.into_iter().map(|(key, _)| key).collect())
}
