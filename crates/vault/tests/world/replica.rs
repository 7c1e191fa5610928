//! A replica in memory whose transactions can be made to fail: the local database of a simulated device.
//!
//! What must hold: a transaction is all or nothing, and once the fuse is blown nothing more is written until it is replaced, as if the process had died.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use vault::{Applied, Change, Malformed, RecordId, Replica, ReplicaError, Source};

/// A record of the simulation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SimRecord {
    /// Something to keep.
    Put(RecordId, u64),
    /// Something to forget for ever.
    Forget(RecordId),
}

#[derive(Clone, Debug)]
struct Row {
    record: SimRecord,
    learnt: bool,
}

/// The database.
#[derive(Clone, Debug, Default)]
pub(crate) struct SimReplica {
    rows: BTreeMap<u64, Row>,
    numbers: BTreeMap<RecordId, u64>,
    erased: BTreeSet<u64>,
    state: BTreeMap<String, Vec<u8>>,
    head: u64,
    /// So many transactions more, then none.
    pub(crate) fuse: Option<u64>,
    /// So often more who counts what is pending finds nothing: it is about to arrive.
    pub(crate) late: Cell<u32>,
    /// The number of a row that is counted and not given, as in a damaged database.
    pub(crate) hidden: Option<u64>,
}

fn forget_id(target: RecordId) -> RecordId {
    RecordId(target.0.map(|byte| byte ^ 0xff))
}

impl SimReplica {
    /// Adds a record born on this device, as an import does.
    pub(crate) fn add(&mut self, record: SimRecord) -> Result<(), ReplicaError> {
        self.burn()?;
        self.insert(record, false, u64::MAX);
        Ok(())
    }

    /// Everything that is kept, and everything that was forgotten.
    pub(crate) fn content(&self) -> (BTreeMap<RecordId, u64>, BTreeSet<RecordId>) {
        let mut kept = BTreeMap::new();
        let mut forgotten = BTreeSet::new();
        for row in self.rows.values() {
            match row.record {
                SimRecord::Put(id, value) => drop(kept.insert(id, value)),
                SimRecord::Forget(id) => drop(forgotten.insert(id)),
            }
        }
        (kept, forgotten)
    }

    pub(crate) fn burn(&mut self) -> Result<(), ReplicaError> {
        match &mut self.fuse {
            Some(0) => Err("the process died".into()),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn insert(&mut self, record: SimRecord, learnt: bool, published: u64) -> bool {
        let id = Self::id(&record);
        if let Some(number) = self.numbers.get(&id) {
            if learnt && *number > published {
                self.rows.get_mut(number).expect("numbered").learnt = true;
            }
            return false;
        }
        match &record {
            SimRecord::Put(id, _) if self.numbers.contains_key(&forget_id(*id)) => return false,
            SimRecord::Put(..) => {}
            SimRecord::Forget(target) => {
                if let Some(number) = self.numbers.remove(target) {
                    self.rows.remove(&number);
                    self.erased.insert(number);
                }
            }
        }
        self.head += 1;
        self.numbers.insert(id, self.head);
        self.rows.insert(self.head, Row { record, learnt });
        true
    }

    fn change(&mut self, changes: &[Change]) {
        for (key, value) in changes {
            match value {
                Some(value) => drop(self.state.insert(key.clone(), value.clone())),
                None => drop(self.state.remove(key)),
            }
        }
    }
}

impl Replica for SimReplica {
    type Record = SimRecord;

    fn id(record: &SimRecord) -> RecordId {
        match record {
            SimRecord::Put(id, _) => *id,
            SimRecord::Forget(id) => forget_id(*id),
        }
    }

    fn time_us(record: &SimRecord) -> i64 {
        match record {
            SimRecord::Put(_, value) => *value as i64,
            SimRecord::Forget(_) => 0,
        }
    }

    fn size(_: &SimRecord) -> usize {
        25
    }

    fn encode(records: &[SimRecord]) -> Vec<u8> {
        let mut bytes = vec![];
        for record in records {
            let (tag, id, value) = match record {
                SimRecord::Put(id, value) => (1, id, *value),
                SimRecord::Forget(id) => (2, id, 0),
            };
            bytes.push(tag);
            bytes.extend_from_slice(&id.0);
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Vec<SimRecord>, Malformed> {
        let malformed = || Malformed("not a batch".into());
        if !bytes.len().is_multiple_of(25) {
            return Err(malformed());
        }
        bytes
            .chunks_exact(25)
            .map(|chunk| {
                let id = RecordId(chunk[1..17].try_into().map_err(|_| malformed())?);
                match chunk[0] {
                    1 => Ok(SimRecord::Put(
                        id,
                        u64::from_le_bytes(chunk[17..].try_into().map_err(|_| malformed())?),
                    )),
                    2 => Ok(SimRecord::Forget(id)),
                    _ => Err(malformed()),
                }
            })
            .collect()
    }

    fn load(&self, key: &str) -> Result<Option<Vec<u8>>, ReplicaError> {
        Ok(self.state.get(key).cloned())
    }

    fn keys(&self, prefix: &str) -> Result<Vec<String>, ReplicaError> {
        Ok(self
            .state
            .keys()
            .filter(|key| key.starts_with(prefix))
            .cloned()
            .collect())
    }

    fn save(&mut self, changes: &[Change]) -> Result<(), ReplicaError> {
        self.burn()?;
        self.change(changes);
        Ok(())
    }

    fn head(&self) -> Result<u64, ReplicaError> {
        Ok(self.head)
    }

    fn vouch(&self) -> Result<(), ReplicaError> {
        Ok(())
    }

    fn count_own(&self, after: u64) -> Result<u64, ReplicaError> {
        if let Some(left) = self.late.get().checked_sub(1) {
            self.late.set(left);
            return Ok(0);
        }
        Ok(self
            .rows
            .range(after.saturating_add(1)..)
            .filter(|(_, row)| !row.learnt)
            .count() as u64)
    }

    fn own(
        &self,
        first: u64,
        last: u64,
        limit: usize,
    ) -> Result<Vec<(u64, SimRecord)>, ReplicaError> {
        Ok(self
            .rows
            .range(first..=last)
            .filter(|(number, row)| !row.learnt && self.hidden != Some(**number))
            .take(limit)
            .map(|(number, row)| (*number, row.record.clone()))
            .collect())
    }

    fn apply(
        &mut self,
        records: Vec<SimRecord>,
        source: Source,
        changes: &[Change],
    ) -> Result<Applied, ReplicaError> {
        self.burn()?;
        let mut applied = Applied::default();
        for record in records {
            let (learnt, published) = match source {
                Source::Vault { unpublished_above } => (true, unpublished_above),
                Source::Salvage => (false, u64::MAX),
            };
            if self.insert(record, learnt, published) {
                applied.added += 1;
            } else {
                applied.known += 1;
            }
        }
        self.change(changes);
        Ok(applied)
    }

    fn erased(&self) -> Result<Vec<u64>, ReplicaError> {
        Ok(self.erased.iter().copied().collect())
    }

    fn clear_erased(&mut self, numbers: &[u64], changes: &[Change]) -> Result<(), ReplicaError> {
        self.burn()?;
        for number in numbers {
            self.erased.remove(number);
        }
        self.change(changes);
        Ok(())
    }

    fn is_forgotten(&self, record: &SimRecord) -> Result<bool, ReplicaError> {
        Ok(match record {
            SimRecord::Put(id, _) => self.numbers.contains_key(&forget_id(*id)),
            SimRecord::Forget(_) => false,
        })
    }

    fn holds(&self, record: &SimRecord) -> Result<bool, ReplicaError> {
        Ok(self.numbers.contains_key(&Self::id(record)))
    }

    fn unlearn(
        &mut self,
        ids: &HashSet<RecordId>,
        changes: &[Change],
    ) -> Result<u64, ReplicaError> {
        self.renumber(changes, |row| {
            row.learnt && ids.contains(&Self::id(&row.record))
        })
    }

    fn republish_all_but(
        &mut self,
        shown: &HashSet<RecordId>,
        changes: &[Change],
    ) -> Result<u64, ReplicaError> {
        self.renumber(changes, |row| !shown.contains(&Self::id(&row.record)))
    }
}

impl SimReplica {
    fn renumber(
        &mut self,
        changes: &[Change],
        is_wanted: impl Fn(&Row) -> bool,
    ) -> Result<u64, ReplicaError> {
        self.burn()?;
        let moving: Vec<u64> = self
            .rows
            .iter()
            .filter(|(_, row)| is_wanted(row))
            .map(|(number, _)| *number)
            .collect();
        for number in &moving {
            let row = self.rows.remove(number).expect("listed");
            self.head += 1;
            self.numbers.insert(Self::id(&row.record), self.head);
            self.rows.insert(
                self.head,
                Row {
                    learnt: false,
                    ..row
                },
            );
        }
        self.change(changes);
        Ok(moving.len() as u64)
    }
}
