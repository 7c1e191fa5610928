//! Paths changed by compare-and-set, many rows a statement.
//!
//! What must hold: a row is changed only while it holds the old path; all changes of a call are in one transaction; only the
//! path's column is named in the statement, so nothing else of the row changes and no index but one on the path is touched.
//!
//! It deliberately sends arrays, not one statement a row: at two thousand rows a second the round trips would be the cost.

use super::connect::Connector;
use super::select::key_cast;
use crate::db::rows::{Shape, quoted};
use crate::db::{Change, DbError, DbErrorKind, Switched};
use std::collections::{BTreeMap, HashMap};
use tokio_postgres::{Client, Transaction};

/// How often a transaction that fell victim to another one is begun again.
const ATTEMPTS_MAX: u32 = 4;

/// The changes to one column of one table, with their places in the call.
struct Group<'a> {
    table: &'a str,
    key_column: &'a str,
    column: &'a str,
    /// The type that a key, which comes as text, is cast to.
    cast: String,
    places: Vec<usize>,
}

/// Makes all changes in one transaction.
pub(super) async fn switch(
    client: &mut Client,
    connector: &Connector,
    shape: &Shape,
    changes: &[Change],
) -> Result<Vec<Switched>, DbError> {
    let mut attempt = 1;
    loop {
        match once(client, connector, shape, changes).await {
            Err(error) if error.kind() == DbErrorKind::Contention && attempt < ATTEMPTS_MAX => {
                tracing::debug!(%error, attempt, "the transaction is begun again");
                attempt += 1;
            }
            answer => return answer,
        }
    }
}

async fn once(
    client: &mut Client,
    connector: &Connector,
    shape: &Shape,
    changes: &[Change],
) -> Result<Vec<Switched>, DbError> {
    let action = "change paths";
    let mut answers = vec![None; changes.len()];
    let transaction = connector.limited(action, client.transaction()).await?;
    for group in groups(shape, changes)? {
        let work = change_group(&transaction, &group, changes, &mut answers);
        connector.limited(action, work).await?;
        let look = look_at_group(transaction.client(), &group, changes, &mut answers);
        connector.limited(action, look).await?;
    }
    connector
        .limited("commit the changed paths", transaction.commit())
        .await?;
    Ok(known(answers))
}

/// Says what [`switch`] would answer.
pub(super) async fn peek(
    client: &Client,
    connector: &Connector,
    shape: &Shape,
    changes: &[Change],
) -> Result<Vec<Switched>, DbError> {
    let mut answers = vec![None; changes.len()];
    for group in groups(shape, changes)? {
        let look = look_at_group(client, &group, changes, &mut answers);
        connector.limited("read paths", look).await?;
    }
    Ok(known(answers))
}

/// A row that no statement found is gone.
fn known(answers: Vec<Option<Switched>>) -> Vec<Switched> {
    answers
        .into_iter()
        .map(|answer| answer.unwrap_or(Switched::Gone))
        .collect()
}

/// Sorts changes by column, in an order that is the same for every runner.
fn groups<'a>(shape: &Shape, changes: &'a [Change]) -> Result<Vec<Group<'a>>, DbError> {
    let mut groups: BTreeMap<(&str, &str, &str), Vec<usize>> = BTreeMap::new();
    for (place, change) in changes.iter().enumerate() {
        groups
            .entry((&change.table, &change.column, &change.key_column))
            .or_default()
            .push(place);
    }
    let group = |((table, column, key_column), places)| {
        let Some(cast) = key_cast(shape, table, key_column) else {
            let missing = format!("there is no {table}.{key_column}");
            return Err(DbError::new(DbErrorKind::Schema, "change paths", missing));
        };
        Ok(Group {
            table,
            key_column,
            column,
            cast,
            places,
        })
    };
    groups.into_iter().map(group).collect()
}

/// Changes the rows that hold the old path, and notes them.
async fn change_group(
    transaction: &Transaction<'_>,
    group: &Group<'_>,
    changes: &[Change],
    answers: &mut [Option<Switched>],
) -> Result<(), tokio_postgres::Error> {
    let (table, key, column) = group.names();
    let (keys, olds, news) = (
        group.pick(changes, |change| &change.key),
        group.pick(changes, |change| &change.old),
        group.pick(changes, |change| &change.new),
    );
    let update = format!(
        "UPDATE {table} AS t SET {column} = w.new \
         FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS w(key, old, new, n) \
         WHERE t.{key} = w.key::{} AND t.{column}::text = w.old AND w.old <> w.new RETURNING w.n",
        group.cast
    );
    for row in transaction.query(&update, &[&keys, &olds, &news]).await? {
        let n = usize::try_from(row.get::<_, i64>(0)).unwrap_or(0);
        if let Some(place) = n.checked_sub(1).and_then(|n| group.places.get(n)) {
            answers[*place] = Some(Switched::Done);
        }
    }
    Ok(())
}

/// Reads what the rows hold that are not answered for yet.
async fn look_at_group(
    client: &Client,
    group: &Group<'_>,
    changes: &[Change],
    answers: &mut [Option<Switched>],
) -> Result<(), tokio_postgres::Error> {
    let open: Vec<usize> = group
        .places
        .iter()
        .copied()
        .filter(|place| answers[*place].is_none())
        .collect();
    if open.is_empty() {
        return Ok(());
    }
    let (table, key, column) = group.names();
    let keys: Vec<&str> = open
        .iter()
        .map(|place| changes[*place].key.as_str())
        .collect();
    let ask = format!(
        "SELECT {key}::text, coalesce({column}::text, '') FROM {table} WHERE {key} = ANY($1::text[]::{}[])",
        group.cast
    );
    let found = client.query(&ask, &[&keys]).await?;
    let current: HashMap<String, String> =
        found.iter().map(|row| (row.get(0), row.get(1))).collect();
    for place in open {
        let change = &changes[place];
        answers[place] = current.get(&change.key).map(|path| change.compare(path));
    }
    Ok(())
}

impl Group<'_> {
    /// The quoted names of table, key and path.
    fn names(&self) -> (String, String, String) {
        (
            quoted(self.table),
            quoted(self.key_column),
            quoted(self.column),
        )
    }

    /// Collects one field of the group's changes.
    fn pick<'a>(&self, changes: &'a [Change], field: fn(&Change) -> &String) -> Vec<&'a str> {
        self.places
            .iter()
            .map(|place| field(&changes[*place]).as_str())
            .collect()
    }
}
