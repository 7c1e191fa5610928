//! What the engine is given: both ends of the way, the plan over the rows, the ledger over the database.
//!
//! What must hold: a copy of the journal goes where the objects are, so that a rollback works with this machine gone; every
//! direction runs through the same engine, plan and ledger.
//!
//! What it deliberately does not do: run anything.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use console::{Exit, Failure, FailureExt};
use futures::TryStreamExt;
use futures::stream::BoxStream;
use store::{Store, StoreKind, StoreUrl};
use transfer::{
    EngineParts, Exception, Files, Item, Journal, KeySet, Limits, Mirror, Objects, Observer,
    Places, PlanError, Proof, Retry, Source, State, Steps, StopSignal,
};

use super::failures::{database_failure, journal_failure, run_failure};
use super::kindred;
use super::owning::Doubt;
use super::session::{MIRROR, Session};
use crate::cli::args::{DirectionArg, ProofArg, SymlinksArg};
use crate::ledger::DbLedger;
use crate::listing::Listing;
use crate::plan::{Direction, Notes, PlanOptions, Planner};
use crate::reconcile::{Balance, ReconcileError, ReconcileOptions, reconcile};
use crate::resolve::{PathMap, Paths, Symlinks};
use crate::settings::Settings;
use crate::state::Parameters;

/// Names the step at which a test ends the process, counted from 1; it does nothing in release builds.
const CRASH_AT: &str = "MIGRATE_CRASH_AT";

/// Bytes of files in memory at once. What the HTTP client and the allocator hold on top is about as much again, and the whole process is
/// to stay below 128 MB.
const MEMORY: u64 = 40 << 20;

/// Both ends of the way, and what lies between.
pub struct Ends {
    /// Where files come from.
    pub source: Arc<dyn Source>,
    /// Where they go.
    pub target: Store,
    /// The bucket that files come from.
    pub bucket: Option<Store>,
    /// The store that keeps the copy of the journal.
    pub mirror: Store,
    /// How local paths are looked up.
    pub paths: Arc<Paths>,
    /// What is to be moved.
    pub planner: Planner,
}

impl Ends {
    /// Opens both ends.
    ///
    /// # Errors
    /// If one of them cannot be opened.
    pub async fn open(session: &Session) -> Result<Self, Failure> {
        let target = open_target(session).await?;
        let paths = Arc::new(paths(session)?);
        let direction = direction(session.settings.direction);
        let bucket = match direction {
            Direction::LocalToS3 => None,
            Direction::S3ToLocal | Direction::S3ToS3 => Some(session.bucket().await?),
        };
        let source: Arc<dyn Source> = match &bucket {
            None => Arc::new(Files::within(places(&paths))),
            Some(bucket) => Arc::new(Objects::new(bucket.clone())),
        };
        let mirror = match (direction, &bucket) {
            (Direction::S3ToLocal, Some(bucket)) => bucket.clone(),
            _ => target.clone(),
        };
        let objects = match &bucket {
            None => None,
            Some(bucket) => Some(Arc::new(Listing::read(bucket, &[]).await?)),
        };
        let options = PlanOptions {
            direction,
            user: session.line.run.user_id.clone(),
            any_content: false,
            storage_class: session.settings.limits.storage_class.clone(),
            objects,
        };
        let planner = planner(session, &paths, options);
        Ok(Self {
            source,
            target,
            bucket,
            mirror,
            paths,
            planner,
        })
    }

    /// Lets a resumed run read the files elsewhere that its journal names and that the application's rows name today as well. Rows are read only if
    /// there are such files; `next` is what a person is told to type if that fails.
    ///
    /// # Errors
    /// If the journal or the database cannot be read.
    pub async fn vouch_for(
        &mut self,
        session: &Session,
        journal: &Journal,
        next: &str,
    ) -> Result<(), Failure> {
        if session.settings.direction != DirectionArg::LocalToS3 {
            return Ok(());
        }
        let failed = |error: PlanError| run_failure(&error.into(), next);
        let places = places(&self.paths);
        let elsewhere = planned_elsewhere(journal, &places)?;
        let mut named = KeySet::new();
        if !elsewhere.is_empty() {
            let mut plan = self.planner.apart().stream();
            while let Some(item) = plan.try_next().await.map_err(failed)? {
                let sources = item.blobs.iter().map(|blob| blob.source.as_str());
                sources
                    .filter(|source| elsewhere.contains(source))
                    .for_each(|source| {
                        named.insert(source);
                    });
            }
        }
        self.source = Arc::new(Files::within(places).named(named));
        Ok(())
    }
}

/// The files of unfinished items that lie where a journal's word is not enough.
fn planned_elsewhere(journal: &Journal, places: &Places) -> Result<KeySet, Failure> {
    let mut elsewhere = KeySet::new();
    let is_unfinished = |state| matches!(state, State::Planned | State::Stored | State::Committing);
    for entry in journal.entries(is_unfinished) {
        for blob in entry.map_err(|error| journal_failure(&error))?.item.blobs {
            if !places.hold_all(Path::new(&blob.source)) {
                elsewhere.insert(&blob.source);
            }
        }
    }
    Ok(elsewhere)
}

/// Makes the planner of a run.
#[must_use]
pub fn planner(session: &Session, paths: &Arc<Paths>, options: PlanOptions) -> Planner {
    let (database, mapping) = (Arc::clone(&session.database), Arc::clone(&session.mapping));
    Planner::new(database, mapping, Arc::clone(paths), options)
}

/// Returns what is to be moved, read as it is asked for.
#[must_use]
pub fn plan(ends: &Ends) -> BoxStream<'static, Result<Item, PlanError>> {
    ends.planner.stream()
}

/// Puts together what the engine works with.
///
/// # Errors
/// If the state directory cannot be read.
pub fn engine_parts(
    session: &Session,
    ends: &Ends,
    journal: Journal,
    observer: Arc<dyn Observer>,
    stop: StopSignal,
) -> Result<EngineParts, Failure> {
    let keepers = kindred::keepers(
        session,
        &journal.header().run_id,
        &ends.target,
        ends.bucket.as_ref(),
    )?;
    let (database, mapping) = (Arc::clone(&session.database), Arc::clone(&session.mapping));
    let mirror = is_copied(session, &journal)?.then(|| Mirror {
        store: ends.mirror.clone(),
        prefix: MIRROR.into(),
    });
    Ok(EngineParts {
        journal,
        source: Arc::clone(&ends.source),
        target: ends.target.clone(),
        ledger: Arc::new(
            DbLedger::new(database, mapping, Arc::clone(&ends.paths))
                .source_retired(session.line.action.application_moved),
        ),
        limits: limits(session),
        proof: match session.settings.limits.proof {
            ProofArg::Checksum if session.settings.limits.checksum_headers => Proof::Checksum,
            ProofArg::Checksum | ProofArg::Readback => Proof::ReadBack,
            ProofArg::Size => Proof::Size,
        },
        observer,
        stop,
        mirror,
        prefixes: prefixes(session),
        keepers,
        steps: steps(session),
    })
}

/// Tells whether the journal's copy in the bucket is to follow it. That of a run which may be another database's is left to that: it says what its rows
/// need.
fn is_copied(session: &Session, journal: &Journal) -> Result<bool, Failure> {
    let action = &session.line.action;
    let is_undone = action.rollback.is_some() || action.force_rollback;
    let of = serde_json::from_value::<Parameters>(journal.parameters());
    let here = session.parameters()?;
    let doubt = of.ok().map(|of| Doubt::of(&of, &here, &journal.custody()));
    Ok(match doubt.flatten() {
        None => true,
        // A run goes on, and its objects have to be known as needed.
        Some(Doubt::Elsewhere | Doubt::Machine) => !is_undone,
        Some(Doubt::Other | Doubt::Taken | Doubt::Contested | Doubt::OtherStore) => false,
    })
}

/// Counts the documents, and their bytes, that a run will take on.
///
/// # Errors
/// If the database cannot be asked.
pub async fn expected(session: &Session) -> Result<(Option<u64>, u64), Failure> {
    let run = &session.line.run;
    if run.user_id.is_some() {
        return Ok((None, 0));
    }
    let counts = session
        .database
        .counts()
        .await
        .map_err(|error| database_failure(&error))?;
    let main = &session.mapping.main;
    let count = counts
        .iter()
        .find(|count| count.table == main.table && count.column == main.path);
    let Some(count) = count else {
        return Ok((None, 0));
    };
    let is_local = session.settings.direction == DirectionArg::LocalToS3;
    let rows = if is_local { count.local } else { count.stored };
    match run.limit {
        Some(limit) if limit < rows => Ok((Some(limit), 0)),
        _ => Ok((Some(rows), if is_local { count.local_bytes } else { 0 })),
    }
}

/// Looks whether rows, disk and bucket balance after a run. What is among the run's exceptions already is not repeated.
///
/// # Errors
/// If the database or the bucket cannot be asked.
pub async fn balance(
    session: &Session,
    ends: &Ends,
    exceptions: &[Exception],
) -> Result<Balance, Failure> {
    let options = ReconcileOptions {
        direction: direction(session.settings.direction),
        user: session.line.run.user_id.clone(),
        is_before: false,
    };
    drawn(session, &ends.paths, &ends.mirror, &options, exceptions).await
}

/// Looks what a run will not put right: rows that it would find neither where they come from nor where they go. What is among the exceptions
/// already is not repeated.
///
/// # Errors
/// If the database or the bucket cannot be asked.
pub async fn balance_before(
    session: &Session,
    paths: &Arc<Paths>,
    bucket: &Store,
    exceptions: &[Exception],
) -> Result<Vec<Exception>, Failure> {
    let options = ReconcileOptions {
        direction: direction(session.settings.direction),
        user: session.line.run.user_id.clone(),
        is_before: true,
    };
    let balance = drawn(session, paths, bucket, &options, exceptions).await?;
    Ok(balance.exceptions)
}

async fn drawn(
    session: &Session,
    paths: &Arc<Paths>,
    bucket: &Store,
    options: &ReconcileOptions,
    exceptions: &[Exception],
) -> Result<Balance, Failure> {
    let (database, mapping) = (&*session.database, &session.mapping);
    let drawn = reconcile(database, mapping, paths, bucket, options).await;
    let done = match options.is_before {
        true => "",
        false => "; the run itself is done",
    };
    let mut balance = drawn.map_err(|error| match &error {
        ReconcileError::Database(error) => database_failure(error)
            .context(format!("the rows could not be read for the balance{done}")),
        ReconcileError::Store(below) => Failure::from(below).context(format!(
            "the bucket could not be listed for the balance{done}"
        )),
    })?;
    let named: HashSet<&str> = exceptions
        .iter()
        .map(|exception| exception.item.as_str())
        .collect();
    let listed = balance.exceptions.len();
    balance
        .exceptions
        .retain(|exception| !named.contains(exception.item.as_str()));
    balance.exception_count -= (listed - balance.exceptions.len()) as u64;
    Ok(balance)
}

/// Returns the rows that the plan could not make items of.
#[must_use]
pub fn notes(ends: &Ends) -> Notes {
    ends.planner.notes()
}

/// Returns how local paths are looked up.
///
/// # Errors
/// If there is no working directory.
pub fn paths(session: &Session) -> Result<Paths, Failure> {
    let base = std::env::current_dir()
        .or_fail(Exit::Failed, "the working directory could not be found")?;
    Ok(paths_of(&session.settings, base))
}

/// Returns how these settings have local paths looked up; relative ones lie below `base`.
#[must_use]
pub fn paths_of(settings: &Settings, base: PathBuf) -> Paths {
    let maps = settings.path_map.iter();
    Paths {
        upload: settings.upload_path.value.display().to_string(),
        base,
        maps: maps
            .map(|(from, to)| PathMap {
                from: from.clone(),
                to: to.clone(),
            })
            .collect(),
        symlinks: match settings.symlinks {
            SymlinksArg::None => Symlinks::Refuse,
            SymlinksArg::Inside => Symlinks::Inside,
            SymlinksArg::All => Symlinks::All,
        },
    }
}

/// Clears away, below the upload path, the halves of files that a process left which was cut off. Only who holds the lock calls this; what another
/// program of ours is writing there has a lock of its own and stays.
pub fn clear_halves(paths: &Paths) {
    let cleared = store::file::clear_temporaries(&paths.upload_here());
    if cleared.files > 0 {
        let count = cleared.files;
        tracing::info!(count, "cleared away halves of files of an earlier process");
    }
    // They are in nobody's way, and a directory of the system's own (`lost+found`) is there at every run.
    if let Some(error) = cleared.first {
        let places = cleared.passed_over;
        tracing::info!(places, %error, "halves of files of an earlier process may be left");
    }
}

/// Where files may be restored and removed, and read because a journal names them: below the upload path, and where path maps lead. A journal may come from the bucket, and who
/// can write there is not to choose among all files of this machine.
fn places(paths: &Paths) -> Places {
    let mapped = paths.maps.iter().map(|map| map.to.clone());
    let roots = std::iter::once(paths.upload_here()).chain(mapped);
    Places::new(roots.collect(), paths.symlinks == Symlinks::All)
}

/// Returns the direction as the plan knows it.
#[must_use]
pub fn direction(direction: DirectionArg) -> Direction {
    match direction {
        DirectionArg::LocalToS3 => Direction::LocalToS3,
        DirectionArg::S3ToLocal => Direction::S3ToLocal,
        DirectionArg::S3ToS3 => Direction::S3ToS3,
    }
}

/// A folder that the application reads gets plain files; a folder that stands for a bucket is a store.
///
/// # Errors
/// If it cannot be opened, or the rows would not lead to it.
pub async fn open_target(session: &Session) -> Result<Store, Failure> {
    if session.settings.direction != DirectionArg::S3ToLocal {
        return session.target().await;
    }
    let url = session.target_url()?;
    match (url.kind(), url.folder()) {
        (StoreKind::Folder, Some(folder)) => {
            check_directory(folder, "")?;
            check_rows_lead_to(&paths(session)?, folder)?;
            Ok(match session.settings.symlinks {
                SymlinksArg::All => Store::plain_folder_with_links(folder),
                SymlinksArg::None | SymlinksArg::Inside => Store::plain_folder(folder),
            })
        }
        _ => Err(wrong_target(&url)),
    }
}

/// Fails if there is no upload directory to find files in: everything would be missing, or nothing would be there to do.
///
/// # Errors
/// Of configuration.
pub fn check_upload(session: &Session, paths: &Paths) -> Result<(), Failure> {
    if session.settings.direction != DirectionArg::LocalToS3 {
        return Ok(());
    }
    let here = paths.upload_here();
    let shown = match here.as_path() == Path::new(paths.upload()) {
        true => String::new(),
        false => format!(", the upload path {} here,", paths.upload()),
    };
    check_directory(&here, &shown)
}

fn check_directory(folder: &Path, shown: &str) -> Result<(), Failure> {
    if folder.is_dir() {
        return Ok(());
    }
    Err(
        Failure::config(format!("{}{shown} is no directory", folder.display()))
            .kind("no-upload-path")
            .hint(
                "name the application's upload directory with UPLOAD_PATH or --upload-path, and with --path-map FROM=TO where it lies on this \
                 machine, if that is elsewhere; or make it",
            ),
    )
}

/// Rows are written as the application has its paths; read by the path maps they must lead to the files that are put down.
fn check_rows_lead_to(paths: &Paths, folder: &Path) -> Result<(), Failure> {
    let shown = paths.upload_in_rows().ok_or_else(|| {
        Failure::usage(format!(
            "no --path-map leads to the upload path {}, so nothing says how the application has it in its rows",
            paths.upload()
        ))
        .hint(format!(
            "add --path-map FROM={0}, with the application's own path for FROM; --path-map {0}={0} if it has the same",
            folder.display()
        ))
    })?;
    let here = paths.here(&shown);
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if real(&here) == real(folder) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "the rows would name {shown}, which is {} on this machine, and the files would go to {}",
        here.display(),
        folder.display()
    ))
    .hint(format!(
        "say how the application has that directory: --path-map {shown}={}",
        folder.display()
    )))
}

fn wrong_target(url: &StoreUrl) -> Failure {
    Failure::usage(format!("{} is no local folder", url.to_config_string()))
        .hint("with --direction s3-to-local, leave --target out or write --target folder:/PATH")
}

fn limits(session: &Session) -> Limits {
    let of = &session.settings.limits;
    Limits {
        parallel: of.parallel,
        memory: MEMORY,
        multipart_threshold: of.multipart_threshold,
        batch: of.batch,
        bandwidth: of.bandwidth,
        max_failures: of.max_failures,
        max_items: of.limit,
        stop_on_verification_failure: session.line.run.enable_rollback,
        retry: Retry {
            attempts: of.max_retries + 1,
            ..Retry::default()
        },
        ..Limits::default()
    }
}

/// What stands before every key of the plan; a target that others use too need not be listed in whole.
#[must_use]
pub fn prefixes(session: &Session) -> Vec<String> {
    if session.settings.direction != DirectionArg::LocalToS3 {
        return vec![];
    }
    session.mapping.object_prefixes()
}

fn steps(session: &Session) -> Steps {
    let at = session.settings.environment.get(CRASH_AT);
    match at.and_then(|at| at.parse().ok()) {
        Some(step) => Steps::abort_at(step),
        None => Steps::all(),
    }
}
