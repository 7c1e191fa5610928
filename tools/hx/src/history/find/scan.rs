//! Commands that match, newest use first, a window at a time.
//!
//! What must hold: the windows together hold every match once.
//!
//! What it deliberately does not do: filter or order by anything else.

use rusqlite::{CachedStatement, Connection, Row, params};

use super::query::Mode;
use crate::history::error::HistoryError;

/// A command that matches.
pub(super) struct Candidate {
    pub(super) command: i64,
    pub(super) text: String,
    pub(super) rank: i64,
}

pub(super) struct Scan<'c> {
    statement: CachedStatement<'c>,
    expression: Option<String>,
    lowest: i64,
    /// Everything from this rank on has been seen.
    below: i64,
}

impl<'c> Scan<'c> {
    /// Begins at the newest; ends at the rank `lowest`.
    pub(super) fn new(
        connection: &'c Connection,
        mode: &Mode,
        lowest: i64,
    ) -> Result<Self, HistoryError> {
        let (sql, expression) = match mode {
            Mode::Index(expression) => (
                // CROSS JOIN keeps the index outside, where its order is the order of the answer.
                "SELECT c.id, c.text, c.rank FROM search s CROSS JOIN commands c ON c.rank = s.rowid
                 WHERE s.search MATCH ?4 AND s.rowid >= ?1 AND s.rowid < ?2 ORDER BY s.rowid DESC LIMIT ?3",
                Some(expression.clone()),
            ),
            Mode::Everything => {
                ("SELECT id, text, rank FROM commands WHERE rank >= ?1 AND rank < ?2 ORDER BY rank DESC LIMIT ?3", None)
            }
        };
        Ok(Self {
            statement: connection.prepare_cached(sql)?,
            expression,
            lowest,
            below: i64::MAX,
        })
    }

    /// The next matches; fewer than `most` only at the end.
    pub(super) fn next_window(&mut self, most: usize) -> Result<Vec<Candidate>, HistoryError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let candidate = |row: &Row<'_>| {
            Ok(Candidate {
                command: row.get(0)?,
                text: row.get(1)?,
                rank: row.get(2)?,
            })
        };
        let window: Vec<Candidate> = match &self.expression {
            Some(expression) => self
                .statement
                .query_map(
                    params![self.lowest, self.below, most, expression],
                    candidate,
                )?
                .collect::<Result<_, _>>()?,
            None => self
                .statement
                .query_map(params![self.lowest, self.below, most], candidate)?
                .collect::<Result<_, _>>()?,
        };
        if let Some(last) = window.last() {
            self.below = last.rank;
        }
        Ok(window)
    }
}
