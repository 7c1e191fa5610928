//! What is remembered of syncs: the vault this machine is in, the last push and pull, the requests of the last days.
//!
//! What must hold: losing it costs `status` its answers and nothing else, but for the membership, which `hx sync init` restores.
//! What it deliberately does not do: hold secrets; the store's URL is kept without them.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use store::Usage;
use vault::VaultId;

use crate::history::{History, HistoryError};

/// Which vault this machine is in, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The vault.
    pub vault: VaultId,
    /// The store, without secrets.
    pub store: String,
    /// Since when.
    pub since: Timestamp,
}

/// One push or pull.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSync {
    /// `push`, `pull`, `verify`, …
    pub command: String,
    /// When it began.
    pub at: Timestamp,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// How long each phase took, in milliseconds.
    pub phases: Vec<(String, u64)>,
    /// Records moved.
    pub records: u64,
    /// Requests and bytes.
    pub usage: Usage,
    /// Why it failed, if it did.
    pub error: Option<PastError>,
}

/// Why a sync failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastError {
    /// The kind, in a word.
    pub kind: String,
    /// What was said.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// What one day cost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayUsage {
    /// Days since 1970-01-01, UTC.
    pub day: i64,
    /// Syncs.
    pub syncs: u64,
    /// Their requests and bytes, added up.
    pub usage: Usage,
}

/// What thirty days like the last ones would cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Month {
    /// Requests that write or list.
    pub writes: u64,
    /// Requests that read.
    pub reads: u64,
    /// Bytes both ways.
    pub bytes: u64,
    /// Millionths of a US dollar at Amazon's list prices for S3 Standard (us-east-1): 5 for a write or list, 0.4 for a read.
    pub micro_usd: u64,
}

/// Everything that is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// The vault this machine is in.
    pub membership: Option<Membership>,
    /// The vault whose store was found emptied: whatever this machine has is to be published again by the next sync. Kept before the
    /// vault's description is put back, since after that nothing shows it any more.
    #[serde(default)]
    pub emptied: Option<VaultId>,
    /// The last push that was tried.
    pub push: Option<LastSync>,
    /// The last pull that was tried.
    pub pull: Option<LastSync>,
    /// The last days, oldest first.
    pub days: Vec<DayUsage>,
}

const KEY: &str = "hx/sync";
const DAYS_KEPT: i64 = 30;

impl Past {
    /// Reads what is remembered; nothing if it cannot be understood, since it is only for show. The membership is kept apart.
    ///
    /// # Errors
    /// If the database fails.
    pub fn read(history: &History) -> Result<Self, HistoryError> {
        Ok(load(history, KEY)?.unwrap_or_default())
    }

    /// Keeps it.
    ///
    /// # Errors
    /// If the database fails.
    pub fn write(&self, history: &mut History) -> Result<(), HistoryError> {
        let bytes = serde_json::to_vec(self).expect("plain data serialises");
        history.state_put(KEY, Some(&bytes))
    }

    /// Notes one sync.
    pub fn note(&mut self, sync: LastSync) {
        let day = sync.at.as_second().div_euclid(86_400);
        self.days.retain(|known| known.day > day - DAYS_KEPT);
        match self.days.iter_mut().find(|known| known.day == day) {
            Some(known) => {
                known.syncs += 1;
                known.usage = sum(known.usage, sync.usage);
            }
            None => self.days.push(DayUsage {
                day,
                syncs: 1,
                usage: sync.usage,
            }),
        }
        if sync.command == "pull" {
            self.pull = Some(sync);
        } else if sync.command == "push" {
            self.push = Some(sync);
        }
    }

    /// The newer of the last push and pull.
    pub fn last(&self) -> Option<&LastSync> {
        self.push
            .iter()
            .chain(&self.pull)
            .max_by_key(|sync| sync.at)
    }

    /// The newest failure that nothing of its kind has succeeded after.
    pub fn last_error(&self) -> Option<(&LastSync, &PastError)> {
        self.push
            .iter()
            .chain(&self.pull)
            .filter_map(|sync| Some((sync, sync.error.as_ref()?)))
            .max_by_key(|(sync, _)| sync.at)
    }

    /// What thirty days like those remembered would cost; none before the first sync.
    pub fn month(&self) -> Option<Month> {
        let first = self.days.first()?.day;
        let last = self.days.last()?.day;
        let observed = u64::try_from(last - first + 1).unwrap_or(1).max(1);
        let total = self
            .days
            .iter()
            .fold(Usage::default(), |total, day| sum(total, day.usage));
        let monthly = |n: u64| n.saturating_mul(30) / observed;
        let writes = monthly(total.puts + total.lists + total.other);
        let reads = monthly(total.gets + total.heads);
        Some(Month {
            writes,
            reads,
            bytes: monthly(total.bytes_up + total.bytes_down),
            micro_usd: writes * 5 + reads * 2 / 5,
        })
    }
}

fn load<T: DeserializeOwned>(history: &History, key: &str) -> Result<Option<T>, HistoryError> {
    Ok(history
        .state_get(key)?
        .and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

fn sum(a: Usage, b: Usage) -> Usage {
    Usage {
        lists: a.lists + b.lists,
        gets: a.gets + b.gets,
        puts: a.puts + b.puts,
        deletes: a.deletes + b.deletes,
        heads: a.heads + b.heads,
        other: a.other + b.other,
        retries: a.retries + b.retries,
        throttled: a.throttled + b.throttled,
        bytes_up: a.bytes_up + b.bytes_up,
        bytes_down: a.bytes_down + b.bytes_down,
    }
}
