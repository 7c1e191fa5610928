//! Sealing under attack: every byte flipped, every length cut, every name and header exchanged.

use super::*;

const NODE: NodeId = NodeId([1; 16]);

fn segment(first: u64, last: u64) -> Place {
    Place {
        kind: ObjectKind::Segment,
        node: NODE,
        first,
        last,
    }
}

#[test]
fn what_was_sealed_opens_and_is_the_same_every_time() {
    let keys = Keyring::generate();
    for plaintext in [&b""[..], b"x", &b"abc".repeat(10_000)] {
        for level in [None, Some(1), Some(9)] {
            let sealed = seal(&keys, segment(1, 9), plaintext, level);
            assert_eq!(
                open(&keys, &sealed.key, &sealed.bytes).as_deref(),
                Ok(plaintext)
            );
            assert_eq!(
                seal(&keys, segment(1, 9), plaintext, level).key,
                sealed.key,
                "a retry writes the same object"
            );
        }
    }
}

#[test]
fn every_flipped_byte_and_every_cut_is_corrupt() {
    let keys = Keyring::generate();
    let sealed = seal(&keys, segment(1, 9), b"secret words", Some(3));
    for at in 0..sealed.bytes.len() {
        for bit in 0..8 {
            let mut changed = sealed.bytes.to_vec();
            changed[at] ^= 1 << bit;
            assert_eq!(
                open(&keys, &sealed.key, &changed).map_err(|error| error.kind),
                Err(ProblemKind::Corrupt),
                "byte {at} bit {bit}"
            );
            // The name follows the bytes: an attacker can rename, so the header and the tag must notice too.
            let (place, _) = Place::parse(&sealed.key).expect("our own key");
            assert!(
                open(&keys, &place.key(ObjectHash::of(&changed)), &changed).is_err(),
                "byte {at} bit {bit}, renamed"
            );
        }
        let cut = &sealed.bytes[..at];
        assert!(
            open(&keys, &segment(1, 9).key(ObjectHash::of(cut)), cut).is_err(),
            "cut at {at}"
        );
    }
}

#[test]
fn an_object_cannot_move() {
    let keys = Keyring::generate();
    let sealed = seal(&keys, segment(1, 9), b"words", None);
    let elsewhere = [
        segment(1, 10),
        segment(2, 9),
        Place {
            node: NodeId([2; 16]),
            ..segment(1, 9)
        },
        Place {
            kind: ObjectKind::Manifest,
            node: NODE,
            first: 1,
            last: 0,
        },
    ];
    for place in elsewhere {
        assert_eq!(
            open(&keys, &place.key(sealed.hash), &sealed.bytes).map_err(|error| error.kind),
            Err(ProblemKind::Corrupt),
            "{place:?}"
        );
    }
}

#[test]
fn another_vaults_object_and_a_newer_format_are_named() {
    let keys = Keyring::generate();
    let other = seal(&Keyring::generate(), segment(1, 9), b"words", None);
    assert_eq!(
        open(&keys, &other.key, &other.bytes).map_err(|error| error.kind),
        Err(ProblemKind::OtherVault)
    );
    let mut newer = seal(&keys, segment(1, 9), b"words", None).bytes.to_vec();
    newer[3] = FORMAT_VERSION + 1;
    let key = segment(1, 9).key(ObjectHash::of(&newer));
    assert_eq!(
        open(&keys, &key, &newer).map_err(|error| error.kind),
        Err(ProblemKind::NewerFormat)
    );
}

#[test]
fn older_epochs_open_and_newer_ones_need_their_key() {
    let old = Keyring::generate();
    let new = old.rotated();
    let before = seal(&old, segment(1, 9), b"before", None);
    let after = seal(&new, segment(1, 9), b"after", None);
    assert_eq!(
        open(&new, &before.key, &before.bytes).as_deref(),
        Ok(&b"before"[..])
    );
    assert_eq!(
        open(&old, &after.key, &after.bytes).map_err(|error| error.kind),
        Err(ProblemKind::NoKey)
    );
}

#[test]
fn names_survive_and_strangers_are_refused() {
    for place in [
        segment(0, u64::MAX),
        Place {
            kind: ObjectKind::Manifest,
            node: NODE,
            first: 7,
            last: 0,
        },
    ] {
        let hash = ObjectHash([9; 16]);
        assert_eq!(Place::parse(&place.key(hash)), Some((place, hash)));
    }
    let node = "01".repeat(16);
    let hash = "09".repeat(16);
    for stranger in [
        String::new(),
        "vault.json".into(),
        format!("manifests/{node}/1-{hash}"),
        format!("manifests/{node}/000000000000000A-{hash}"),
        format!("manifests/{node}/+00000000000000a-{hash}"),
        format!("manifests/{node}/0000000000000001-{hash}.sync-conflict-20260101-120000-ABCDEFG"),
        format!("objects/segments/{node}/0000000000000001-{hash}"),
        format!("objects/segments/x/0000000000000001-0000000000000001-{hash}"),
    ] {
        assert_eq!(Place::parse(&stranger), None, "{stranger}");
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(object: Vec<u8>, first: u64, last: u64) {
        let keys = Keyring::generate();
        let key = segment(first, last).key(ObjectHash::of(&object));
        proptest::prop_assert!(open(&keys, &key, &object).is_err());
    }
}
