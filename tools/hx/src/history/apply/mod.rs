//! Adding records to the database: the one way in, for imports, for pulls and for what a person does here.
//!
//! What must hold: a record is added once, whatever the order and number of its arrivals; a forgotten record stays away; the search
//! index names exactly the commands that have events; of one record's tombstones the earliest moment is kept; nothing is visible before the caller's transaction commits.
//!
//! What it deliberately does not do: commit, or parse anything.
//!
//! Changes to `commands` and `search` are gathered and written once a batch, in order of rank: a command that occurs a thousand
//! times in an import costs one change, and an index written in order is several times faster. Into an empty database the indexes
//! are made after the rows; until then a set in memory, bounded, stands in for them.

mod commands;
mod erase;
mod intern;

use std::collections::HashSet;

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use self::commands::Commands;
pub(crate) use self::commands::{rank as rank_of, wide_hash};
use self::erase::Erasure;
pub(crate) use self::intern::IdHasher;
use self::intern::Strings;
use super::compare::{Indexes, Reliance};
use super::error::HistoryError;
use super::model::{Event, Pin, Record, RecordId, Tombstone};
use super::rows;
use super::schema;

/// The most ids that stand in for the indexes before these are made: 36 MB.
const DEFERRED_IDS_MAX: usize = 1_800_000;

/// Where records come from.
#[derive(Clone, Copy, Debug, Default)]
pub struct ApplyOptions {
    /// The alias of the vault they were learnt from; none if they were born or imported here.
    pub src: Option<i64>,
    /// With `src`: a known record with a greater number is noted as learnt from that vault, so that it is not published again.
    pub published_upto: i64,
}

/// What applying records did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Records that were new.
    pub added: u64,
    /// Records that were there.
    pub known: u64,
    /// Records that were left out because they had been forgotten.
    pub forgotten: u64,
    /// Records that tombstones among these removed.
    pub erased: u64,
}

/// What became of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Added,
    Known,
    Forgotten,
}

/// Adds records within a transaction of the caller's. Call [`Applier::finish`] before committing, or the rest is missing.
pub(crate) struct Applier<'c> {
    connection: &'c Connection,
    options: ApplyOptions,
    indexes: Indexes,
    /// While the indexes are missing: the ids added so far.
    deferred: Option<HashSet<RecordId, IdHasher>>,
    commands: Commands<'c>,
    strings: Strings<'c>,
    insert: CachedStatement<'c>,
    select: CachedStatement<'c>,
    any_tombstones: bool,
    /// Tombstones of this batch: they take effect at its end, so that their order among the others does not matter.
    tombstones: Vec<Tombstone>,
    doomed: HashSet<RecordId, IdHasher>,
    /// Tombstones that are here, or may be, with a later time.
    earlier: Vec<Tombstone>,
    applied: Applied,
}

/// Applies all `records`; see [`Applier`].
pub(crate) fn apply_in(
    connection: &Connection,
    records: impl IntoIterator<Item = Record>,
    options: ApplyOptions,
    indexes: Indexes,
) -> Result<Applied, HistoryError> {
    let mut applier = Applier::new(connection, options, indexes)?;
    for record in records {
        applier.add(record)?;
    }
    applier.finish()
}

impl<'c> Applier<'c> {
    pub(crate) fn new(
        connection: &'c Connection,
        options: ApplyOptions,
        indexes: Indexes,
    ) -> Result<Self, HistoryError> {
        // Of an index that lies it is not believed that there is nothing.
        let sql = "SELECT NOT EXISTS (SELECT 1 FROM records NOT INDEXED)";
        let empty: bool = connection.query_row(sql, [], |row| row.get(0))?;
        if empty {
            schema::drop_indexes(connection)?;
            indexes.trust();
        }
        Ok(Self {
            connection,
            options,
            strings: Strings::new(connection, indexes.clone())?,
            indexes,
            deferred: empty.then(HashSet::default),
            commands: Commands::new(connection, empty)?,
            insert: connection.prepare_cached(
                "INSERT INTO records(rid, kind, src, command, time, time_known, duration, exit, cwd, host, shell, session, actor, body)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
            )?,
            select: connection
                .prepare_cached("SELECT seq, src, kind, command, time FROM records WHERE rid = ?1")?,
            any_tombstones: connection.query_row(
                "SELECT EXISTS (SELECT 1 FROM records WHERE kind = 4 AND kind <> 1)",
                [],
                |row| row.get(0),
            )?,
            tombstones: Vec::new(),
            doomed: HashSet::default(),
            earlier: Vec::new(),
            applied: Applied::default(),
        })
    }

    /// Adds one record.
    pub(crate) fn add(&mut self, record: Record) -> Result<Outcome, HistoryError> {
        let outcome = self.add_uncounted(record)?;
        match outcome {
            Outcome::Added => self.applied.added += 1,
            Outcome::Known => self.applied.known += 1,
            Outcome::Forgotten => self.applied.forgotten += 1,
        }
        Ok(outcome)
    }

    /// Makes sure that what was looked up is so, before something is done that hangs on it; see [`Indexes`].
    pub(crate) fn ensure_indexes(&self, reliance: Reliance) -> Result<(), HistoryError> {
        match self.deferred {
            Some(_) => Ok(()),
            None => self.indexes.ensure(self.connection, reliance),
        }
    }

    /// Whether anything was forgotten before.
    pub(crate) fn has_tombstones(&self) -> bool {
        self.any_tombstones
    }

    /// What would become of a record with this id, if that is told by what was in the database before; nothing is noted.
    pub(crate) fn fate(&mut self, id: RecordId) -> Result<Option<Outcome>, HistoryError> {
        if self.deferred.is_some() {
            return Ok(None);
        }
        if self.select.exists([&id.0[..]])? {
            return Ok(Some(Outcome::Known));
        }
        Ok(self.is_forgotten(id)?.then_some(Outcome::Forgotten))
    }

    /// Writes everything that was gathered, makes the indexes if they are missing, and lets the tombstones take effect.
    pub(crate) fn finish(mut self) -> Result<Applied, HistoryError> {
        self.commands.write()?;
        self.make_indexes()?;
        if !self.tombstones.is_empty() {
            let mut erasure = Erasure::new(self.connection);
            for tombstone in &self.tombstones {
                self.applied.erased += u64::from(erasure.erase(tombstone.target)?);
            }
            erasure.finish()?;
        }
        self.date_back()?;
        Ok(self.applied)
    }

    /// Of two devices that forgot the same the earlier moment holds, whichever comes first: so all come to say the same.
    fn date_back(&self) -> Result<(), HistoryError> {
        if self.earlier.is_empty() {
            return Ok(());
        }
        self.ensure_indexes(Reliance::Ids)?;
        let sql = "UPDATE records SET time = ?2 WHERE rid = ?1 AND kind = 4 AND time > ?2";
        let mut update = self.connection.prepare_cached(sql)?;
        for tombstone in &self.earlier {
            update.execute(params![&tombstone.id.0[..], tombstone.time_us])?;
        }
        Ok(())
    }

    fn add_uncounted(&mut self, record: Record) -> Result<Outcome, HistoryError> {
        let id = record.id();
        if self.is_known(id, &record)? {
            return Ok(Outcome::Known);
        }
        if self.is_forgotten(id)? && !matches!(record, Record::Tombstone(_)) {
            return Ok(Outcome::Forgotten);
        }
        self.ensure_indexes(match (self.options.src, &record) {
            (None, _) => Reliance::All,
            // A pull is as quick as can be: the others would only cost it a text that is stored twice.
            (Some(_), Record::Tombstone(_)) => Reliance::Uses,
            (Some(_), _) => Reliance::Ids,
        })?;
        match &record {
            Record::Event(event) => self.insert_event(event)?,
            other => self.insert_other(id, other)?,
        }
        match record {
            Record::Pin(pin) => self.settle_pin(&pin)?,
            Record::Tombstone(tombstone) => {
                self.doomed.insert(tombstone.target);
                self.tombstones.push(tombstone);
            }
            Record::Event(_) | Record::Session(_) => {}
        }
        Ok(Outcome::Added)
    }

    fn is_known(&mut self, id: RecordId, record: &Record) -> Result<bool, HistoryError> {
        let forgotten = match record {
            Record::Tombstone(tombstone) => Some(tombstone),
            _ => None,
        };
        if let Some(ids) = &mut self.deferred {
            if !ids.insert(id) {
                self.earlier.extend(forgotten.cloned());
                return Ok(true);
            }
            if ids.len() > DEFERRED_IDS_MAX {
                self.make_indexes()?;
            }
            return Ok(false);
        }
        let row = self
            .select
            .query_row([&id.0[..]], |row| {
                let (seq, src): (i64, Option<i64>) = (row.get(0)?, row.get(1)?);
                let is_event = row.get::<_, i64>(2)? == rows::EVENT;
                Ok((seq, src, is_event, row.get(3)?, row.get::<_, i64>(4)?))
            })
            .optional()?;
        let Some((seq, src, is_event, command, time)) = row else {
            return Ok(false);
        };
        if let Some(forgotten) = forgotten {
            if time > forgotten.time_us {
                self.earlier.push(forgotten.clone());
            }
            if time < forgotten.time_us {
                // The others are to have this one's moment, so that it stays to be published.
                return Ok(true);
            }
        }
        if is_event {
            self.commands.check(command)?;
        }
        if self.options.src.is_some()
            && seq > self.options.published_upto
            && src != self.options.src
        {
            self.ensure_indexes(Reliance::Ids)?;
            self.connection
                .prepare_cached("UPDATE records SET src = ?1 WHERE seq = ?2")?
                .execute(params![self.options.src, seq])?;
        }
        Ok(true)
    }

    fn is_forgotten(&mut self, id: RecordId) -> Result<bool, HistoryError> {
        if self.doomed.contains(&id) {
            return Ok(true);
        }
        if !self.any_tombstones {
            return Ok(false);
        }
        Ok(self.select.exists([&Tombstone::id_for(id).0[..]])?)
    }

    fn insert_event(&mut self, event: &Event) -> Result<(), HistoryError> {
        if self.commands.is_full() {
            // Without indexes nothing can be looked up, so nothing gathered may be let go before they exist.
            self.commands.write()?;
            self.make_indexes()?;
        }
        let command = self.commands.used(
            &event.command,
            commands::rank(event.time_us, event.time_known),
        )?;
        let strings = &mut self.strings;
        self.insert.execute(params![
            &event.id.0[..],
            rows::EVENT,
            self.options.src,
            command,
            event.time_us,
            event.time_known,
            event.duration_ms,
            event.exit,
            strings.id(event.cwd.as_ref())?,
            strings.id(Some(&event.host))?,
            strings.id(event.shell.as_ref())?,
            strings.id(event.session.as_ref())?,
            strings.id(event.actor.as_ref())?,
            None::<&[u8]>,
        ])?;
        Ok(())
    }

    fn insert_other(&mut self, id: RecordId, record: &Record) -> Result<(), HistoryError> {
        let (kind, time, body) = rows::encode_body(record);
        let none = None::<i64>;
        self.insert.execute(params![
            &id.0[..],
            kind,
            self.options.src,
            none,
            time,
            true,
            none,
            none,
            none,
            none,
            none,
            none,
            none,
            body
        ])?;
        Ok(())
    }

    /// Of several marks on one event the greatest `(clock, id)` holds.
    fn settle_pin(&mut self, pin: &Pin) -> Result<(), HistoryError> {
        self.connection
            .prepare_cached(
                "INSERT INTO pins(event, clock, pinned, rid) VALUES (?1, ?2, ?3, ?4) ON CONFLICT(event) DO UPDATE
                 SET clock = excluded.clock, pinned = excluded.pinned, rid = excluded.rid
                 WHERE (excluded.clock, excluded.rid) > (clock, rid)",
            )?
            .execute(params![&pin.event.0[..], pin.clock, pin.pinned, &pin.id.0[..]])?;
        Ok(())
    }

    fn make_indexes(&mut self) -> Result<(), HistoryError> {
        if self.deferred.take().is_some() {
            schema::create_indexes(self.connection)?;
            self.commands.indexes_exist();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
