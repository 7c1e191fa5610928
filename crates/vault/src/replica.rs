//! What the vault asks of a tool: a local database of records that can apply a batch and remember the vault's own state in one transaction.
//!
//! What must hold: [`Replica::apply`] and [`Replica::save`] are atomic and durable when they return; local numbers rise for ever
//! and are never given twice; a forgotten record never comes back through `apply`.
//!
//! What it deliberately does not do: no network, no encryption, no knowledge of other devices beyond what it is told.

use std::collections::HashSet;

use crate::ids::RecordId;

/// A replica's own error, whatever it is.
pub type ReplicaError = Box<dyn std::error::Error + Send + Sync>;

/// Bytes that are no batch of records.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

/// One change of the vault's state in the local database: a value to keep under a key, or `None` to forget it.
pub type Change = (String, Option<Vec<u8>>);

/// What [`Replica::apply`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Records that were new.
    pub added: u64,
    /// Records that were already there, or were forgotten before.
    pub known: u64,
}

/// Where applied records come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A live segment of another device. New records count as learnt from the vault; so do known ones numbered above `unpublished_above`,
    /// which are not in this device's own segments.
    Vault {
        /// Everything numbered up to here that was not learnt is in this device's own segments. `u64::MAX` changes no known record.
        unpublished_above: u64,
    },
    /// An object that no manifest names, or whose owner leaves: new records count as this device's own.
    Salvage,
}

/// A tool's local database, as the vault sees it. All calls block.
pub trait Replica {
    /// The tool's record.
    type Record: Send + 'static;

    /// The record's identity.
    fn id(record: &Self::Record) -> RecordId;
    /// The record's time in microseconds since the Unix epoch, only to sync the newest first.
    fn time_us(record: &Self::Record) -> i64;
    /// About how many bytes the record takes when encoded; segments are cut by the sum.
    fn size(record: &Self::Record) -> usize;
    /// Encodes a batch, compactly and deterministically. The vault compresses it.
    fn encode(records: &[Self::Record]) -> Vec<u8>;
    /// Decodes a batch.
    ///
    /// # Errors
    /// [`Malformed`] for anything that [`Replica::encode`] did not write.
    fn decode(bytes: &[u8]) -> Result<Vec<Self::Record>, Malformed>;

    /// Reads a value of the vault's state.
    ///
    /// # Errors
    /// If the database fails.
    fn load(&self, key: &str) -> Result<Option<Vec<u8>>, ReplicaError>;
    /// The keys of the vault's state that begin with `prefix`.
    ///
    /// # Errors
    /// If the database fails.
    fn keys(&self, prefix: &str) -> Result<Vec<String>, ReplicaError>;
    /// Changes the vault's state, all or nothing.
    ///
    /// # Errors
    /// If the database fails; then nothing was changed.
    fn save(&mut self, changes: &[Change]) -> Result<(), ReplicaError>;

    /// The highest local number given so far, 0 if none.
    ///
    /// # Errors
    /// If the database fails.
    fn head(&self) -> Result<u64, ReplicaError>;
    /// Makes sure that the records and their numbers are those that were given to it, before any is published. What is asked once and found
    /// sound need not be read again.
    ///
    /// # Errors
    /// If it is damaged, or fails.
    fn vouch(&self) -> Result<(), ReplicaError>;
    /// How many records numbered above `after` were not learnt from this vault.
    ///
    /// # Errors
    /// If the database fails.
    fn count_own(&self, after: u64) -> Result<u64, ReplicaError>;
    /// The records numbered `first..=last` that were not learnt from this vault, in order, at most `limit`, with their numbers.
    ///
    /// # Errors
    /// If the database fails.
    fn own(
        &self,
        first: u64,
        last: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Self::Record)>, ReplicaError>;
    /// Adds records read from this vault, and changes the vault's state, in one transaction.
    ///
    /// `source` says whether they count as learnt from this vault, so that they are not published again. A record that is known is left
    /// as it is, but for that note and for what all replicas come to agree on whatever the order; one that the others are to agree on is
    /// not noted, so that it is published. A record that deletes others deletes them, and notes the numbers of the deleted for [`Replica::erased`].
    ///
    /// # Errors
    /// If the database fails; then nothing was changed.
    fn apply(
        &mut self,
        records: Vec<Self::Record>,
        source: Source,
        changes: &[Change],
    ) -> Result<Applied, ReplicaError>;
    /// The numbers of records deleted since they were last taken by [`Replica::clear_erased`].
    ///
    /// # Errors
    /// If the database fails.
    fn erased(&self) -> Result<Vec<u64>, ReplicaError>;
    /// Forgets these erased numbers and changes the vault's state, in one transaction.
    ///
    /// # Errors
    /// If the database fails; then nothing was changed.
    fn clear_erased(&mut self, numbers: &[u64], changes: &[Change]) -> Result<(), ReplicaError>;
    /// Whether the record was deleted, so that its content must not be kept anywhere.
    ///
    /// # Errors
    /// If the database fails.
    fn is_forgotten(&self, record: &Self::Record) -> Result<bool, ReplicaError>;
    /// Whether the record is here.
    ///
    /// # Errors
    /// If the database fails.
    fn holds(&self, record: &Self::Record) -> Result<bool, ReplicaError>;
    /// Gives every record whose id is in `ids` and that was learnt from this vault a new number, notes it as not learnt, so that the
    /// next push publishes it, and changes the vault's state, in one transaction. Returns how many there were.
    ///
    /// # Errors
    /// If the database fails; then nothing was changed.
    fn unlearn(&mut self, ids: &HashSet<RecordId>, changes: &[Change])
    -> Result<u64, ReplicaError>;
    /// Gives every record whose id `shown` does not hold a new number, notes it as not learnt from this vault, so that the next push
    /// publishes it, and changes the vault's state, in one transaction. Returns how many there were.
    ///
    /// # Errors
    /// If the database fails; then nothing was changed.
    fn republish_all_but(
        &mut self,
        shown: &HashSet<RecordId>,
        changes: &[Change],
    ) -> Result<u64, ReplicaError>;
}
