//! The tables of `hx.db` and how the file is opened.
//!
//! What must hold: a database of a newer version is never written; a file that is no database is named and left alone; journal
//! files are used in a way that the file system supports.
//!
//! What it deliberately does not do: no queries beyond set-up.
//!
//! One table, `records`, holds everything that syncs, numbered in the order of its arrival here (`seq`). `commands` and `strings`
//! hold each text once. `search` is a full-text index without content whose row number is `commands.rank`, which grows with the
//! time of a command's newest use: reading matches by descending row number yields the newest first without sorting.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::error::{HistoryError, HistoryErrorKind};
use super::rows;

/// The version of the tables, kept in the file's header.
pub(crate) const VERSION: i64 = 1;

/// How long a writer waits for another: a large import takes seconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

const TABLES: &str = "
CREATE TABLE commands(id INTEGER PRIMARY KEY, text TEXT NOT NULL, hash INTEGER NOT NULL, rank INTEGER, uses INTEGER NOT NULL);
CREATE TABLE strings(id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE records(seq INTEGER PRIMARY KEY AUTOINCREMENT, rid BLOB NOT NULL, kind INTEGER NOT NULL, src INTEGER, command INTEGER,
  time INTEGER NOT NULL, time_known INTEGER NOT NULL, duration INTEGER, exit INTEGER, cwd INTEGER, host INTEGER, shell INTEGER,
  session INTEGER, actor INTEGER, body BLOB);
CREATE TABLE erased(seq INTEGER PRIMARY KEY);
CREATE TABLE erased_settled(vault INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY(vault, seq)) WITHOUT ROWID;
CREATE TABLE state(key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE vaults(alias INTEGER PRIMARY KEY, vault TEXT NOT NULL UNIQUE);
CREATE TABLE pins(event BLOB PRIMARY KEY, clock INTEGER NOT NULL, pinned INTEGER NOT NULL, rid BLOB NOT NULL) WITHOUT ROWID;
CREATE VIRTUAL TABLE search USING fts5(text, content='', contentless_delete=1, tokenize='unicode61 remove_diacritics 2');
";

/// What the names of two files end in that stand for SQLite's journal and its index.
const JOURNALS: [&str; 2] = ["-room-1", "-room-2"];

/// The indexes. A first import drops them and makes them anew at its end, which takes a fraction of the time.
const INDEXES: &[(&str, &str)] = &[
    (
        "records_rid",
        "CREATE UNIQUE INDEX IF NOT EXISTS records_rid ON records(rid)",
    ),
    (
        "records_command",
        "CREATE INDEX IF NOT EXISTS records_command ON records(command, time) WHERE kind = 1",
    ),
    (
        "records_failed",
        "CREATE INDEX IF NOT EXISTS records_failed ON records(command, time) WHERE kind = 1 AND exit <> 0",
    ),
    (
        "records_time",
        "CREATE INDEX IF NOT EXISTS records_time ON records(time) WHERE kind = 1",
    ),
    (
        "records_other",
        "CREATE INDEX IF NOT EXISTS records_other ON records(kind) WHERE kind <> 1",
    ),
    (
        "commands_hash",
        "CREATE INDEX IF NOT EXISTS commands_hash ON commands(hash)",
    ),
    (
        "commands_rank",
        "CREATE UNIQUE INDEX IF NOT EXISTS commands_rank ON commands(rank)",
    ),
];

/// Drops the indexes.
pub(crate) fn drop_indexes(connection: &Connection) -> rusqlite::Result<()> {
    INDEXES
        .iter()
        .try_for_each(|(name, _)| connection.execute_batch(&format!("DROP INDEX IF EXISTS {name}")))
}

/// Makes the indexes that are not there.
pub(crate) fn create_indexes(connection: &Connection) -> rusqlite::Result<()> {
    INDEXES
        .iter()
        .try_for_each(|(_, sql)| connection.execute_batch(sql))
}

/// Opens or creates the database for writing.
pub(crate) fn open(path: &Path) -> Result<Connection, HistoryError> {
    create_private(path)?;
    open_existing(path).map_err(|error| match error.kind() {
        HistoryErrorKind::Permission => no_room(path).unwrap_or(error),
        _ => error,
    })
}

/// Why no file can be made beside the database, if that is for want of room: SQLite says only that it cannot open its journal.
fn no_room(path: &Path) -> Option<HistoryError> {
    let names = JOURNALS.map(|end| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    });
    let made = names.each_ref().map(|name| {
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).open(name)
    });
    let failed = names.iter().zip(made).filter_map(|(name, made)| {
        let error = made.map(|_| std::fs::remove_file(name)).err()?;
        Some(HistoryError::io("create", name, error))
    });
    failed
        .filter(|error| error.kind() == HistoryErrorKind::DiskFull)
        .last()
}

fn open_existing(path: &Path) -> Result<Connection, HistoryError> {
    refuse_stump(path)?;
    let mut connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    check_version(&connection)?;
    set_up(&connection, path)?;
    migrate(&mut connection)?;
    Ok(connection)
}

/// Refuses what is left of a database that was cut within its first page: SQLite takes it for one with nothing in it.
fn refuse_stump(path: &Path) -> Result<(), HistoryError> {
    let smallest_page = 512;
    match std::fs::metadata(path) {
        Ok(found) if (1..smallest_page).contains(&found.len()) => Err(rows::damaged(&format!(
            "{} has only {} bytes: it was cut off",
            path.display(),
            found.len()
        ))),
        _ => Ok(()),
    }
}

/// Makes a database that is gone once it is closed: in memory (`:memory:`) or in a file without a name (nothing).
pub(crate) fn open_without_file(name: &str) -> Result<Connection, HistoryError> {
    let mut connection = Connection::open(name)?;
    connection.set_prepared_statement_cache_capacity(64);
    migrate(&mut connection)?;
    Ok(connection)
}

/// Opens an existing database for reading, doing as little as possible: this is on the way of every search.
pub(crate) fn open_read_only(path: &Path) -> Result<Connection, HistoryError> {
    refuse_stump(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)
        .map_err(|error| missing(path).unwrap_or_else(|| error.into()))?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    match check_version(&connection) {
        Ok(VERSION) => Ok(connection),
        Ok(_) => Err(HistoryError::new(
            HistoryErrorKind::NotFound,
            "",
            "it has no history yet",
        )),
        // A journal beside the file cannot be opened in a directory where we may not write. Nobody else writes there either.
        Err(error) if error.kind() == HistoryErrorKind::Permission => open_immutable(path, error),
        // Nor on a full disk, as which SQLite does not name all failures: the memory that processes share is a file too.
        Err(error)
            if matches!(
                error.kind(),
                HistoryErrorKind::DiskFull | HistoryErrorKind::Other
            ) =>
        {
            drop(connection);
            open_alone(path).or(Err(error))
        }
        Err(error) => Err(error),
    }
}

/// Puts temporary tables in the place of those that hold state: a name finds the temporary one first.
pub(crate) fn shadow_state(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "PRAGMA temp_store = MEMORY;
         CREATE TEMP TABLE state(key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
         INSERT INTO temp.state SELECT key, value FROM main.state;
         CREATE TEMP TABLE vaults(alias INTEGER PRIMARY KEY, vault TEXT NOT NULL UNIQUE);
         INSERT INTO temp.vaults SELECT alias, vault FROM main.vaults;",
    )
}

/// Opens the database for reading with the index of its journal in our own memory; nobody else can use it meanwhile.
fn open_alone(path: &Path) -> Result<Connection, HistoryError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.query_row("PRAGMA locking_mode = EXCLUSIVE", [], |_| Ok(()))?;
    connection.execute_batch("PRAGMA query_only = ON; PRAGMA temp_store = MEMORY;")?;
    check_version(&connection)?;
    Ok(connection)
}

fn open_immutable(path: &Path, first: HistoryError) -> Result<Connection, HistoryError> {
    let escaped = path
        .to_string_lossy()
        .replace('%', "%25")
        .replace('?', "%3f")
        .replace('#', "%23");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let opened = Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags);
    match opened {
        Ok(connection) if matches!(check_version(&connection), Ok(VERSION)) => Ok(connection),
        _ => Err(first),
    }
}

fn missing(path: &Path) -> Option<HistoryError> {
    let error = std::fs::metadata(path).err()?;
    (error.kind() == std::io::ErrorKind::NotFound).then(|| HistoryError::io("open", path, error))
}

/// Makes the directory and the file so that only their owner can read them; SQLite gives its journals the same mode.
fn create_private(path: &Path) -> Result<(), HistoryError> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        let made = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent);
        made.map_err(|error| HistoryError::io("create the directory", parent, error))?;
    }
    let opened = std::fs::OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path);
    opened
        .map(drop)
        .map_err(|error| HistoryError::io("open", path, error))
}

/// The version of the tables: 0 for a new file.
fn check_version(connection: &Connection) -> Result<i64, HistoryError> {
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version <= VERSION {
        return Ok(version);
    }
    let cause = format!(
        "it was written by a newer hx (version {version} of its tables; this hx knows {VERSION})"
    );
    Err(HistoryError::new(HistoryErrorKind::NewerVersion, "", cause))
}

fn set_up(connection: &Connection, path: &Path) -> Result<(), HistoryError> {
    let journal = if shared_memory_works(path) {
        "WAL"
    } else {
        "TRUNCATE"
    };
    // A database on a file system that cannot do it stays as it is; both modes are safe.
    connection.query_row(&format!("PRAGMA journal_mode = {journal}"), [], |_| Ok(()))?;
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA cache_size = -32000; PRAGMA temp_store = FILE;",
    )?;
    connection.query_row("PRAGMA secure_delete = ON", [], |_| Ok(()))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

fn migrate(connection: &mut Connection) -> Result<(), HistoryError> {
    if check_version(connection)? == VERSION {
        // An index more does not change what the tables mean, so databases from before it have the same version.
        return Ok(create_indexes(connection)?);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have done it while this one waited.
    if check_version(&transaction)? == 0 {
        let foreign: i64 =
            transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if foreign > 0 {
            return Err(HistoryError::new(
                HistoryErrorKind::Broken,
                "",
                "it is the database of another program",
            )
            .with_remedy("Move that file away, or choose another data directory."));
        }
        transaction.execute_batch(TABLES)?;
        create_indexes(&transaction)?;
        transaction.execute_batch(&format!("PRAGMA user_version = {VERSION}"))?;
    }
    Ok(transaction.commit()?)
}

/// Whether the file system lets processes share memory through a file, which a write-ahead log needs. Network ones do not.
#[cfg(target_os = "linux")]
fn shared_memory_works(path: &Path) -> bool {
    const WITHOUT: &[u32] = &[
        0x6969,      // NFS
        0x517b,      // SMB
        0xff53_4d42, // CIFS
        0xfe53_4d42, // SMB 2
        0x0bd0_0bd0, // Lustre
        0x4750_4653, // GPFS
        0x00c3_6400, // Ceph
        0x0102_1997, // 9P
        0x5346_414f, // AFS
        0x6b41_4653, // kAFS
        0x7375_7245, // Coda
        0x6573_5546, // FUSE: sshfs and the like
        0x1983_0326, // BeeGFS
        0x2003_0528, // OrangeFS
        0x786f_4256, // VirtualBox shared folders
        0x0116_1970, // GFS2
        0x7461_636f, // OCFS2
    ];
    // An answer we do not get is no reason to go without.
    rustix::fs::statfs(path).map_or(true, |stat| !WITHOUT.contains(&(stat.f_type as u32)))
}

#[cfg(not(target_os = "linux"))]
fn shared_memory_works(_path: &Path) -> bool {
    true
}
