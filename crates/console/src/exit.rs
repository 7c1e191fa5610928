//! The exit codes: one table for all tools.
//!
//! What must hold: a code never changes its meaning between releases, and the table in the help text, in the book and
//! in the program is this one.
//!
//! It deliberately does not know why a command failed; [`crate::Failure`] picks the code.

use std::process::ExitCode;

/// Says how a command ended, in the words a script can test for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Exit {
    /// The command did what it was asked.
    Ok = 0,
    /// It failed for a reason that has no code of its own, or a search matched nothing.
    Failed = 1,
    /// The command line was wrong.
    Usage = 2,
    /// Some of the work was done; what was not is named.
    Partial = 3,
    /// A setting or the configuration file is wrong.
    Config = 4,
    /// There is no store, bucket or vault where one was expected.
    NoStore = 10,
    /// Another process holds the lock.
    Locked = 11,
    /// The passphrase or key does not open this vault.
    WrongKey = 12,
    /// Credentials are missing or wrong, or permission was refused.
    Denied = 13,
    /// The network failed: connection, name, TLS, timeout or throttling.
    Network = 14,
    /// The store and this device disagree, for example on a sequence number.
    Conflict = 15,
    /// An object is corrupt, archived or missing.
    Corrupt = 16,
    /// A disk or quota is full.
    DiskFull = 17,
    /// The clocks of this machine and the store are too far apart.
    ClockSkew = 18,
    /// The program is wrong: it came to a place that it must not come to.
    Internal = 70,
    /// The person interrupted it.
    Interrupted = 130,
}

impl Exit {
    /// Every code, in order.
    pub const ALL: [Exit; 16] = [
        Exit::Ok,
        Exit::Failed,
        Exit::Usage,
        Exit::Partial,
        Exit::Config,
        Exit::NoStore,
        Exit::Locked,
        Exit::WrongKey,
        Exit::Denied,
        Exit::Network,
        Exit::Conflict,
        Exit::Corrupt,
        Exit::DiskFull,
        Exit::ClockSkew,
        Exit::Internal,
        Exit::Interrupted,
    ];

    /// Returns the number the process ends with.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Returns the kind of failure in a word, for scripts, where none more exact is known.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Exit::Ok => "none",
            Exit::Failed => "failed",
            Exit::Usage => "usage",
            Exit::Partial => "partial",
            Exit::Config => "config",
            Exit::NoStore => "no-store",
            Exit::Locked => "locked",
            Exit::WrongKey => "wrong-key",
            Exit::Denied => "permission",
            Exit::Network => "connection",
            Exit::Conflict => "conflict",
            Exit::Corrupt => "corrupt",
            Exit::DiskFull => "disk-full",
            Exit::ClockSkew => "clock-skew",
            Exit::Internal => "internal",
            Exit::Interrupted => "interrupted",
        }
    }

    /// Returns the meaning in a few words, for help texts and the book.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Exit::Ok => "done",
            Exit::Failed => "failed, or nothing matched",
            Exit::Usage => "the command line is wrong",
            Exit::Partial => "done in part; what was left is named",
            Exit::Config => "a setting or the configuration file is wrong",
            Exit::NoStore => "no store, bucket or vault there",
            Exit::Locked => "another process holds the lock",
            Exit::WrongKey => "the passphrase or key does not open the vault",
            Exit::Denied => "credentials missing or wrong, or permission refused",
            Exit::Network => "network: connection, name, TLS, timeout, throttling",
            Exit::Conflict => "the store and this device disagree",
            Exit::Corrupt => "an object is corrupt, archived or missing",
            Exit::DiskFull => "disk or quota full",
            Exit::ClockSkew => "the clock is too far off",
            Exit::Internal => "a fault of the program itself; please report it",
            Exit::Interrupted => "interrupted",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

/// Renders the table for `--help`, one code a line.
#[must_use]
pub fn help_table() -> String {
    let mut text = String::from("Exit codes:\n");
    for exit in Exit::ALL {
        text.push_str(&format!("  {:>3}  {}\n", exit.code(), exit.meaning()));
    }
    text
}

/// Picks the code for a kind of store failure.
#[must_use]
pub fn of_store(kind: store::ErrorKind) -> Exit {
    use store::ErrorKind as Kind;
    match kind {
        Kind::Credentials | Kind::Permission => Exit::Denied,
        Kind::Connection | Kind::Dns | Kind::Tls | Kind::Timeout | Kind::Throttled => Exit::Network,
        Kind::NoBucket => Exit::NoStore,
        // The bucket is there, but under another address than the one configured.
        Kind::WrongRegion => Exit::Config,
        Kind::NotFound | Kind::Archived | Kind::Corrupt => Exit::Corrupt,
        Kind::Precondition => Exit::Conflict,
        Kind::ClockSkew => Exit::ClockSkew,
        Kind::QuotaOrDiskFull => Exit::DiskFull,
        Kind::Unsupported | Kind::Other => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_what_the_book_promises() {
        let codes: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        assert_eq!(
            codes,
            [0, 1, 2, 3, 4, 10, 11, 12, 13, 14, 15, 16, 17, 18, 70, 130]
        );
        let help = help_table();
        for exit in Exit::ALL {
            assert!(
                help.contains(&format!("{:>3}  {}", exit.code(), exit.meaning())),
                "{exit:?} is missing"
            );
        }
    }

    #[test]
    fn store_failures_have_their_codes() {
        use store::ErrorKind as Kind;
        for (kind, code) in [
            (Kind::Credentials, 13),
            (Kind::Permission, 13),
            (Kind::Connection, 14),
            (Kind::Dns, 14),
            (Kind::Tls, 14),
            (Kind::Timeout, 14),
            (Kind::Throttled, 14),
            (Kind::NoBucket, 10),
            (Kind::WrongRegion, 4),
            (Kind::NotFound, 16),
            (Kind::Archived, 16),
            (Kind::Corrupt, 16),
            (Kind::Precondition, 15),
            (Kind::ClockSkew, 18),
            (Kind::QuotaOrDiskFull, 17),
            (Kind::Unsupported, 1),
            (Kind::Other, 1),
        ] {
            assert_eq!(of_store(kind).code(), code, "{kind:?}");
        }
    }
}
