//! The first manifest of a line, for records that arrive while the push that publishes them is under way.

use std::cell::Cell;
use std::collections::HashSet;

use vault::{
    Applied, Change, Device, Malformed, PushMode, PushReport, RecordId, Replica, ReplicaError,
    ResetMode, Source, VaultError,
};

use crate::desk::{Desk, GRACE_MS, perfect_store, wait};
use crate::replica::{SimRecord, SimReplica};

/// So often a push looks for records before it begins to upload.
const LOOKS: u32 = 2;

/// A database whose records arrive once a push has looked for them so often.
struct Late<'r> {
    inner: &'r mut SimReplica,
    looks: Cell<u32>,
}

impl Replica for Late<'_> {
    type Record = SimRecord;

    fn id(record: &SimRecord) -> RecordId {
        SimReplica::id(record)
    }

    fn time_us(record: &SimRecord) -> i64 {
        SimReplica::time_us(record)
    }

    fn size(record: &SimRecord) -> usize {
        SimReplica::size(record)
    }

    fn encode(records: &[SimRecord]) -> Vec<u8> {
        SimReplica::encode(records)
    }

    fn decode(bytes: &[u8]) -> Result<Vec<SimRecord>, Malformed> {
        SimReplica::decode(bytes)
    }

    fn load(&self, key: &str) -> Result<Option<Vec<u8>>, ReplicaError> {
        self.inner.load(key)
    }

    fn keys(&self, prefix: &str) -> Result<Vec<String>, ReplicaError> {
        self.inner.keys(prefix)
    }

    fn save(&mut self, changes: &[Change]) -> Result<(), ReplicaError> {
        self.inner.save(changes)
    }

    fn head(&self) -> Result<u64, ReplicaError> {
        self.inner.head()
    }

    fn count_own(&self, after: u64) -> Result<u64, ReplicaError> {
        let left = self.looks.get();
        self.looks.set(left.saturating_sub(1));
        if left > 0 {
            Ok(0)
        } else {
            self.inner.count_own(after)
        }
    }

    fn own(
        &self,
        first: u64,
        last: u64,
        limit: usize,
    ) -> Result<Vec<(u64, SimRecord)>, ReplicaError> {
        self.inner.own(first, last, limit)
    }

    fn apply(
        &mut self,
        records: Vec<SimRecord>,
        source: Source,
        changes: &[Change],
    ) -> Result<Applied, ReplicaError> {
        self.inner.apply(records, source, changes)
    }

    fn erased(&self) -> Result<Vec<u64>, ReplicaError> {
        self.inner.erased()
    }

    fn clear_erased(&mut self, numbers: &[u64], changes: &[Change]) -> Result<(), ReplicaError> {
        self.inner.clear_erased(numbers, changes)
    }

    fn is_forgotten(&self, record: &SimRecord) -> Result<bool, ReplicaError> {
        self.inner.is_forgotten(record)
    }

    fn unlearn(
        &mut self,
        ids: &HashSet<RecordId>,
        changes: &[Change],
    ) -> Result<u64, ReplicaError> {
        self.inner.unlearn(ids, changes)
    }

    fn republish_all_but(
        &mut self,
        shown: &HashSet<RecordId>,
        changes: &[Change],
    ) -> Result<u64, ReplicaError> {
        self.inner.republish_all_but(shown, changes)
    }
}

/// A push that sees no records until it uploads.
fn push_late(desk: &mut Desk) -> Result<PushReport, VaultError> {
    let mut late = Late {
        inner: &mut desk.replica,
        looks: Cell::new(LOOKS),
    };
    wait(Device::new(&desk.vault, &mut late, &desk.options, &mut ()).push(PushMode::Pending))
}

#[test]
fn what_arrives_during_a_push_is_not_published_where_the_vault_does_not_show() {
    let store = perfect_store();
    let mut other = Desk::at(2, &store);
    other.add(0..3);
    wait(other.push()).expect("a perfect store");
    let mut one = Desk::at(1, &store);
    wait(one.pull()).expect("a perfect store");
    let file = store.objects()["vault.json"].clone();
    store.remove_raw("vault.json");
    push_late(&mut one).expect("nothing to do harms nobody");
    one.add(10..12);
    push_late(&mut one).expect_err("it may be another place");
    assert_eq!(one.own().newest, None);
    store.put_raw("vault.json", file);
    wait(one.push()).expect("a perfect store");
    let mut newcomer = Desk::at(9, &store);
    wait(newcomer.pull()).expect("a perfect store");
    assert_eq!(newcomer.kept(), (0..3).chain(10..12).collect());
}

#[test]
fn what_arrives_during_a_push_does_not_begin_a_line_that_came_and_went() {
    let store = perfect_store();
    let mut one = Desk::at(1, &store);
    wait(one.push()).expect("nothing to do, but it has its identity");
    let mut copy = one.clone();
    copy.options = Desk::at(2, &store).options;
    let shared = copy.own().node;
    // Twice: one manifest more is what the copy's first would be numbered below.
    for n in [0..2, 2..3] {
        one.add(n);
        wait(one.push()).expect("a perfect store");
    }
    one.reset(ResetMode::NewIdentity);
    wait(one.push()).expect("a perfect store");
    one.days_pass(GRACE_MS / (24 * 3600 * 1000) + 1);
    wait(one.push()).expect("a perfect store");
    copy.add(20..25);
    let report = push_late(&mut copy).expect("a perfect store");
    assert_eq!(report.records, 5, "{report:?}");
    assert_ne!(copy.own().node, shared);
    let mut newcomer = Desk::at(9, &store);
    let pulled = wait(newcomer.pull()).expect("a perfect store");
    assert_eq!(pulled.problems, []);
    assert_eq!(newcomer.kept(), (0..3).chain(20..25).collect());
}
