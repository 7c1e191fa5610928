//! Finds out what a store really does, by doing it.
//!
//! What must hold: what the probe writes it removes, also when a step fails; it touches nothing outside `probe/`; a verdict
//! says what was seen, never what a server claims.
//!
//! It deliberately changes no behaviour: nothing rests on what it finds. `diagnose` shows it, and a conditional write that
//! is honest may make a conflict cheaper to notice.

use crate::error::{ErrorKind, StoreError};
use crate::store::Store;
use bytes::Bytes;
use futures::future::join_all;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutOptions, PutPayload};
use serde::Serialize;
use std::future::Future;
use std::time::{Duration, Instant};

/// So many writers race for one key.
const N_WRITERS: usize = 32;

const PROBE_BYTES: &[u8] = b"syncline probe: may be deleted at any time\n";

/// How long the four basic operations took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct RoundTrip {
    /// Writing a small object.
    pub put_ms: f64,
    /// Reading it.
    pub get_ms: f64,
    /// Listing it.
    pub list_ms: f64,
    /// Deleting it.
    pub delete_ms: f64,
}

/// What was seen of one ability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It works as S3 describes it.
    Works,
    /// The store accepts the request and does something else.
    Lies,
    /// The store refuses the request.
    Refused,
    /// It could not be found out.
    Unknown,
}

/// What the store can do beyond whole objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// Of many writers that create one key, exactly one succeeds.
    pub conditional_create: Verdict,
    /// A part of an object can be read.
    pub ranges: Verdict,
    /// An object that was overwritten is seen at once.
    pub overwrite_visible: Verdict,
    /// An object that was written or deleted is listed so at once.
    pub list_after_write: Verdict,
}

/// One step of the probe.
#[derive(Debug)]
pub struct ProbeStep {
    /// What was tried.
    pub name: &'static str,
    /// How long it took.
    pub took: Duration,
    /// What was seen, in a few words.
    pub detail: String,
    /// Why it failed.
    pub error: Option<StoreError>,
}

/// What a probe found.
#[derive(Debug)]
pub struct ProbeReport {
    /// The store's URL, without secrets.
    pub store: String,
    /// Every step, in order. After a basic operation failed there are no more.
    pub steps: Vec<ProbeStep>,
    /// What the store can do.
    pub capabilities: Capabilities,
}

impl ProbeReport {
    /// Tells whether put, get, list and delete all work.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.steps.iter().all(|step| step.error.is_none())
    }

    /// Returns the first error.
    #[must_use]
    pub fn error(&self) -> Option<&StoreError> {
        self.steps.iter().find_map(|step| step.error.as_ref())
    }
}

/// Puts, gets, lists and deletes one small object: four requests.
///
/// # Errors
/// Of the first operation that fails; `Corrupt` if what was put does not come back, or is not listed.
pub async fn check_round_trip(store: &Store) -> Result<RoundTrip, StoreError> {
    let folder = format!("probe/{}", random()?);
    let key = format!("{folder}/object");
    let (put, put_ms) = timed(store.put(&key, Bytes::from_static(PROBE_BYTES))).await;
    put?;
    let checked = check_written(store, &folder, &key).await;
    let (deleted, delete_ms) = timed(store.delete(std::slice::from_ref(&key))).await;
    let (get_ms, list_ms) = checked?;
    deleted?;
    Ok(RoundTrip {
        put_ms,
        get_ms,
        list_ms,
        delete_ms,
    })
}

async fn check_written(store: &Store, folder: &str, key: &str) -> Result<(f64, f64), StoreError> {
    let (bytes, get_ms) = timed(store.get(key)).await;
    if bytes? != PROBE_BYTES {
        return Err(StoreError::new(
            ErrorKind::Corrupt,
            "get",
            Some(key),
            "other bytes came back than were written",
        ));
    }
    let (listed, list_ms) = timed(store.list(folder)).await;
    let listed = listed?;
    if listed
        .iter()
        .any(|entry| entry.key == key && entry.size == PROBE_BYTES.len() as u64)
    {
        return Ok((get_ms, list_ms));
    }
    let cause = format!(
        "an object that was just written is not listed; {} others are",
        listed.len()
    );
    Err(StoreError::new(ErrorKind::Corrupt, "list", Some(folder), cause).with_headline("the listing is stale").with_remedy(
        "the store, or a cache in front of it, shows listings late: point the endpoint at the store itself",
    ))
}

/// Tries the basic operations, and then what else the store can do.
pub async fn probe(store: &Store) -> ProbeReport {
    let unknown = Verdict::Unknown;
    let capabilities = Capabilities {
        conditional_create: unknown,
        ranges: unknown,
        overwrite_visible: unknown,
        list_after_write: unknown,
    };
    let mut report = ProbeReport {
        store: store.describe(),
        steps: Vec::new(),
        capabilities,
    };
    let (outcome, ms) = timed(check_round_trip(store)).await;
    let took = Duration::from_secs_f64(ms / 1000.0);
    match outcome {
        Ok(trip) => {
            let detail = format!(
                "put {:.0} ms, get {:.0} ms, list {:.0} ms, delete {:.0} ms",
                trip.put_ms, trip.get_ms, trip.list_ms, trip.delete_ms
            );
            report.steps.push(ProbeStep {
                name: "put, get, list, delete",
                took,
                detail,
                error: None,
            });
        }
        Err(error) => {
            report.steps.push(ProbeStep {
                name: "put, get, list, delete",
                took,
                detail: error.to_string(),
                error: Some(error),
            });
            return report;
        }
    }
    let Ok(folder) = random().map(|random| format!("probe/{random}")) else {
        return report;
    };
    report.capabilities.conditional_create = step(
        &mut report.steps,
        "conditional create",
        race(store, &folder),
    )
    .await;
    report.capabilities.ranges = step(&mut report.steps, "range", range(store, &folder)).await;
    report.capabilities.overwrite_visible =
        step(&mut report.steps, "overwrite", overwrite(store, &folder)).await;
    report.capabilities.list_after_write = step(
        &mut report.steps,
        "list after write",
        list_after_write(store, &folder),
    )
    .await;
    // What the steps could not remove lies below `probe/`, where nobody looks.
    if let Ok(left) = store.list(&folder).await {
        let keys: Vec<String> = left.into_iter().map(|entry| entry.key).collect();
        let _ = store.delete(&keys).await;
    }
    report
}

/// Runs a step whose failure says something about the store and is no failure of the probe.
async fn step(
    steps: &mut Vec<ProbeStep>,
    name: &'static str,
    work: impl Future<Output = Result<(Verdict, String), StoreError>>,
) -> Verdict {
    let (outcome, ms) = timed(work).await;
    let (verdict, detail) = match outcome {
        Ok(seen) => seen,
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            (Verdict::Refused, error.to_string())
        }
        Err(error) => (Verdict::Unknown, error.to_string()),
    };
    steps.push(ProbeStep {
        name,
        took: Duration::from_secs_f64(ms / 1000.0),
        detail,
        error: None,
    });
    verdict
}

/// Lets many writers create one key at once.
async fn race(store: &Store, folder: &str) -> Result<(Verdict, String), StoreError> {
    let key = format!("{folder}/race");
    let path = store.path("put", &key)?;
    let writers = (0..N_WRITERS).map(|n| {
        let (store, key, path) = (store.clone(), &key, &path);
        async move { create(&store, key, path, format!("writer {n}")).await }
    });
    let outcomes = join_all(writers).await;
    let won = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Ok(true)))
        .count();
    let lost = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Ok(false)))
        .count();
    let failure = outcomes.into_iter().find_map(Result::err);
    // One more, long after: a store that ignores the condition lets it win.
    let late = create(store, &key, &path, "late".to_owned()).await;
    store.delete(std::slice::from_ref(&key)).await?;
    let detail = format!("{won} of {N_WRITERS} writers won");
    match (won, lost, late, failure) {
        (_, _, Ok(true), _) => Ok((Verdict::Lies, format!("{detail}; a late one overwrote it"))),
        (2.., ..) => Ok((Verdict::Lies, detail)),
        (1, lost, Ok(false), None) if lost + 1 == N_WRITERS => Ok((Verdict::Works, detail)),
        (_, _, Err(error), _) | (_, _, _, Some(error)) => Err(error),
        _ => Ok((Verdict::Unknown, detail)),
    }
}

/// Creates a key; false if somebody else has it.
async fn create(store: &Store, key: &str, path: &Path, text: String) -> Result<bool, StoreError> {
    let options = PutOptions {
        mode: PutMode::Create,
        ..PutOptions::default()
    };
    let work = store
        .objects()
        .put_opts(path, PutPayload::from(text.into_bytes()), options);
    match store.run("put", Some(key), work).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::Precondition => Ok(false),
        Err(error) => Err(error),
    }
}

async fn range(store: &Store, folder: &str) -> Result<(Verdict, String), StoreError> {
    let key = format!("{folder}/range");
    store.put(&key, Bytes::from_static(b"0123456789")).await?;
    let path = store.path("get", &key)?;
    let part = store
        .run("get", Some(&key), store.objects().get_range(&path, 3..7))
        .await;
    store.delete(std::slice::from_ref(&key)).await?;
    let part = part?;
    let verdict = if *part == *b"3456" {
        Verdict::Works
    } else {
        Verdict::Lies
    };
    Ok((verdict, format!("{} bytes came for 4", part.len())))
}

async fn overwrite(store: &Store, folder: &str) -> Result<(Verdict, String), StoreError> {
    let key = format!("{folder}/overwrite");
    let mut stale = 0;
    for n in 0..3 {
        let bytes = Bytes::from(format!("version {n}"));
        store.put(&key, bytes.clone()).await?;
        stale += usize::from(store.get(&key).await? != bytes);
    }
    store.delete(std::slice::from_ref(&key)).await?;
    let verdict = if stale == 0 {
        Verdict::Works
    } else {
        Verdict::Lies
    };
    Ok((verdict, format!("{stale} of 3 reads were stale")))
}

async fn list_after_write(store: &Store, folder: &str) -> Result<(Verdict, String), StoreError> {
    let key = format!("{folder}/listed/object");
    let below = format!("{folder}/listed");
    store.put(&key, Bytes::from_static(PROBE_BYTES)).await?;
    let is_listed = store
        .list(&below)
        .await?
        .iter()
        .any(|entry| entry.key == key);
    store.delete(std::slice::from_ref(&key)).await?;
    let is_gone = store.list(&below).await?.is_empty();
    let verdict = if is_listed && is_gone {
        Verdict::Works
    } else {
        Verdict::Lies
    };
    let say = |fresh: bool| if fresh { "at once" } else { "late" };
    Ok((
        verdict,
        format!(
            "a new object is listed {}, a deleted one vanishes {}",
            say(is_listed),
            say(is_gone)
        ),
    ))
}

async fn timed<T>(work: impl Future<Output = T>) -> (T, f64) {
    let start = Instant::now();
    let value = work.await;
    (value, start.elapsed().as_secs_f64() * 1000.0)
}

/// Returns a name that nobody else uses.
pub(crate) fn random() -> Result<String, StoreError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)
        .map_err(|error| StoreError::new(ErrorKind::Other, "draw a random name", None, error))?;
    Ok(format!("{:016x}", u64::from_le_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test]
    async fn memory_and_folders_pass_and_nothing_is_left() {
        let dir = tempfile::tempdir().expect("scratch");
        let url = crate::StoreUrl::from_folder(dir.path().join("store"));
        let folder = Store::open(
            &url,
            &crate::Tuning::default(),
            &crate::Environment::default(),
        )
        .await
        .expect("opens");
        let memory =
            Store::from_object_store(Arc::new(object_store::memory::InMemory::new()), "pre/fix");
        for store in [folder, memory] {
            let report = probe(&store).await;
            assert!(report.is_usable(), "{report:?}");
            let works = Verdict::Works;
            let all = Capabilities {
                conditional_create: works,
                ranges: works,
                overwrite_visible: works,
                list_after_write: works,
            };
            assert_eq!(report.capabilities, all, "{report:?}");
            assert_eq!(store.list("").await.expect("lists"), [], "nothing is left");
        }
    }

    #[tokio::test]
    async fn a_round_trip_takes_four_requests() {
        let store = Store::from_object_store(Arc::new(object_store::memory::InMemory::new()), "");
        check_round_trip(&store).await.expect("works");
        let usage = store.usage();
        assert_eq!(
            (
                usage.puts,
                usage.gets,
                usage.lists,
                usage.deletes,
                usage.requests()
            ),
            (1, 1, 1, 1, 4)
        );
    }
}
