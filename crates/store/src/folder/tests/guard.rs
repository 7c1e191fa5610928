//! What is no file, what is too large, and who was there first.

use super::{filled, open};
use crate::{Compared, ErrorKind, Store};
use bytes::Bytes;
use std::time::Duration;

const KEY: &str = "vault.json";

#[tokio::test]
async fn a_pipe_or_a_socket_in_an_objects_place_is_named_and_holds_nobody_up() {
    let (dir, store) = filled().await;
    let place = dir.path().join("a/store/vault.json");
    for what in ["a named pipe", "a socket"] {
        std::fs::remove_file(&place).expect("removes");
        let _listener = match what {
            "a socket" => Some(std::os::unix::net::UnixListener::bind(&place).expect("binds")),
            _ => {
                let mode = rustix::fs::Mode::from_raw_mode(0o600);
                let pipe = rustix::fs::FileType::Fifo;
                rustix::fs::mknodat(rustix::fs::CWD, &place, pipe, mode, 0).expect("makes");
                None
            }
        };
        let read = tokio::time::timeout(Duration::from_secs(20), store.get(KEY)).await;
        let error = read.expect("nothing waits").expect_err("it is no file");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        let all = format!("{error}: {cause:?}");
        assert!(all.contains("vault.json"), "{all}");
        let last = std::iter::successors(Some(&error as &dyn std::error::Error), |error| {
            error.source()
        });
        let last = last.last().map(ToString::to_string).unwrap_or_default();
        assert!(last.contains(what), "{last}");
    }
    // It can be written over.
    store.put(KEY, Bytes::from("new")).await.expect("puts");
    assert_eq!(store.get(KEY).await.expect("reads"), "new");
}

#[tokio::test]
async fn an_object_that_is_larger_than_it_may_be_is_not_read() {
    let (dir, store) = filled().await;
    let file = std::fs::File::create(dir.path().join("a/store/vault.json")).expect("creates");
    // A hole: there is no room for so much in memory.
    file.set_len(1 << 42).expect("grows");
    let error = store.get_up_to(KEY, 1 << 20).await.expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    file.set_len(5).expect("shrinks");
    assert_eq!(store.get_up_to(KEY, 5).await.expect("reads").len(), 5);
    store.get_up_to(KEY, 4).await.expect_err("too large");
}

/// Adds one to the number in the object as often as it is let.
async fn count(store: &Store, times: u64) -> u64 {
    let mut done = 0;
    while done < times {
        let (bytes, seen) = store.get_version(KEY, 100).await.expect("reads");
        let number: u64 = std::str::from_utf8(&bytes)
            .expect("text")
            .parse()
            .expect("a number");
        let next = Bytes::from((number + 1).to_string());
        match store.exchange(KEY, &seen, next).await {
            Ok(Compared::Yes) => done += 1,
            Ok(Compared::No) => panic!("a folder compares"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Precondition, "{error}"),
        }
    }
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_those_who_replace_the_same_state_only_one_does() {
    let (dir, store) = filled().await;
    store.put(KEY, Bytes::from("0")).await.expect("puts");
    let mut tasks = vec![];
    for _ in 0..4 {
        // Each as a process of its own would open it.
        let store = open(&dir.path().join("a/store")).await;
        tasks.push(tokio::spawn(async move { count(&store, 25).await }));
    }
    for task in tasks {
        task.await.expect("ends");
    }
    assert_eq!(store.get(KEY).await.expect("reads"), "100");
}
