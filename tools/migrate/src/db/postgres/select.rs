//! The statements that only read.
//!
//! What must hold: a page is found by the key's own order and type, so that an index serves it and nothing is skipped.
//!
//! It deliberately builds text and runs only what is asked once, at the start.

use super::connect::Connector;
use crate::db::rows::{Shape, quoted, time_from_text};
use crate::db::{DbError, Info, Page, Row, Which};
use crate::mapping::{CopyColumn, Mapping, Table};
use crate::state::Origin;
use std::collections::HashMap;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

/// Names the session that holds an advisory lock.
pub(super) const LOCK_HOLDER: &str = "SELECT format('held by %s, process %s of the server, from %s, since %s', \
     coalesce(nullif(a.application_name, ''), 'an unnamed program'), a.pid, coalesce(a.client_addr::text, 'this host'), \
     to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS \"UTC\"')) \
     FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
     WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 \
     AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
     AND ((l.classid::bigint << 32) | l.objid::bigint) = $1 LIMIT 1";

/// A statement with its parameters.
pub(super) struct Query {
    /// The text.
    pub(super) sql: String,
    values: Vec<Box<dyn ToSql + Sync + Send>>,
}

impl Query {
    /// Returns the parameters as the client wants them.
    pub(super) fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.values.iter().map(|value| &**value as _).collect()
    }

    /// Adds a parameter and returns its placeholder.
    fn bind(&mut self, value: impl ToSql + Sync + Send + 'static) -> String {
        self.values.push(Box::new(value));
        format!("${}", self.values.len())
    }
}

/// Asks the server what it is.
pub(super) async fn info(client: &Client, connector: &Connector) -> Result<Info, DbError> {
    let sql = "SELECT current_setting('server_version'), current_database(), \
               pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on', \
               (SELECT oid::text FROM pg_database WHERE datname = current_database())";
    let row = connector
        .limited("ask the database what it is", client.query_one(sql, &[]))
        .await?;
    let version: String = row.get(0);
    // Not every provider lets everybody ask.
    let number = "SELECT system_identifier::text FROM pg_control_system()";
    let number = connector.limited(
        "ask the server for its number",
        client.query_one(number, &[]),
    );
    let cluster = number.await.ok().map(|row| row.get(0));
    Ok(Info {
        server: format!("PostgreSQL {version}"),
        place: connector.place(),
        identity: format!("{}#{}", row.get::<_, String>(1), row.get::<_, String>(3)),
        origin: Origin {
            place: connector.address(),
            cluster,
        },
        read_only: row.get(2),
        missing_tables: Vec::new(),
        missing_columns: Vec::new(),
    })
}

/// Looks the mapping's tables up in the catalogue.
pub(super) async fn shape(
    client: &Client,
    connector: &Connector,
    mapping: &Mapping,
) -> Result<Shape, DbError> {
    let sql = "SELECT attname::text, format_type(atttypid, NULL) FROM pg_attribute \
               WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped";
    let mut shape = Shape::default();
    for column in mapping.path_columns() {
        if shape.has_table(&column.table) {
            continue;
        }
        let name = quoted(&column.table);
        let rows = connector
            .limited("look up the tables", client.query(sql, &[&name]))
            .await?;
        let columns: HashMap<String, String> =
            rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        shape.add(&column.table, columns);
    }
    Ok(shape)
}

/// The select list of [`Row`], or none if the table, its key or its path does not exist.
fn columns(shape: &Shape, table: &Table) -> Option<String> {
    shape.kind(&table.table, &table.key)?;
    shape.kind(&table.table, &table.path)?;
    let text = |column: &Option<String>| {
        expression(shape, table, column, |name, _| format!("{name}::text"))
    };
    Some(format!(
        "{}::text, coalesce({}::text, ''), {}, {}, {}, {}, {}, {}",
        quoted(&table.key),
        quoted(&table.path),
        text(&table.user),
        expression(shape, table, &table.created, time),
        text(&table.filename),
        expression(shape, table, &table.size, |name, _| format!(
            "{name}::bigint"
        ))
        .replace("NULL::text", "NULL::bigint"),
        expression(shape, table, &table.sha256, digest),
        text(&table.mime),
    ))
}

fn expression(
    shape: &Shape,
    table: &Table,
    column: &Option<String>,
    build: impl Fn(&str, &str) -> String,
) -> String {
    let found = column
        .as_ref()
        .and_then(|name| Some((quoted(name), shape.kind(&table.table, name)?)));
    match found {
        Some((name, kind)) => build(&name, kind),
        None => "NULL::text".to_owned(),
    }
}

/// A time as text: microseconds since 1970 where the column is a time, whatever it is otherwise.
fn time(name: &str, kind: &str) -> String {
    if kind.starts_with("timestamp") || kind == "date" {
        format!(
            "CASE WHEN isfinite({name}) THEN to_char(({name}){} , 'YYYY-MM-DD\"T\"HH24:MI:SS.US') END",
            if kind.contains("with time zone") {
                " AT TIME ZONE 'UTC'"
            } else {
                ""
            }
        )
    } else {
        format!("{name}::text")
    }
}

fn digest(name: &str, kind: &str) -> String {
    match kind {
        "bytea" => format!("encode({name}, 'hex')"),
        _ => format!("lower({name}::text)"),
    }
}

/// The type to which a key that comes as text is cast. Text of every sort compares as text: a cast to `character` would cut.
fn key_type(kind: &str) -> &str {
    if kind.starts_with("character") || kind == "citext" {
        "text"
    } else {
        kind
    }
}

/// The statement that reads a page.
pub(super) fn page(shape: &Shape, mapping: &Mapping, page: &Page<'_>) -> Option<Query> {
    let table = page.table;
    let (key, path) = (quoted(&table.key), quoted(&table.path));
    let kind = key_type(shape.kind(&table.table, &table.key)?);
    let mut query = Query {
        sql: String::new(),
        values: Vec::new(),
    };
    let sign = if page.which == Which::Empty {
        "="
    } else {
        "<>"
    };
    let mut conditions = vec![format!("coalesce({path}::text, '') {sign} ''")];
    if mapping.marks_stored() && matches!(page.which, Which::Local | Which::Stored) {
        let prefix = query.bind(mapping.stored.prefix.clone());
        let sign = if page.which == Which::Local {
            "<>"
        } else {
            "="
        };
        conditions.push(format!(
            "left({path}::text, length({prefix}::text)) {sign} {prefix}::text"
        ));
    }
    if let (Some(user), Some(column)) = (page.user, &table.user) {
        let kind = key_type(shape.kind(&table.table, column)?).to_owned();
        let user = query.bind(user.to_owned());
        conditions.push(format!("{} = {user}::text::{kind}", quoted(column)));
    }
    if let Some(after) = page.after {
        let after = query.bind(after.to_owned());
        conditions.push(format!("{key} > {after}::text::{kind}"));
    }
    let limit = query.bind(i64::try_from(page.limit).unwrap_or(i64::MAX));
    query.sql = format!(
        // Without the `t.` the order would be that of the output column, which is text.
        "SELECT {} FROM {} AS t WHERE {} ORDER BY t.{key} LIMIT {limit}",
        columns(shape, table)?,
        quoted(&table.table),
        conditions.join(" AND ")
    );
    Some(query)
}

/// The statement that finds paths in a column.
pub(super) fn holders(shape: &Shape, column: &CopyColumn) -> Option<String> {
    shape.kind(&column.table, &column.key)?;
    shape.kind(&column.table, &column.path)?;
    let (key, path) = (quoted(&column.key), quoted(&column.path));
    Some(format!(
        "SELECT {key}::text, {path}::text FROM {} AS t WHERE {path}::text = ANY($1::text[]) ORDER BY t.{key}",
        quoted(&column.table)
    ))
}

/// The statement that counts the rows of a column.
pub(super) fn counts(shape: &Shape, mapping: &Mapping, column: &CopyColumn) -> Option<String> {
    shape.kind(&column.table, &column.path)?;
    let path = format!("{}::text", quoted(&column.path));
    let size = mapping
        .table(&column.table, &column.path)
        .and_then(|table| table.size.as_deref())
        .filter(|size| shape.kind(&column.table, size).is_some())
        .map_or_else(|| "0".to_owned(), quoted);
    let stored = format!("$1::text <> '' AND left({path}, length($1::text)) = $1::text");
    Some(format!(
        "SELECT count(*) FILTER (WHERE {path} <> '' AND NOT ({stored})), \
         count(*) FILTER (WHERE {stored}), count(*) FILTER (WHERE coalesce({path}, '') = ''), \
         coalesce(sum({size}) FILTER (WHERE {path} <> '' AND NOT ({stored})), 0)::bigint FROM {}",
        quoted(&column.table)
    ))
}

/// Reads the columns of [`columns`].
pub(super) fn row(row: &tokio_postgres::Row) -> Result<Row, tokio_postgres::Error> {
    let created: Option<String> = row.try_get(3)?;
    let size: Option<i64> = row.try_get(5)?;
    Ok(Row {
        key: row.try_get(0)?,
        path: row.try_get(1)?,
        user: row.try_get(2)?,
        created: created.as_deref().and_then(time_from_text),
        filename: row.try_get(4)?,
        size: size.and_then(|size| u64::try_from(size).ok()),
        sha256: row.try_get(6)?,
        mime: row.try_get(7)?,
    })
}

/// The type of a key, for statements that compare it with text.
pub(super) fn key_cast(shape: &Shape, table: &str, key: &str) -> Option<String> {
    shape.kind(table, key).map(|kind| key_type(kind).to_owned())
}
