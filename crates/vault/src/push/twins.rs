//! Two machines that began one line: an image of a machine that had published nothing under its identity was started twice, or put back.
//!
//! What must hold: whoever finds out gives the identity up without asking. All that it wrote there is its own, from the first manifest on,
//! and is published again under a new identity; the other's end is read like anybody's. Where both had written a first manifest, both do so:
//! a line of which one machine is still the owner would be forked for ever, whereas one that is left by both is taken over after
//! a grace period.
//! What it deliberately does not do: judge lines that parted later, of which one machine knows only a part (a clone of a device that
//! had published, a restored backup): there a person says so (`--force`).

use crate::manifest::ManifestRef;
use crate::state::OwnState;

/// The manifests of this device's line, of which `found` are listed, that it did not write.
pub(super) fn strangers<'f>(
    own: &'f OwnState,
    found: &'f [ManifestRef],
) -> impl Iterator<Item = &'f ManifestRef> {
    found
        .iter()
        .filter(|manifest| !written(own).any(|mine| mine == *manifest))
}

/// Whether somebody else began this line too. A first manifest that this device removed long ago may be anybody's: then it does not show.
pub(crate) fn is_begun_twice(own: &OwnState, found: &[ManifestRef]) -> bool {
    let is_first = |manifest: &&ManifestRef| manifest.sequence == 1;
    let mut strangers = strangers(own, found).peekable();
    match own.newest {
        None => strangers.peek().is_some(),
        Some(_) => written(own).any(|mine| is_first(&mine)) && strangers.any(|one| is_first(&one)),
    }
}

/// The manifests that this device is known to have written, those that it removed not long ago among them.
fn written(own: &OwnState) -> impl Iterator<Item = &ManifestRef> {
    let retired = own.retired.iter().map(|retired| &retired.manifest);
    own.newest.iter().chain(&own.older).chain(retired)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{NodeId, ObjectHash};

    fn at(sequence: u64, twin: u8) -> ManifestRef {
        ManifestRef {
            sequence,
            hash: ObjectHash([twin; 16]),
        }
    }

    #[test]
    fn only_a_line_that_began_twice_is_given_up_without_asking() {
        let mut own = OwnState::fresh(NodeId([1; 16]));
        assert!(!is_begun_twice(&own, &[]));
        assert!(is_begun_twice(&own, &[at(7, 9)]), "it never wrote there");
        own.newest = Some(at(2, 1));
        own.older = vec![at(1, 1)];
        assert!(!is_begun_twice(&own, &[at(1, 1), at(2, 1)]));
        assert!(is_begun_twice(&own, &[at(1, 1), at(1, 9), at(2, 1)]));
        assert!(!is_begun_twice(&own, &[at(1, 1), at(2, 1), at(2, 9)]));
        assert!(!is_begun_twice(&own, &[at(1, 1), at(3, 9)]));
        // It knows no more how it began: a first manifest may be its own, put back.
        own.older = vec![];
        assert!(!is_begun_twice(&own, &[at(1, 9), at(2, 1)]));
    }
}
