//! The statements, for one connection.
//!
//! What must hold: keys are compared with the key column's own affinity and order.
//!
//! It deliberately uses nothing newer than what every SQLite since 3.35 has.

use crate::db::rows::{Shape, quoted, time_from_text};
use crate::db::{Change, Count, Holder, Page, Row, Switched, Which};
use crate::mapping::{CopyColumn, Mapping, Table};
use rusqlite::types::{ToSql, ValueRef};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params_from_iter};
use std::collections::HashMap;

/// How many parameters a statement gets at most.
const PARAMETERS_MAX: usize = 500;

/// Looks the mapping's tables up.
pub(super) fn shape(connection: &Connection, mapping: &Mapping) -> rusqlite::Result<Shape> {
    let mut shape = Shape::default();
    for column in mapping.path_columns() {
        if shape.has_table(&column.table) {
            continue;
        }
        let mut statement = connection.prepare("SELECT name, type FROM pragma_table_info(?1)")?;
        let columns: HashMap<String, String> = statement
            .query_map([&column.table], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        shape.add(&column.table, columns);
    }
    Ok(shape)
}

/// The select list of [`Row`].
fn columns(shape: &Shape, table: &Table) -> Option<String> {
    shape.kind(&table.table, &table.key)?;
    shape.kind(&table.table, &table.path)?;
    let optional = |column: &Option<String>| {
        column
            .as_deref()
            .filter(|name| shape.kind(&table.table, name).is_some())
            .map_or_else(|| "NULL".to_owned(), quoted)
    };
    Some(format!(
        "CAST({} AS TEXT), coalesce(CAST({} AS TEXT), ''), CAST({} AS TEXT), {}, CAST({} AS TEXT), {}, {}, CAST({} AS TEXT)",
        quoted(&table.key),
        quoted(&table.path),
        optional(&table.user),
        optional(&table.created),
        optional(&table.filename),
        optional(&table.size),
        optional(&table.sha256),
        optional(&table.mime),
    ))
}

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let created = match row.get_ref(3)? {
        ValueRef::Integer(number) => time_from_text(&number.to_string()),
        ValueRef::Real(number) => time_from_text(&format!("{}", number.trunc())),
        ValueRef::Text(text) => std::str::from_utf8(text).ok().and_then(time_from_text),
        _ => None,
    };
    let size = match row.get_ref(5)? {
        ValueRef::Integer(number) => u64::try_from(number).ok(),
        _ => None,
    };
    let sha256 = match row.get_ref(6)? {
        ValueRef::Text(text) => std::str::from_utf8(text).ok().map(str::to_ascii_lowercase),
        ValueRef::Blob(bytes) => Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        _ => None,
    };
    Ok(Row {
        key: row.get(0)?,
        path: row.get(1)?,
        user: row.get(2)?,
        created,
        filename: row.get(4)?,
        size,
        sha256,
        mime: row.get(7)?,
    })
}

/// Reads a page.
pub(super) fn page(
    connection: &Connection,
    shape: &Shape,
    mapping: &Mapping,
    page: &Page<'_>,
) -> rusqlite::Result<Vec<Row>> {
    let table = page.table;
    let Some(columns) = columns(shape, table) else {
        return Ok(Vec::new());
    };
    let (key, path) = (quoted(&table.key), quoted(&table.path));
    let prefix = &mapping.stored.prefix;
    let limit = i64::try_from(page.limit).unwrap_or(i64::MAX);
    let mut values: Vec<&dyn ToSql> = Vec::new();
    let sign = if page.which == Which::Empty {
        "="
    } else {
        "<>"
    };
    let mut conditions = vec![format!("coalesce({path}, '') {sign} ''")];
    if mapping.marks_stored() && matches!(page.which, Which::Local | Which::Stored) {
        values.push(prefix);
        let sign = if page.which == Which::Local {
            "<>"
        } else {
            "="
        };
        conditions.push(format!("substr({path}, 1, length(?1)) {sign} ?1"));
    }
    if let (Some(user), Some(column)) = (&page.user, &table.user)
        && shape.kind(&table.table, column).is_some()
    {
        values.push(user);
        conditions.push(format!("{} = ?{}", quoted(column), values.len()));
    }
    if let Some(after) = &page.after {
        values.push(after);
        conditions.push(format!("{key} > ?{}", values.len()));
    }
    values.push(&limit);
    let sql = format!(
        "SELECT {columns} FROM {} AS t WHERE {} ORDER BY t.{key} LIMIT ?{}",
        quoted(&table.table),
        conditions.join(" AND "),
        values.len()
    );
    let mut statement = connection.prepare_cached(&sql)?;
    statement
        .query_map(params_from_iter(values), row)?
        .collect()
}

/// Makes all changes in one transaction.
pub(super) fn switch(
    connection: &mut Connection,
    changes: &[Change],
) -> rusqlite::Result<Vec<Switched>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let answers = changes
        .iter()
        .map(|change| switch_one(&transaction, change))
        .collect::<Result<Vec<_>, _>>()?;
    transaction.commit()?;
    Ok(answers)
}

fn switch_one(connection: &Connection, change: &Change) -> rusqlite::Result<Switched> {
    let (table, key, column) = (
        quoted(&change.table),
        quoted(&change.key_column),
        quoted(&change.column),
    );
    if change.old != change.new {
        let sql = format!("UPDATE {table} SET {column} = ?1 WHERE {key} = ?2 AND {column} = ?3");
        let mut update = connection.prepare_cached(&sql)?;
        if update.execute([&change.new, &change.key, &change.old])? > 0 {
            return Ok(Switched::Done);
        }
    }
    look(connection, change)
}

/// Compares a row with a change and leaves it alone.
pub(super) fn look(connection: &Connection, change: &Change) -> rusqlite::Result<Switched> {
    let (table, key, column) = (
        quoted(&change.table),
        quoted(&change.key_column),
        quoted(&change.column),
    );
    let sql = format!("SELECT coalesce(CAST({column} AS TEXT), '') FROM {table} WHERE {key} = ?1");
    let mut ask = connection.prepare_cached(&sql)?;
    let current: Option<String> = ask.query_row([&change.key], |row| row.get(0)).optional()?;
    Ok(current.map_or(Switched::Gone, |path| change.compare(&path)))
}

/// Finds paths in columns.
pub(super) fn holders(
    connection: &Connection,
    shape: &Shape,
    columns: &[CopyColumn],
    paths: &[String],
) -> rusqlite::Result<Vec<Holder>> {
    let mut holders = Vec::new();
    for column in columns {
        if shape.kind(&column.table, &column.path).is_none() {
            continue;
        }
        for some in paths.chunks(PARAMETERS_MAX) {
            let (key, path) = (quoted(&column.key), quoted(&column.path));
            let sql = format!(
                "SELECT CAST({key} AS TEXT), CAST({path} AS TEXT) FROM {} AS t WHERE {path} IN ({}) ORDER BY t.{key}",
                quoted(&column.table),
                placeholders(some.len())
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let found = statement.query_map(params_from_iter(some), |row| holder(column, row))?;
            for holder in found {
                holders.push(holder?);
            }
        }
    }
    Ok(holders)
}

fn holder(column: &CopyColumn, row: &rusqlite::Row<'_>) -> rusqlite::Result<Holder> {
    Ok(Holder {
        table: column.table.clone(),
        key_column: column.key.clone(),
        key: row.get(0)?,
        column: column.path.clone(),
        path: row.get(1)?,
    })
}

/// Counts the rows of every column.
pub(super) fn counts(
    connection: &Connection,
    shape: &Shape,
    mapping: &Mapping,
) -> rusqlite::Result<Vec<Count>> {
    let mut counts = Vec::new();
    for column in mapping.path_columns() {
        if shape.kind(&column.table, &column.path).is_none() {
            continue;
        }
        let size = mapping
            .table(&column.table, &column.path)
            .and_then(|table| table.size.as_deref())
            .filter(|size| shape.kind(&column.table, size).is_some())
            .map_or_else(|| "0".to_owned(), quoted);
        let path = quoted(&column.path);
        let stored = format!("(?1 <> '' AND substr({path}, 1, length(?1)) = ?1)");
        let sql = format!(
            "SELECT count(*) FILTER (WHERE {path} <> '' AND NOT {stored}), count(*) FILTER (WHERE {stored}), \
             count(*) FILTER (WHERE coalesce({path}, '') = ''), \
             CAST(coalesce(sum({size}) FILTER (WHERE {path} <> '' AND NOT {stored}), 0) AS INTEGER) FROM {}",
            quoted(&column.table)
        );
        let count = connection.query_row(&sql, [&mapping.stored.prefix], |row| {
            let number = |index| {
                row.get::<_, i64>(index)
                    .map(|n| u64::try_from(n).unwrap_or(0))
            };
            Ok(Count {
                table: column.table.clone(),
                column: column.path.clone(),
                local: number(0)?,
                stored: number(1)?,
                empty: number(2)?,
                local_bytes: number(3)?,
            })
        })?;
        counts.push(count);
    }
    Ok(counts)
}

fn placeholders(count: usize) -> String {
    vec!["?"; count].join(", ")
}
