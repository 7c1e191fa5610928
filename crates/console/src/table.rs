//! Tables for a person: aligned columns, no borders, so that a line can still be copied or cut by a script.
//!
//! What must hold: a value is never cut off or wrapped, and one that holds control characters acts on no terminal; what a terminal shows and what a pipe gets are the same text.
//!
//! It deliberately has no colours: they would carry meaning that a pipe loses.

use crate::visible::visible_line;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement};

/// Collects rows and renders them as aligned columns.
pub struct Table {
    inner: comfy_table::Table,
}

impl Table {
    /// Makes a table with the given column titles.
    #[must_use]
    pub fn new<T: Into<String>>(titles: impl IntoIterator<Item = T>) -> Self {
        let mut inner = comfy_table::Table::new();
        inner
            .load_style(NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled);
        let titles: Vec<String> = titles.into_iter().map(Into::into).collect();
        if titles.iter().any(|title| !title.is_empty()) {
            inner.set_header(titles);
        }
        Self { inner }
    }

    /// Makes a table of names and values, without titles.
    #[must_use]
    pub fn plain() -> Self {
        Self::new(Vec::<String>::new())
    }

    /// Adds a row.
    pub fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) -> &mut Self {
        let cells: Vec<String> = cells
            .into_iter()
            .map(|cell| visible_line(&cell.into()).into_owned())
            .collect();
        self.inner.add_row(cells);
        self
    }

    /// Aligns a column to the right, for numbers; to be called once there is a row.
    pub fn right(&mut self, column: usize) -> &mut Self {
        if let Some(column) = self.inner.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        self
    }

    /// Tells whether no row was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner.is_empty()
    }

    /// Renders the table: lines without trailing blanks, no final line break.
    #[must_use]
    pub fn render(&self) -> String {
        let lines: Vec<String> = self
            .inner
            .lines()
            .map(|line| {
                line.strip_prefix(' ')
                    .unwrap_or(&line)
                    .trim_end()
                    .to_string()
            })
            .collect();
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_bare() {
        let mut table = Table::new(["key", "value"]);
        table.row(["sync.timeout", "30s"]).row(["n", "5"]).right(1);
        assert_eq!(
            table.render(),
            "key           value\nsync.timeout    30s\nn                 5"
        );
    }

    #[test]
    fn control_characters_are_shown_not_sent() {
        let mut table = Table::plain();
        table.row(["a\x1b[31m\nb"]);
        assert_eq!(table.render(), "a\\u{1b}[31m\\nb");
    }
}
