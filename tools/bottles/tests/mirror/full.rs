//! A prune where no room is left, which it is there to make.

use crate::prune::{options, two_generations};
use crate::world::{FIRST, World};
use async_trait::async_trait;
use bottles::log::LogError;
use bottles::prune::prune;
use bottles::sample::Sample;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};
use store::{Environment, ErrorKind, Store, Tuning};
use testkit::FaultyStore;

/// What is given out at once.
const BLOCK: usize = 4096;

pub const RESERVE: &str = ".syncline/mirror/reserve";

/// A disk on which no block is free, and what was written since.
#[derive(Clone, Debug)]
struct FullDisk {
    inner: FaultyStore,
    /// Blocks that a new name takes.
    name: usize,
    free: Arc<Mutex<usize>>,
}

impl FullDisk {
    /// Blocks that an object takes.
    fn taken(&self, bytes: usize) -> usize {
        bytes.div_ceil(BLOCK) + self.name
    }

    fn size(&self, key: &str) -> Option<usize> {
        self.inner.objects().get(key).map(|bytes| bytes.len())
    }
}

impl fmt::Display for FullDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a full disk")
    }
}

#[async_trait]
impl ObjectStore for FullDisk {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let needed = self.taken(payload.content_length());
        {
            let mut free = self.free.lock().expect("nobody panicked");
            if *free < needed {
                return Err(Error::Generic {
                    store: "full disk",
                    source: Box::new(io::Error::from(io::ErrorKind::StorageFull)),
                });
            }
            *free -= needed;
        }
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let disk = self.clone();
        let freed = locations.inspect_ok(move |path| {
            let blocks = disk.size(path.as_ref()).map(|bytes| disk.taken(bytes));
            *disk.free.lock().expect("nobody panicked") += blocks.unwrap_or(0);
        });
        self.inner.delete_stream(freed.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// A mirror of two generations, the first of which nobody needs, and its disk, full by now.
async fn on_a_full_disk(name: usize) -> (World, Store) {
    let (world, _) = two_generations().await;
    world.handle.set_clock_ms((FIRST + 864_000) as u64 * 1000);
    let disk = FullDisk {
        inner: world.handle.clone(),
        name,
        free: Arc::default(),
    };
    let store = Store::from_object_store(Arc::new(disk), "");
    (world, store)
}

#[tokio::test]
async fn where_only_names_fit_a_prune_makes_room() {
    let (world, store) = on_a_full_disk(0).await;
    let pruned = prune(&store, options(1, FIRST, 86_400)).await;
    assert_eq!(pruned.expect("pruned").generations.len(), 1);
    assert_eq!(world.check_settled().await.number, 2);
}

#[tokio::test]
async fn where_nothing_fits_a_prune_takes_the_reserve() {
    let (world, store) = on_a_full_disk(1).await;
    let before = world.objects();
    let refused = prune(&store, options(1, FIRST, 86_400)).await;
    let Err(LogError::Store(error)) = refused else {
        panic!("there is no room for a note: {refused:?}");
    };
    assert_eq!(error.kind(), ErrorKind::QuotaOrDiskFull);
    assert_eq!(world.objects(), before);
    world.handle.put_raw(RESERVE, vec![7; 2 * BLOCK]);
    let pruned = prune(&store, options(1, FIRST, 86_400)).await;
    assert_eq!(pruned.expect("pruned").generations.len(), 1);
    assert_eq!(world.check_settled().await.number, 2);
}

#[tokio::test]
async fn a_folder_keeps_a_reserve_and_has_it_again() {
    let folder = tempfile::tempdir().expect("a directory");
    let url = folder.path().display().to_string();
    let url = url.parse().expect("a store");
    let store = Store::open(&url, &Tuning::default(), &Environment::default()).await;
    let world = World {
        store: store.expect("it opens"),
        ..World::small(Sample::embedded()).await
    };
    let reserve = folder.path().join(RESERVE);
    let mut seen = BTreeMap::new();
    for round in 0..2 {
        world.sync(&["jq"], FIRST).await;
        let bytes = std::fs::read(&reserve).expect("it is there");
        assert!(bytes.len() > 8 * BLOCK);
        seen.insert(bytes, round);
        std::fs::remove_file(&reserve).expect("removed");
    }
    assert_eq!(seen.len(), 1, "it is not always the same");
    let pruned = prune(&world.store, options(1, FIRST, 86_400)).await;
    pruned.expect("pruned");
    assert!(reserve.exists());
}
