//! How a session with PostgreSQL is begun, and how long anything in it may take.
//!
//! What must hold: every session has the time limits; a password never reaches an error or a log.
//!
//! It deliberately keeps no pool: one session reads, one changes.

use super::classify::from_postgres;
use crate::db::tls::{Mode, Tls};
use crate::db::{DatabaseOptions, DbError, DbErrorKind};
use std::future::Future;
use std::time::Duration;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config};

/// How much longer than the server this side waits: the server's own answer says more.
const GRACE: Duration = Duration::from_secs(2);

/// Opens sessions.
pub(super) struct Connector {
    config: Config,
    tls: Tls,
    timeout: Duration,
}

impl Connector {
    /// Reads the URL.
    pub(super) fn new(url: &str, options: &DatabaseOptions) -> Result<Connector, DbError> {
        let (url, tls) = Tls::from_url(url)?;
        let mut config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
            DbError::new(DbErrorKind::Unsupported, "read the database URL", "").with_source(error)
        })?;
        config.ssl_mode(match tls.mode() {
            Mode::Disable => SslMode::Disable,
            Mode::Prefer => SslMode::Prefer,
            _ => SslMode::Require,
        });
        config.application_name(&options.runner);
        config.connect_timeout(options.timeout);
        config.tcp_user_timeout(options.timeout);
        config.keepalives_idle(Duration::from_secs(30));
        Ok(Connector {
            config,
            tls,
            timeout: options.timeout,
        })
    }

    /// Begins a session.
    pub(super) async fn connect(&self) -> Result<Client, DbError> {
        let action = "connect to the database";
        let place = self.place();
        let attempt = async {
            let (client, connection) = self
                .config
                .connect(self.tls.connector()?)
                .await
                .map_err(|error| describe(from_postgres(action, error), &place))?;
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    // Whoever uses the session next gets an error of its own.
                    tracing::debug!(%error, "the database session ended");
                }
            });
            Ok(client)
        };
        let client = match tokio::time::timeout(self.timeout, attempt).await {
            Ok(client) => client?,
            Err(_) => return Err(DbError::new(DbErrorKind::Timeout, action, place)),
        };
        let millis = self.timeout.as_millis();
        let settings = format!(
            "SET statement_timeout = {millis}; SET idle_in_transaction_session_timeout = {millis}; \
             SET standard_conforming_strings = on; \
             SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'; \
             SELECT set_config('idle_session_timeout', '0', false) WHERE current_setting('idle_session_timeout', true) <> '0'"
        );
        self.limited(action, client.batch_execute(&settings))
            .await?;
        Ok(client)
    }

    /// Waits for an answer, but not for ever.
    pub(super) async fn limited<T>(
        &self,
        action: &str,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, DbError> {
        match tokio::time::timeout(self.timeout + GRACE, answer).await {
            Ok(answer) => answer.map_err(|error| from_postgres(action, error)),
            Err(_) => Err(DbError::new(DbErrorKind::Timeout, action, self.place())),
        }
    }

    /// Says where the database is, without secrets.
    pub(super) fn place(&self) -> String {
        let user = self.config.get_user();
        let user = user.map(|name| format!("{name}@")).unwrap_or_default();
        format!("postgres://{user}{}", self.address())
    }

    /// Says where the database is, without the user.
    pub(super) fn address(&self) -> String {
        let hosts: Vec<String> = self.config.get_hosts().iter().map(host_name).collect();
        let ports: Vec<String> = self.config.get_ports().iter().map(u16::to_string).collect();
        format!(
            "{}:{}/{}",
            hosts.join(","),
            if ports.is_empty() {
                "5432".to_owned()
            } else {
                ports.join(",")
            },
            self.config.get_dbname().unwrap_or_default()
        )
    }
}

fn describe(error: DbError, place: &str) -> DbError {
    error.with_detail(place)
}

fn host_name(host: &Host) -> String {
    match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.display().to_string(),
    }
}
