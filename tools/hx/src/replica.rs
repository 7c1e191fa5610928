//! The history database as the vault sees it.
//!
//! What must hold: everything [`vault::Replica`] asks for; each call is one transaction of SQLite.
//! What it deliberately does not do: SQL of its own (see `history::feed`), encoding (see `codec`).

use std::collections::HashSet;

use rusqlite::Transaction;
use vault::{Applied, Change, Malformed, RecordId, Replica, ReplicaError, Source, VaultId};

use crate::codec;
use crate::history::model::Record;
use crate::history::{ApplyOptions, History, HistoryError, feed, put_state_in};

/// A history that takes part in one vault.
pub struct HistoryReplica<'h> {
    history: &'h mut History,
    alias: i64,
}

impl<'h> HistoryReplica<'h> {
    /// Binds a history to a vault.
    ///
    /// # Errors
    /// If the database fails.
    pub fn new(history: &'h mut History, vault: VaultId) -> Result<Self, HistoryError> {
        let alias = history.vault_alias(&vault.to_string())?;
        Ok(Self { history, alias })
    }

    /// The same for a history that is only read.
    ///
    /// # Errors
    /// If the database fails.
    pub fn for_reading(history: &'h mut History, vault: VaultId) -> Result<Self, HistoryError> {
        // No record has this alias: without one nothing was ever learnt from the vault.
        const UNKNOWN: i64 = -1;
        let alias = history
            .known_vault_alias(&vault.to_string())?
            .unwrap_or(UNKNOWN);
        Ok(Self { history, alias })
    }
}

/// Local numbers come from SQLite, which has no larger ones than this.
fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn change_all(connection: &rusqlite::Connection, changes: &[Change]) -> Result<(), HistoryError> {
    changes
        .iter()
        .try_for_each(|(key, value)| put_state_in(connection, key, value.as_deref()))
}

/// Commits. That it failed keeps its kind: the disk may be full only now.
fn committed(transaction: Transaction<'_>) -> Result<(), ReplicaError> {
    Ok(transaction.commit().map_err(HistoryError::from)?)
}

impl Replica for HistoryReplica<'_> {
    type Record = Record;

    fn id(record: &Record) -> RecordId {
        RecordId(record.id().0)
    }

    fn time_us(record: &Record) -> i64 {
        match record {
            Record::Event(event) => event.time_us,
            Record::Session(session) => session.start_us.unwrap_or_default(),
            Record::Pin(pin) => pin.clock,
            Record::Tombstone(tombstone) => tombstone.time_us,
        }
    }

    fn size(record: &Record) -> usize {
        codec::size(record)
    }

    fn encode(records: &[Record]) -> Vec<u8> {
        codec::encode(records)
    }

    fn decode(bytes: &[u8]) -> Result<Vec<Record>, Malformed> {
        codec::decode(bytes)
    }

    fn load(&self, key: &str) -> Result<Option<Vec<u8>>, ReplicaError> {
        Ok(self.history.state_get(key)?)
    }

    fn keys(&self, prefix: &str) -> Result<Vec<String>, ReplicaError> {
        Ok(self.history.state_keys(prefix)?)
    }

    fn save(&mut self, changes: &[Change]) -> Result<(), ReplicaError> {
        let transaction = self.history.begin()?;
        change_all(&transaction, changes)?;
        committed(transaction)
    }

    fn head(&self) -> Result<u64, ReplicaError> {
        Ok(self.history.head()?.unsigned_abs())
    }

    fn vouch(&self) -> Result<(), ReplicaError> {
        Ok(self.history.ensure_all_indexes()?)
    }

    fn count_own(&self, after: u64) -> Result<u64, ReplicaError> {
        Ok(self.history.count_own(self.alias, number(after))?)
    }

    fn own(&self, first: u64, last: u64, limit: usize) -> Result<Vec<(u64, Record)>, ReplicaError> {
        let rows = self
            .history
            .read_own(self.alias, (number(first), number(last)), limit)?;
        Ok(rows
            .into_iter()
            .map(|(seq, record)| (seq.unsigned_abs(), record))
            .collect())
    }

    fn apply(
        &mut self,
        records: Vec<Record>,
        source: Source,
        changes: &[Change],
    ) -> Result<Applied, ReplicaError> {
        let options = match source {
            Source::Vault { unpublished_above } => ApplyOptions {
                src: Some(self.alias),
                published_upto: number(unpublished_above),
            },
            Source::Salvage => ApplyOptions::default(),
        };
        let applied = self
            .history
            .insert_all_with(records, options, |transaction| {
                change_all(transaction, changes)
            })?;
        Ok(Applied {
            added: applied.added,
            known: applied.known + applied.forgotten,
        })
    }

    fn erased(&self) -> Result<Vec<u64>, ReplicaError> {
        Ok(self
            .history
            .erased(self.alias)?
            .into_iter()
            .map(i64::unsigned_abs)
            .collect())
    }

    fn clear_erased(&mut self, numbers: &[u64], changes: &[Change]) -> Result<(), ReplicaError> {
        let numbers: Vec<i64> = numbers.iter().copied().map(number).collect();
        let transaction = self.history.begin()?;
        feed::settle_erased_in(&transaction, self.alias, &numbers)?;
        change_all(&transaction, changes)?;
        committed(transaction)
    }

    fn is_forgotten(&self, record: &Record) -> Result<bool, ReplicaError> {
        self.history.ensure_indexes()?;
        Ok(self.history.is_forgotten(record.id())?)
    }

    fn holds(&self, record: &Record) -> Result<bool, ReplicaError> {
        self.history.ensure_indexes()?;
        Ok(self.history.holds(record.id())?)
    }

    fn unlearn(
        &mut self,
        ids: &HashSet<RecordId>,
        changes: &[Change],
    ) -> Result<u64, ReplicaError> {
        let alias = self.alias;
        let transaction = self.history.begin()?;
        // A record knows one vault that it was learnt from. One that says another may have been learnt from this one before, and be in
        // none of this device's segments here; or be in one of them, which is then written anew without it.
        let mut others = vec![];
        let moved = feed::republish_in(&transaction, |found| {
            let is_wanted = found.learnt_from.is_some() && ids.contains(&RecordId(found.id.0));
            if is_wanted && found.learnt_from != Some(alias) {
                others.push(found.seq);
            }
            is_wanted
        })?;
        feed::note_erased_in(&transaction, &others)?;
        change_all(&transaction, changes)?;
        committed(transaction)?;
        Ok(moved)
    }

    fn republish_all_but(
        &mut self,
        shown: &HashSet<RecordId>,
        changes: &[Change],
    ) -> Result<u64, ReplicaError> {
        let transaction = self.history.begin()?;
        let moved =
            feed::republish_in(&transaction, |found| !shown.contains(&RecordId(found.id.0)))?;
        change_all(&transaction, changes)?;
        committed(transaction)?;
        Ok(moved)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::history::model::{self, Event};

    fn record() -> Record {
        Record::Event(Event {
            id: model::RecordId::of("test", &[b"both"]),
            command: Arc::from("ls"),
            time_us: 1,
            time_known: true,
            duration_ms: None,
            exit: None,
            cwd: None,
            host: Arc::from("box"),
            shell: None,
            session: None,
            actor: None,
        })
    }

    fn learn(history: &mut History, vault: VaultId) {
        let source = Source::Vault {
            unpublished_above: 0,
        };
        HistoryReplica::new(history, vault)
            .expect("binds")
            .apply(vec![record()], source, &[])
            .expect("applies");
    }

    #[test]
    fn what_another_vault_taught_again_is_unlearnt_too() {
        let folder = tempfile::tempdir().expect("folder");
        let mut history = History::open(&folder.path().join("history.db")).expect("opens");
        let [one, two] = [VaultId([1; 16]), VaultId([2; 16])];
        learn(&mut history, one);
        learn(&mut history, two);
        let mut replica = HistoryReplica::new(&mut history, one).expect("binds");
        let published = replica.head().expect("head");
        assert_eq!(replica.count_own(published).expect("counts"), 0);
        let ids = HashSet::from([HistoryReplica::id(&record())]);
        assert_eq!(replica.unlearn(&ids, &[]).expect("unlearns"), 1);
        assert_eq!(replica.count_own(published).expect("counts"), 1);
        // Should it have been in a segment of its own, that one is written anew, or the record would stay there once it is forgotten.
        assert_eq!(replica.erased().expect("lists"), [1]);
        assert_eq!(replica.unlearn(&ids, &[]).expect("unlearns"), 0);
    }
}
