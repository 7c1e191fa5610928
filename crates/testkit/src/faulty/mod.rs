//! A store that fails on purpose, for simulations: a seed reproduces every fault.
//!
//! What must hold: decisions depend on the seed and on the order of the operations alone, never on
//! a clock, a thread or a hash map's order; every operation completes at its first poll (or, where
//! [`FaultyStore::set_yielding`] is on, at its second), so that a single-threaded run is
//! deterministic; after [`FaultyStore::heal`] the store is perfect and all
//! devices see the same objects.
//!
//! One simulated world has many devices. Each takes its own handle with
//! [`FaultyStore::for_device`]: arrival of the others' objects, and crashes, are per device.
//! It deliberately has no multipart uploads and no copies: the vault promises to need neither.

mod faults;
mod state;
#[cfg(test)]
mod tests;
mod world;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use state::{Power, Shared, broken, e_tag, meta_of, not_found};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use world::{Late, View};

pub use faults::{Conditional, Faults};
pub use state::CrashPoint;

/// The name this store has in errors.
const NAME: &str = "FaultyStore";

/// One device's handle on a simulated store.
#[derive(Clone)]
pub struct FaultyStore {
    shared: Arc<Mutex<Shared>>,
    device: usize,
}

impl FaultyStore {
    /// Makes a world and returns the handle of its device 0.
    pub fn new(seed: u64, faults: Faults) -> Self {
        let shared = Shared::new(seed, faults);
        FaultyStore {
            shared: Arc::new(Mutex::new(shared)),
            device: 0,
        }
    }

    /// Returns another device's handle on the same world.
    pub fn for_device(&self, device: usize) -> Self {
        FaultyStore {
            shared: Arc::clone(&self.shared),
            device,
        }
    }

    /// Replaces the rates from now on.
    pub fn set_faults(&self, faults: Faults) {
        let mut shared = self.lock();
        shared.world.set_late_ticks_max(faults.late_ticks_max);
        shared.faults = faults;
    }

    /// Ends all faults, delivers everything to everyone, and switches crashed devices on again.
    pub fn heal(&self) {
        self.set_faults(Faults::none());
        let mut shared = self.lock();
        shared.world.heal();
        shared.power.clear();
    }

    /// Lets `operations` of this device's next operations pass; the one after them crashes, at a point
    /// the seed chooses, and every later one fails until [`FaultyStore::revive`].
    pub fn crash_after(&self, operations: u64) {
        let after = self.lock().rng.chance(500);
        self.crash_at(
            operations,
            if after {
                CrashPoint::AfterEffect
            } else {
                CrashPoint::BeforeEffect
            },
        );
    }

    /// As [`FaultyStore::crash_after`], at a point the caller chooses.
    pub fn crash_at(&self, operations: u64, point: CrashPoint) {
        self.lock().power.insert(
            self.device,
            Power::Fused {
                left: operations,
                point,
            },
        );
    }

    /// Switches this device on again, as after a restart of the process.
    pub fn revive(&self) {
        self.lock().power.insert(self.device, Power::On);
    }

    /// Says whether this device has crashed.
    pub fn is_crashed(&self) -> bool {
        matches!(self.lock().power.get(&self.device), Some(Power::Off))
    }

    /// Sets the simulated wall clock, which only dates the objects in listings.
    pub fn set_clock_ms(&self, unix_ms: u64) {
        self.lock().clock_ms = unix_ms;
    }

    /// Lets `ticks` operations' worth of time pass, so that late objects arrive.
    pub fn advance(&self, ticks: u64) {
        self.lock().tick += ticks;
    }

    /// From now on every operation yields once before it begins, so that several devices' futures can be polled in turn. Without
    /// this every operation is done at its first poll.
    pub fn set_yielding(&self, yields: bool) {
        self.lock().yields = yields;
    }

    /// Lets `operations` of this device's next operations pass; the one after them waits before it begins, until
    /// [`FaultyStore::release`]: so that another device can do something at that very moment.
    pub fn hold_at(&self, operations: u64) {
        let mut shared = self.lock();
        let made = shared.operations.get(&self.device).copied().unwrap_or(0);
        shared.holds.insert(self.device, made + operations);
    }

    /// Lets this device go on.
    pub fn release(&self) {
        self.lock().holds.remove(&self.device);
    }

    /// Says whether this device has come to where it waits.
    pub fn is_held(&self) -> bool {
        let shared = self.lock();
        let made = shared.operations.get(&self.device).copied().unwrap_or(0);
        let hold = shared.holds.get(&self.device);
        hold.is_some_and(|hold| made >= *hold)
    }

    async fn take_turn(&self) {
        let mut yields = self.lock().yields;
        std::future::poll_fn(|context| {
            if std::mem::take(&mut yields) || self.is_held() {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
    }

    /// How many operations this device has made, failed ones included.
    pub fn operations(&self) -> u64 {
        self.lock()
            .operations
            .get(&self.device)
            .copied()
            .unwrap_or(0)
    }

    /// The objects as they are when every delivery has been made.
    pub fn objects(&self) -> BTreeMap<String, Bytes> {
        self.lock().world.truth()
    }

    /// Writes an object behind everyone's back, visible at once: for tampering.
    pub fn put_raw(&self, key: &str, bytes: impl Into<Bytes>) {
        let mut shared = self.lock();
        let (view, clock) = (
            View {
                device: self.device,
                tick: shared.tick,
            },
            shared.clock_ms,
        );
        shared
            .world
            .write(key, bytes.into(), view, clock, Late(false));
    }

    /// Removes an object behind everyone's back, at once; true when it was there.
    pub fn remove_raw(&self, key: &str) -> bool {
        let mut shared = self.lock();
        let view = View {
            device: self.device,
            tick: shared.tick,
        };
        shared.world.remove(key, view, Late(false))
    }

    /// The last operations of all devices, one line each.
    pub fn trace(&self) -> Vec<String> {
        self.lock().trace.iter().cloned().collect()
    }

    /// A digest of every operation since the start: equal for two runs that did the same.
    pub fn trace_digest(&self) -> u64 {
        self.lock().digest
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // A panicking test may poison the lock; the state is still what it was.
        self.shared
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn put_now(&self, key: &str, bytes: Bytes, mode: &PutMode) -> Result<PutResult> {
        let mut shared = self.lock();
        let fate = shared.begin(self.device);
        let size = bytes.len();
        let outcome = shared.refuse_before(fate, key).and_then(|()| {
            shared.check_condition(key, mode, self.device)?;
            let late = Late(shared.roll(|faults| faults.late_arrival));
            let (view, clock) = (shared.view(self.device), shared.clock_ms);
            let id = shared.world.write(key, bytes, view, clock, late);
            shared.refuse_after(fate, key)?;
            Ok(PutResult {
                e_tag: Some(e_tag(id)),
                version: None,
                extensions: Default::default(),
            })
        });
        shared.note(self.device, &format!("put {key} {size}"), &outcome);
        outcome
    }

    fn get_now(&self, key: &Path, options: &GetOptions) -> Result<GetResult> {
        let mut shared = self.lock();
        let fate = shared.begin(self.device);
        let outcome = shared.refuse_before(fate, key.as_ref()).and_then(|()| {
            let view = shared.view(self.device);
            let version = shared.world.read(key.as_ref(), view).cloned();
            let version = version.ok_or_else(|| not_found(key.as_ref()))?;
            shared.refuse_after(fate, key.as_ref())?;
            let meta = meta_of(key.as_ref(), &version);
            options.check_preconditions(&meta)?;
            shared.answer(version.bytes, meta, options)
        });
        shared.note(self.device, &format!("get {key}"), &outcome);
        outcome
    }

    fn delete_now(&self, key: &str) -> Result<()> {
        let mut shared = self.lock();
        let fate = shared.begin(self.device);
        let outcome = shared.refuse_before(fate, key).and_then(|()| {
            let late = Late(shared.roll(|faults| faults.late_removal));
            let view = shared.view(self.device);
            shared.world.remove(key, view, late);
            shared.refuse_after(fate, key)
        });
        shared.note(self.device, &format!("delete {key}"), &outcome);
        outcome
    }

    fn list_now(&self, prefix: Option<&Path>) -> Vec<Result<ObjectMeta>> {
        let prefix = prefix.map(|path| format!("{path}/")).unwrap_or_default();
        let mut shared = self.lock();
        let fate = shared.begin(self.device);
        let view = shared.listing_view(self.device);
        let outcome = shared.refuse_before(fate, &prefix).and_then(|()| {
            let entries = shared.world.list(&prefix, view);
            shared.refuse_after(fate, &prefix).map(|()| entries)
        });
        let cut = shared.roll(|faults| faults.cut_list);
        let keep = outcome
            .as_ref()
            .map_or(0, |entries| shared.rng.index(entries.len() + 1));
        shared.note(self.device, &format!("list {prefix} cut={cut}"), &outcome);
        let entries = match outcome {
            Ok(entries) => entries,
            Err(error) => return vec![Err(error)],
        };
        let mut answer: Vec<_> = entries
            .iter()
            .map(|(key, version)| Ok(meta_of(key, version)))
            .collect();
        if cut {
            answer.truncate(keep);
            answer.push(Err(broken(
                "the listing broke off",
                io::ErrorKind::ConnectionReset,
            )));
        }
        answer
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{NAME}(device {})", self.device)
    }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.take_turn().await;
        self.put_now(location.as_ref(), Bytes::from(payload), &opts.mode)
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(Error::NotImplemented {
            operation: "multipart upload".into(),
            implementer: NAME.into(),
        })
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.take_turn().await;
        self.get_now(location, &options)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations
            .then(move |location| {
                let store = store.clone();
                async move {
                    let location = location?;
                    store.take_turn().await;
                    store.delete_now(location.as_ref())?;
                    Ok(location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        stream::once(async move {
            store.take_turn().await;
            stream::iter(store.list_now(prefix.as_ref()))
        })
        .flatten()
        .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let depth = prefix.map_or(0, |path| path.parts().count());
        let mut result = ListResult {
            common_prefixes: Vec::new(),
            objects: Vec::new(),
            extensions: Default::default(),
        };
        self.take_turn().await;
        for entry in self.list_now(prefix) {
            let entry = entry?;
            if entry.location.parts().count() == depth + 1 {
                result.objects.push(entry);
                continue;
            }
            let common: Path = entry.location.parts().take(depth + 1).collect();
            if result.common_prefixes.last() != Some(&common) {
                result.common_prefixes.push(common);
            }
        }
        Ok(result)
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(Error::NotImplemented {
            operation: "copy".into(),
            implementer: NAME.into(),
        })
    }
}
