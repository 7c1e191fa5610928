//! The one table of settings: name, key, type, default, meaning.
//!
//! What must hold: every `HX_*` variable the program reads is here and has an effect; the sentences are what the book's
//! settings chapter shows.
//!
//! It deliberately leaves out the `AWS_*` and proxy variables: they are not ours, and the store reads them.

use std::time::Duration;

use console::spec::{Kind, Spec};

/// A day in seconds, for the upper ends of durations.
const DAY_S: u64 = 86_400;

/// A shorter limit would fail on the way to a server next door.
const TIMEOUT_MIN: Duration = Duration::from_millis(10);

/// Every setting of `hx`.
pub static SETTINGS: &[Spec] = &[
    Spec {
        env: "HX_SYNC_STORE",
        key: Some("sync.store"),
        kind: Kind::Text,
        default: None,
        secret: false,
        doc: "Where the vault is: folder:/path or s3://bucket/prefix?region=…. `hx sync init` writes it; keys given in it go to a private file instead.",
    },
    duration(
        "HX_SYNC_TIMEOUT",
        "sync.timeout",
        3600,
        "30s",
        "How long a request may wait for its answer to begin. A large upload gets more, by its size.",
    ),
    duration(
        "HX_SYNC_CONNECT_TIMEOUT",
        "sync.connect_timeout",
        3600,
        "10s",
        "How long setting up a connection may take, TLS included.",
    ),
    duration(
        "HX_SYNC_READ_TIMEOUT",
        "sync.read_timeout",
        3600,
        "30s",
        "How long an answer that has begun may stall.",
    ),
    duration(
        "HX_SYNC_TOTAL_TIMEOUT",
        "sync.total_timeout",
        DAY_S,
        "300s",
        "How long one operation on the store may take in all, its retries included.",
    ),
    integer(
        "HX_SYNC_MAX_RETRIES",
        "sync.max_retries",
        (0, 100),
        "5",
        "How often a request is sent again after a failure that may pass, such as throttling. Refused credentials and permissions are never tried again.",
    ),
    integer(
        "HX_SYNC_CONCURRENT_UPLOADS",
        "sync.concurrent_uploads",
        (1, 64),
        "4",
        "How many objects are written at once.",
    ),
    integer(
        "HX_SYNC_CONCURRENT_DOWNLOADS",
        "sync.concurrent_downloads",
        (1, 64),
        "8",
        "How many objects are read at once.",
    ),
    integer(
        "HX_SYNC_MAX_CONNECTIONS",
        "sync.max_connections",
        (1, 256),
        "16",
        "How many requests may be under way at once, of whatever kind.",
    ),
    size(
        "HX_SYNC_CHUNK_SIZE",
        "sync.chunk_size",
        (64_000, 1_000_000_000),
        "8MB",
        "How many bytes of records, before compression, go into one object.",
    ),
    size(
        "HX_SYNC_MAX_MEMORY_USAGE",
        "sync.max_memory_usage",
        (1_000_000, 1_000_000_000_000),
        "256MB",
        "How much memory objects on their way may take together. Fewer are moved at once if they do not fit; one always is.",
    ),
    boolean(
        "HX_SYNC_STREAMING",
        "sync.streaming",
        "false",
        "Keep one object in memory at a time, whatever the concurrency.",
    ),
    boolean(
        "HX_SYNC_COMPRESSION",
        "sync.compression",
        "true",
        "Compress before encrypting.",
    ),
    integer(
        "HX_SYNC_COMPRESSION_LEVEL",
        "sync.compression_level",
        (1, 19),
        "3",
        "How hard to compress: 1 is fastest, 19 is smallest.",
    ),
    integer(
        "HX_SYNC_BATCH_SIZE",
        "sync.batch_size",
        (1, 1_000_000),
        "5000",
        "How many records are read from or written to the local database at a time.",
    ),
    duration_from(
        "HX_SYNC_MANIFEST_CACHE_TTL",
        "sync.manifest_cache_ttl",
        (Duration::ZERO, Duration::from_secs(30 * DAY_S)),
        "5m",
        "How long status and background work trust the manifests they have. An explicit pull always asks the store.",
    ),
    Spec {
        env: "HX_SYNC_PASSPHRASE",
        key: None,
        kind: Kind::Text,
        default: None,
        secret: true,
        doc: "The passphrase of the vault, for scripts. Only `hx sync init` and `hx sync key` need it; later commands use the key that `init` stored.",
    },
    Spec {
        env: "HX_SYNC_PASSPHRASE_FILE",
        key: Some("sync.passphrase_file"),
        kind: Kind::Path,
        default: None,
        secret: false,
        doc: "A file whose first line is the passphrase, without blanks at its end. It wins over HX_SYNC_PASSPHRASE.",
    },
    Spec {
        env: "HX_LOG_LEVEL",
        key: Some("log_level"),
        kind: Kind::Choice(&["off", "error", "warn", "info", "debug", "trace"]),
        default: Some("warn"),
        secret: false,
        doc: "How much is logged to stderr. RUST_LOG, if set, wins and can name single modules.",
    },
    Spec {
        env: "HX_PROFILE",
        key: Some("profile"),
        kind: Kind::Choice(&["off", "cpu"]),
        default: Some("off"),
        secret: false,
        doc: "`cpu` writes a flame graph of the command as an SVG file and says where.",
    },
    Spec {
        env: "HX_HOST",
        key: Some("host"),
        kind: Kind::Text,
        default: None,
        secret: false,
        doc: "The host name for imported commands, if the machine's own name is not the right one.",
    },
    environment_only(
        "HX_CONFIG",
        Kind::Path,
        "The configuration file, if not `config.yaml` in `$XDG_CONFIG_HOME/hx`.",
    ),
    environment_only(
        "HX_DATA_DIR",
        Kind::Path,
        "The data directory, if not `$XDG_DATA_HOME/hx`.",
    ),
    environment_only(
        "NO_COLOR",
        Kind::Text,
        "If set to anything, no colour is used.",
    ),
];

const fn duration(
    env: &'static str,
    key: &'static str,
    max_s: u64,
    default: &'static str,
    doc: &'static str,
) -> Spec {
    duration_from(
        env,
        key,
        (TIMEOUT_MIN, Duration::from_secs(max_s)),
        default,
        doc,
    )
}

const fn duration_from(
    env: &'static str,
    key: &'static str,
    bounds: (Duration, Duration),
    default: &'static str,
    doc: &'static str,
) -> Spec {
    with_default(
        env,
        key,
        Kind::Duration {
            min: bounds.0,
            max: bounds.1,
        },
        default,
        doc,
    )
}

const fn integer(
    env: &'static str,
    key: &'static str,
    bounds: (u64, u64),
    default: &'static str,
    doc: &'static str,
) -> Spec {
    with_default(
        env,
        key,
        Kind::Integer {
            min: bounds.0,
            max: bounds.1,
        },
        default,
        doc,
    )
}

const fn size(
    env: &'static str,
    key: &'static str,
    bounds: (u64, u64),
    default: &'static str,
    doc: &'static str,
) -> Spec {
    with_default(
        env,
        key,
        Kind::Size {
            min: bounds.0,
            max: bounds.1,
        },
        default,
        doc,
    )
}

const fn boolean(
    env: &'static str,
    key: &'static str,
    default: &'static str,
    doc: &'static str,
) -> Spec {
    with_default(env, key, Kind::Bool, default, doc)
}

const fn with_default(
    env: &'static str,
    key: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Spec {
    Spec {
        env,
        key: Some(key),
        kind,
        default: Some(default),
        secret: false,
        doc,
    }
}

const fn environment_only(env: &'static str, kind: Kind, doc: &'static str) -> Spec {
    Spec {
        env,
        key: None,
        kind,
        default: None,
        secret: false,
        doc,
    }
}
