//! No plaintext: known bytes and names are in no stored object and in no key, compressed or not.

use crate::desk::{Desk, perfect_store, wait};
use crate::replica::SimRecord;

const CANARY: &[u8; 8] = b"c4n4ry!!";

#[test]
fn a_canary_is_in_no_object() {
    for compression in [None, Some(3)] {
        let store = perfect_store();
        let mut desk = Desk::at(1, &store);
        desk.options.compression = compression;
        desk.options.node_name = "the canary's machine".into();
        for n in 0..50 {
            let record = SimRecord::Put(crate::desk::id(n), u64::from_le_bytes(*CANARY));
            desk.replica.add(record).expect("the database works");
        }
        wait(desk.push()).expect("a perfect store");
        desk.forget(7);
        wait(desk.push()).expect("a perfect store");
        let objects = store.objects();
        assert!(objects.len() >= 5, "{:?}", objects.keys());
        for (key, object) in objects {
            for secret in [
                &CANARY[..],
                b"the canary's machine",
                b"canary",
                b"\"segments\"",
            ] {
                let is_there = object.windows(secret.len()).any(|window| window == secret);
                assert!(!is_there, "{key} holds {}", String::from_utf8_lossy(secret));
            }
        }
    }
}
