//! PostgreSQL: pages by keyset, compare-and-set from arrays, an advisory lock for the runner.
//!
//! What must hold: changes go through the session that holds the runner's lock, so a runner whose session is gone cannot
//! change anything; no transaction stays open between calls, so old row versions can be cleaned up while a run goes on; every
//! statement has a time limit on both sides of the connection.
//!
//! It deliberately changes no setting of the server and no column but the path.

mod classify;
mod connect;
mod select;
mod switch;

use super::rows::Shape;
use super::{
    Change, Count, Database, DatabaseOptions, DbError, DbErrorKind, Holder, Info, Page, Row,
    RunnerLock, Switched,
};
use crate::mapping::{CopyColumn, Mapping};
use async_trait::async_trait;
use classify::from_postgres;
use connect::Connector;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};
use tokio_postgres::Client;

/// The name of the runner's advisory lock: "syncline" in hexadecimal.
const LOCK: i64 = 0x7379_6e63_6c69_6e65;

/// How long a new runner waits for the server to notice that the one before it has died.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);

/// A PostgreSQL database.
pub struct Postgres {
    connector: Connector,
    mapping: Mapping,
    shape: Shape,
    info: Info,
    reader: Mutex<Option<Client>>,
    writer: Arc<Mutex<Writer>>,
}

/// The session that changes rows, and whether it has to hold the runner's lock.
#[derive(Default)]
struct Writer {
    client: Option<Client>,
    must_hold_lock: bool,
}

/// Ends the session that holds the lock; the server then lets go of it.
struct SessionLock(Arc<Mutex<Writer>>);

impl Drop for SessionLock {
    fn drop(&mut self) {
        if let Ok(mut writer) = self.0.try_lock() {
            *writer = Writer::default();
        }
    }
}

impl Postgres {
    /// Connects and looks the mapping's tables up.
    ///
    /// # Errors
    /// If the server cannot be reached, does not let us in, or lacks the main table.
    pub async fn open(
        url: &str,
        options: &DatabaseOptions,
        mapping: &Mapping,
    ) -> Result<Postgres, DbError> {
        let connector = Connector::new(url, options)?;
        let client = connector.connect().await?;
        let mut info = select::info(&client, &connector).await?;
        let shape = select::shape(&client, &connector, mapping).await?;
        shape.check(mapping, &mut info)?;
        Ok(Postgres {
            connector,
            mapping: mapping.clone(),
            shape,
            info,
            reader: Mutex::new(Some(client)),
            writer: Arc::new(Mutex::new(Writer::default())),
        })
    }

    /// Returns the session for reading, a new one if the old one is gone.
    async fn reader(&self) -> Result<MutexGuard<'_, Option<Client>>, DbError> {
        let mut reader = self.reader.lock().await;
        if reader.as_ref().is_none_or(Client::is_closed) {
            *reader = Some(self.connector.connect().await?);
        }
        Ok(reader)
    }

    /// Runs a query on the session for reading. The session is given up if there is no answer.
    async fn query(
        &self,
        action: &str,
        sql: &str,
        parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<Vec<tokio_postgres::Row>, DbError> {
        let mut reader = self.reader().await?;
        let Some(client) = reader.as_ref() else {
            return Err(DbError::new(DbErrorKind::Connection, action, ""));
        };
        let answer = self
            .connector
            .limited(action, client.query(sql, parameters))
            .await;
        if answer
            .as_ref()
            .is_err_and(|error| error.kind() == DbErrorKind::Timeout)
        {
            *reader = None;
        }
        answer
    }

    /// Makes sure that there is a session for changes, with the lock if this runner has been given it.
    async fn prepare_writer(&self, writer: &mut Writer) -> Result<(), DbError> {
        if writer
            .client
            .as_ref()
            .is_some_and(|client| !client.is_closed())
        {
            return Ok(());
        }
        let client = self.connector.connect().await?;
        if writer.must_hold_lock {
            self.take_lock(&client).await?;
        }
        writer.client = Some(client);
        Ok(())
    }

    /// Takes the advisory lock, waiting a moment for the session of a dead runner to end.
    async fn take_lock(&self, client: &Client) -> Result<(), DbError> {
        let action = "take the lock of the migration";
        let started = std::time::Instant::now();
        loop {
            let taken = client.query_one("SELECT pg_try_advisory_lock($1)", &[&LOCK]);
            let row = self.connector.limited(action, taken).await?;
            if row.get::<_, bool>(0) {
                return Ok(());
            }
            if started.elapsed() > LOCK_PATIENCE {
                let holder = self.holder_of_lock(client).await;
                return Err(DbError::new(DbErrorKind::Locked, action, holder));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Says who holds the lock, as far as the server tells.
    async fn holder_of_lock(&self, client: &Client) -> String {
        let asked = client.query_opt(select::LOCK_HOLDER, &[&LOCK]);
        match self.connector.limited("find the holder", asked).await {
            Ok(Some(row)) => row.get::<_, String>(0),
            // Naming the holder is a courtesy: the refusal stands without it.
            _ => "the server does not say by whom".to_owned(),
        }
    }
}

#[async_trait]
impl Database for Postgres {
    fn info(&self) -> &Info {
        &self.info
    }

    async fn lock(&self) -> Result<RunnerLock, DbError> {
        let mut writer = self.writer.lock().await;
        if writer.must_hold_lock {
            return Err(DbError::new(
                DbErrorKind::Locked,
                "take the lock of the migration",
                "this very process holds it",
            ));
        }
        self.prepare_writer(&mut writer).await?;
        if let Some(client) = &writer.client {
            self.take_lock(client).await?;
        }
        writer.must_hold_lock = true;
        Ok(RunnerLock::new(SessionLock(Arc::clone(&self.writer))))
    }

    async fn page(&self, page: &Page<'_>) -> Result<Vec<Row>, DbError> {
        let Some(query) = select::page(&self.shape, &self.mapping, page) else {
            return Ok(Vec::new());
        };
        let action = format!("read a page of {}", page.table.table);
        let rows = self.query(&action, &query.sql, &query.parameters()).await?;
        rows.iter()
            .map(|row| select::row(row).map_err(|error| from_postgres(&action, error)))
            .collect()
    }

    async fn switch(&self, changes: &[Change]) -> Result<Vec<Switched>, DbError> {
        let mut writer = self.writer.lock().await;
        self.prepare_writer(&mut writer).await?;
        let Some(client) = writer.client.as_mut() else {
            return Err(DbError::new(DbErrorKind::Connection, "change paths", ""));
        };
        let answer = switch::switch(client, &self.connector, &self.shape, changes).await;
        let lost = |error: &DbError| {
            matches!(error.kind(), DbErrorKind::Timeout | DbErrorKind::Connection)
        };
        if answer.as_ref().is_err_and(lost) {
            // Whatever the session still does, it cannot commit once it is closed.
            writer.client = None;
        }
        answer
    }

    async fn peek(&self, changes: &[Change]) -> Result<Vec<Switched>, DbError> {
        let mut reader = self.reader().await?;
        let Some(client) = reader.as_mut() else {
            return Err(DbError::new(DbErrorKind::Connection, "read paths", ""));
        };
        switch::peek(client, &self.connector, &self.shape, changes).await
    }

    async fn holders(
        &self,
        columns: &[CopyColumn],
        paths: &[String],
    ) -> Result<Vec<Holder>, DbError> {
        let mut holders = Vec::new();
        for column in columns {
            let Some(sql) = select::holders(&self.shape, column) else {
                continue;
            };
            let action = format!("look paths up in {}", column.table);
            for row in self.query(&action, &sql, &[&paths]).await? {
                holders.push(Holder {
                    table: column.table.clone(),
                    key_column: column.key.clone(),
                    key: row.get(0),
                    column: column.path.clone(),
                    path: row.get(1),
                });
            }
        }
        Ok(holders)
    }

    async fn counts(&self) -> Result<Vec<Count>, DbError> {
        let mut counts = Vec::new();
        for column in self.mapping.path_columns() {
            let Some(sql) = select::counts(&self.shape, &self.mapping, &column) else {
                continue;
            };
            let action = format!("count the rows of {}", column.table);
            let prefix = &self.mapping.stored.prefix;
            for row in self.query(&action, &sql, &[prefix]).await? {
                let number = |index| u64::try_from(row.get::<_, i64>(index)).unwrap_or(0);
                counts.push(Count {
                    table: column.table.clone(),
                    column: column.path.clone(),
                    local: number(0),
                    stored: number(1),
                    empty: number(2),
                    local_bytes: number(3),
                });
            }
        }
        Ok(counts)
    }
}
