//! Finding commands: by words, newest and best first, narrowed by time, place, machine, outcome.
//!
//! What must hold: what is found is found whatever the number of matches that the filters leave out; the common case touches only
//! the newest matches; the order is the same for the same database.
//!
//! What it deliberately does not do: fuzzy matching (that is the interactive search), or tell how to print.
//!
//! The index yields matching commands newest first, without sorting. A window of them is ordered by how well they match: the whole
//! command, its beginning, the text as typed somewhere in it, only the words. Within equals the newest comes first. A search that
//! filters empty goes on to the next window, until it has enough or the matches end.

mod query;
mod scan;

use rusqlite::params_from_iter;
use rusqlite::types::Value;

pub use self::query::Tier;
use self::query::{Mode, Words};
use self::scan::{Candidate, Scan};
use super::History;
use super::apply::rank_of;
use super::error::HistoryError;
use super::model::Event;
use super::rows::{self, Reader};

/// So many of the newest matches are looked at before the best of them are chosen.
const WINDOW: usize = 400;

/// What to find. An empty text finds everything that the filters let through.
#[derive(Clone, Debug)]
pub struct FindQuery {
    /// Words, each of which must begin a word of the command; punctuation joins them to phrases, as do double quotes.
    pub text: String,
    /// Look for the words inside others too. Slower; for what must not be missed.
    pub within: bool,
    /// Only events that started at this time or later (microseconds since the Unix epoch).
    pub after_us: Option<i64>,
    /// Only events that started before this time.
    pub before_us: Option<i64>,
    /// Only events that ran in exactly this directory.
    pub cwd: Option<String>,
    /// Only events of this machine.
    pub host: Option<String>,
    /// Only events of this session.
    pub session: Option<String>,
    /// Only events with this exit status.
    pub exit: Option<i32>,
    /// Only events whose exit status is known and not 0.
    pub failed: bool,
    /// Only events that are pinned.
    pub pinned: bool,
    /// At most so many.
    pub limit: usize,
    /// Show every event, not only the newest of each command.
    pub repeats: bool,
}

/// One thing found.
#[derive(Clone, Debug)]
pub struct Hit {
    /// The newest event of the command that the filters let through (with `repeats`, any such event).
    pub event: Event,
    /// How many events the command has in all.
    pub uses: u64,
    /// Whether the event is pinned.
    pub pinned: bool,
    /// How well it matches.
    pub tier: Tier,
}

/// A chosen event, before its row is read.
struct Chosen {
    tier: Tier,
    /// Newest first: known times before ordinals.
    recency: i64,
    which: Which,
}

/// Which event to show.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Which {
    /// The one with this number.
    Numbered(i64),
    /// The newest of this command.
    NewestOf(i64),
}

impl FindQuery {
    /// A search for `text` without filters, for at most `limit` commands.
    pub fn new(text: impl Into<String>, limit: usize) -> Self {
        Self {
            text: text.into(),
            within: false,
            after_us: None,
            before_us: None,
            cwd: None,
            host: None,
            session: None,
            exit: None,
            failed: false,
            pinned: false,
            limit,
            repeats: false,
        }
    }
}

impl History {
    /// Finds commands; best first, then newest first.
    ///
    /// # Errors
    /// If the database fails.
    pub fn find(&self, query: &FindQuery) -> Result<Vec<Hit>, HistoryError> {
        // One transaction: all of it sees the same history, and the file is locked once.
        let _snapshot = self.connection().unchecked_transaction()?;
        let Some(filter) = Filter::new(self, query)? else {
            return Ok(Vec::new());
        };
        if query.limit == 0 {
            return Ok(Vec::new());
        }
        let words = Words::parse(&query.text, query.within);
        let chosen = match &words {
            None => self.newest(query, &filter)?,
            Some(words) => self.matching(words, query, &filter)?,
        };
        self.read_hits(&chosen)
    }

    /// Whole words come before beginnings of words only where there are so many that nobody would see the difference: reading the
    /// beginnings of common words costs a walk over all their matches.
    fn matching(
        &self,
        words: &Words,
        query: &FindQuery,
        filter: &Filter,
    ) -> Result<Vec<Chosen>, HistoryError> {
        if let Some(mode) = words.exact() {
            let (chosen, exhausted) = self.choose(&mode, words, query, filter)?;
            if !exhausted {
                return Ok(chosen);
            }
        }
        Ok(self.choose(&words.prefix(), words, query, filter)?.0)
    }

    /// The best of the first window that is not filtered empty, and whether the matches ended.
    fn choose(
        &self,
        mode: &Mode,
        words: &Words,
        query: &FindQuery,
        filter: &Filter,
    ) -> Result<(Vec<Chosen>, bool), HistoryError> {
        let lowest = query.after_us.map_or(0, |after| rank_of(after, true));
        let mut scan = Scan::new(self.connection(), mode, lowest)?;
        let mut chosen = Vec::new();
        let mut exhausted = false;
        while chosen.len() < query.limit && !exhausted {
            let window = scan.next_window(WINDOW)?;
            exhausted = window.len() < WINDOW;
            for candidate in window {
                if let Some(tier) = words.tier(&candidate.text) {
                    self.take(&candidate, tier, query, filter, &mut chosen)?;
                }
            }
        }
        chosen.sort_by_key(|one: &Chosen| (one.tier, std::cmp::Reverse((one.recency, one.which))));
        chosen.truncate(query.limit);
        Ok((chosen, exhausted))
    }

    /// Chooses the events of a matching command that the filters let through: the newest, or all with `repeats`.
    fn take(
        &self,
        candidate: &Candidate,
        tier: Tier,
        query: &FindQuery,
        filter: &Filter,
        chosen: &mut Vec<Chosen>,
    ) -> Result<(), HistoryError> {
        if filter.is_empty() && !query.repeats {
            // Which event it is can wait until it is known to be among the best.
            chosen.push(Chosen {
                tier,
                recency: candidate.rank,
                which: Which::NewestOf(candidate.command),
            });
            return Ok(());
        }
        let most = if query.repeats { query.limit } else { 1 };
        let sql = format!(
            "SELECT r.seq, r.time, r.time_known FROM records r WHERE r.command = ? AND r.kind = 1{} ORDER BY r.time DESC LIMIT {most}",
            filter.sql
        );
        let mut select = self.connection().prepare_cached(&sql)?;
        let values =
            std::iter::once(Value::from(candidate.command)).chain(filter.values.iter().cloned());
        let mut found = select.query(params_from_iter(values))?;
        while let Some(row) = found.next()? {
            chosen.push(Chosen {
                tier,
                recency: rank_of(row.get(1)?, row.get(2)?),
                which: Which::Numbered(row.get(0)?),
            });
        }
        Ok(())
    }

    /// The newest events that the filters let through, one a command unless `repeats`.
    fn newest(&self, query: &FindQuery, filter: &Filter) -> Result<Vec<Chosen>, HistoryError> {
        let sql = format!(
            "SELECT r.seq, r.command FROM records r WHERE r.kind = 1{} ORDER BY r.time DESC, r.seq DESC",
            filter.sql
        );
        let mut select = self.connection().prepare_cached(&sql)?;
        let mut found = select.query(params_from_iter(filter.values.iter()))?;
        let mut seen = std::collections::HashSet::new();
        let mut chosen = Vec::new();
        while let Some(row) = found.next()? {
            if query.repeats || seen.insert(row.get::<_, i64>(1)?) {
                chosen.push(Chosen {
                    tier: Tier::Words,
                    recency: 0,
                    which: Which::Numbered(row.get(0)?),
                });
            }
            if chosen.len() >= query.limit {
                break;
            }
        }
        Ok(chosen)
    }

    fn read_hits(&self, chosen: &[Chosen]) -> Result<Vec<Hit>, HistoryError> {
        let columns = format!(
            "SELECT {}, c.uses, (SELECT pinned FROM pins p WHERE p.event = r.rid) FROM records r JOIN commands c ON c.id = r.command",
            rows::COLUMNS
        );
        let mut by_seq = self
            .connection()
            .prepare_cached(&format!("{columns} WHERE r.seq = ?1"))?;
        let newest_of =
            format!("{columns} WHERE r.command = ?1 AND r.kind = 1 ORDER BY r.time DESC LIMIT 1");
        let mut by_command = self.connection().prepare_cached(&newest_of)?;
        let mut reader = Reader::new(self.connection())?;
        let mut hits = Vec::with_capacity(chosen.len());
        for one in chosen {
            let mut found = match one.which {
                Which::Numbered(seq) => by_seq.query([seq])?,
                Which::NewestOf(command) => by_command.query([command])?,
            };
            if let Some(row) = found.next()? {
                let uses = row.get::<_, i64>(rows::COUNT)?.unsigned_abs();
                let pinned = row
                    .get::<_, Option<bool>>(rows::COUNT + 1)?
                    .unwrap_or(false);
                hits.push(Hit {
                    event: reader.event(row)?,
                    uses,
                    pinned,
                    tier: one.tier,
                });
            }
        }
        Ok(hits)
    }
}

/// The filters as SQL over `records r`, each beginning with ` AND `.
struct Filter {
    sql: String,
    values: Vec<Value>,
}

impl Filter {
    /// None if a filter names a text that no event has: then nothing can match.
    fn new(history: &History, query: &FindQuery) -> Result<Option<Self>, HistoryError> {
        let mut filter = Self {
            sql: String::new(),
            values: Vec::new(),
        };
        for (column, text) in [
            ("cwd", &query.cwd),
            ("host", &query.host),
            ("session", &query.session),
        ] {
            let Some(text) = text else { continue };
            let Some(id) = history.string_id(text)? else {
                return Ok(None);
            };
            filter.add(&format!("r.{column} = ?"), id);
        }
        if let Some(after) = query.after_us {
            filter.add("r.time_known AND r.time >= ?", after);
        }
        if let Some(before) = query.before_us {
            filter.add("r.time_known AND r.time < ?", before);
        }
        if let Some(exit) = query.exit {
            filter.add("r.exit = ?", i64::from(exit));
        }
        if query.failed {
            filter.sql.push_str(" AND r.exit <> 0");
        }
        if query.pinned {
            filter
                .sql
                .push_str(" AND EXISTS (SELECT 1 FROM pins p WHERE p.event = r.rid AND p.pinned)");
        }
        Ok(Some(filter))
    }

    fn add(&mut self, condition: &str, value: i64) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
        self.values.push(value.into());
    }

    fn is_empty(&self) -> bool {
        self.sql.is_empty()
    }
}

#[cfg(test)]
mod tests;
