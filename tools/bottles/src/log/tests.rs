//! Tests of the log of a mirror.

use super::*;
use std::sync::Arc;

fn store() -> Store {
    Store::from_object_store(Arc::new(object_store_memory()), "")
}

fn object_store_memory() -> impl object_store::ObjectStore {
    object_store::memory::InMemory::new()
}

fn generation(number: u64) -> Generation {
    Generation {
        number,
        ..Generation::empty(Timestamp::UNIX_EPOCH)
    }
}

#[tokio::test]
async fn the_last_mark_holds_and_a_second_writer_takes_nothing_away() {
    let store = store();
    let first = write(&store, &generation(1)).await.expect("written");
    mark(&store, &Log::default(), &first).await.expect("marked");
    let log = Log::read(&store).await.expect("listed");
    assert_eq!(log.current(), Some(&first));
    // Two runs that both saw the first.
    let mut theirs = generation(2);
    theirs.selection.all = true;
    let a = write(&store, &generation(2)).await.expect("written");
    let b = write(&store, &theirs).await.expect("written");
    assert_ne!(a, b);
    mark(&store, &log, &a).await.expect("marked");
    mark(&store, &log, &b).await.expect("marked");
    let log = Log::read(&store).await.expect("listed");
    assert_eq!(log.current(), Some(a.clone().max(b.clone())).as_ref());
    assert_eq!(log.published().len(), 3);
    assert_eq!(log.next_number(), 3);
    // Back to the first.
    mark(&store, &log, &first).await.expect("marked");
    let log = Log::read(&store).await.expect("listed");
    assert_eq!(log.current(), Some(&first));
    assert_eq!(log.next_number(), 3);
    forget(&store, &log, &[a, b]).await.expect("forgotten");
    let log = Log::read(&store).await.expect("listed");
    assert_eq!(log.published(), [&first]);
}

#[tokio::test]
async fn a_damaged_generation_is_named() {
    let store = store();
    let id = write(&store, &generation(7)).await.expect("written");
    assert_eq!(read(&store, &id).await.expect("read").number, 7);
    let other = generation(8).encode().1;
    store
        .put(&generation_key(&id), other.into())
        .await
        .expect("written over");
    let error = read(&store, &id).await.expect_err("it is another one");
    assert!(error.to_string().contains(id.as_str()), "{error}");
}
