//! A generation whose record is damaged, and a way out of it.

use crate::mending::{does, within};
use crate::program::{run, sync};
use crate::world::World;
use bottles::sample::Sample;
use std::path::PathBuf;

/// A mirror of three generations, of which the record of the second is cut; and the keys of everything in it.
async fn with_a_damaged_second() -> (World, PathBuf) {
    let world = World::new().await;
    let platform = ["--platform", "x86_64_linux"];
    for (formula, sample) in [
        ("jq", Sample::embedded()),
        ("jq", Sample::a_week_later()),
        ("tree", Sample::a_week_later()),
    ] {
        world.server.replace(sample);
        let arguments = [&platform[..], &["--formula", formula]].concat();
        let (code, _, err) = run(sync(&world, &arguments)).await;
        assert_eq!(code, 0, "{err}");
    }
    let log = world.state.path().join("mirror/.syncline/mirror/log");
    let record = within(&log).into_iter().find(|path| {
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        name.starts_with("generation-00000002")
    });
    let record = record.expect("it is there");
    std::fs::write(&record, b"cut").expect("written");
    (world, record)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_removes_nothing_beside_a_damaged_generation_until_that_is_given_up() {
    let (world, record) = with_a_damaged_second().await;
    let blobs = || within(&world.state.path().join("mirror/v2/homebrew/core/jq/blobs")).len();
    let before = blobs();
    assert_eq!(before, 2, "of two versions");
    // Whether it is within what is kept by number, or by time.
    for arguments in [
        &["prune", "--keep", "2", "--grace", "0s"][..],
        &["prune", "--keep", "2", "--grace", "0s", "--dry-run"],
        &["prune", "--keep", "1"],
    ] {
        let (code, said) = does(&world, arguments).await;
        assert_eq!(code, 16, "{said}");
        for part in ["generation 00000002-", "nothing was removed", "--drop 2"] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    assert_eq!(blobs(), before);
    // What is whole, current, or not there is not given up.
    for (name, code, says) in [
        ("1", 15, "can be read"),
        ("3", 15, "can be read"),
        ("9", 1, "no generation 9"),
    ] {
        let arguments = ["prune", "--keep", "2", "--grace", "0s", "--drop", name];
        let (found, said) = does(&world, &arguments).await;
        assert_eq!(found, code, "{said}");
        assert!(said.contains(says), "{said}");
    }
    let looked = [
        "prune",
        "--keep",
        "2",
        "--grace",
        "0s",
        "--drop",
        "2",
        "--dry-run",
    ];
    let (code, said) = does(&world, &looked).await;
    assert_eq!(code, 0, "{said}");
    assert!(
        record.exists() && said.contains("Would remove 1 generation"),
        "{said}"
    );
    // As it is said.
    let (code, said) = does(
        &world,
        &["prune", "--keep", "2", "--grace", "0s", "--drop", "2"],
    )
    .await;
    assert_eq!(code, 0, "{said}");
    assert!(
        !record.exists() && said.contains("Removed 1 generation"),
        "{said}"
    );
    let (_, said) = does(&world, &["generations"]).await;
    assert!(!said.contains("damaged"), "{said}");
    for arguments in [
        &["scrub"][..],
        &["prune", "--keep", "2", "--grace", "0s"],
        &["rollback", "1"],
        &["scrub"],
    ] {
        let (code, said) = does(&world, arguments).await;
        assert_eq!(code, 0, "{arguments:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_generation_that_is_current_is_not_given_up() {
    let (world, record) = with_a_damaged_second().await;
    // It comes back as it was, is gone back to, and is damaged again.
    let (code, said) = does(&world, &["rollback", "1"]).await;
    assert_eq!(code, 0, "{said}");
    let log = record.parent().expect("a folder");
    for path in within(log) {
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        if name.starts_with("generation-00000001") {
            std::fs::write(&path, b"cut").expect("written");
        }
    }
    let (code, said) = does(&world, &["prune", "--keep", "1", "--drop", "1"]).await;
    assert_eq!(code, 15, "{said}");
    assert!(
        said.contains("is the current one") && said.contains("rollback N"),
        "{said}"
    );
    assert!(record.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_of_a_newer_program_is_not_given_up() {
    let (world, record) = with_a_damaged_second().await;
    let first = within(record.parent().expect("a folder"))
        .into_iter()
        .find(|path| path.to_string_lossy().contains("/generation-00000001"));
    let packed = std::fs::read(first.expect("it is there")).expect("read");
    let text = zstd::stream::decode_all(&packed[..]).expect("unpacked");
    let text = String::from_utf8(text).expect("text");
    let newer = text.replacen("\"format\":1", "\"format\":2", 1);
    assert_ne!(newer, text);
    let sum = transfer::Digest::of(newer.as_bytes()).to_string();
    let name = format!("generation-00000004-{}.json.zst", &sum[..16]);
    let path = record.with_file_name(name);
    let packed = zstd::stream::encode_all(newer.as_bytes(), 3).expect("packed");
    std::fs::write(&path, packed).expect("written");
    // By itself, beside one that may be given up, and as one that is kept.
    for dropped in [
        &["--drop", "4"][..],
        &["--drop", "2", "--drop", "4"],
        &["--drop", "2"],
    ] {
        let arguments = [&["prune", "--keep", "1", "--grace", "1d"], dropped].concat();
        let (code, said) = does(&world, &arguments).await;
        assert_eq!(code, 16, "{said}");
        for part in ["has format 2", "use the newer program"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(path.exists() && record.exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_removes_nothing_beside_a_generation_whose_record_is_gone() {
    let (world, record) = with_a_damaged_second().await;
    let blobs = || within(&world.state.path().join("mirror/v2/homebrew/core/jq/blobs")).len();
    std::fs::remove_file(&record).expect("removed");
    let prune = ["prune", "--keep", "2", "--grace", "0s"];
    let (code, said) = does(&world, &prune).await;
    assert_eq!(code, 16, "{said}");
    assert!(said.contains("--drop 2"), "{said}");
    assert_eq!(blobs(), 2);
    let given_up = [&prune[..], &["--drop", "2"]].concat();
    let (code, said) = does(&world, &given_up).await;
    assert_eq!(code, 0, "{said}");
    let (code, said) = does(&world, &prune).await;
    assert_eq!(code, 0, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_removes_nothing_where_the_log_is_gone() {
    let (world, record) = with_a_damaged_second().await;
    let mirror = world.state.path().join("mirror");
    let blobs = || within(&mirror.join("v2")).len() + within(&mirror.join("api")).len();
    let before = blobs();
    std::fs::remove_dir_all(record.parent().expect("the log")).expect("removed");
    for arguments in [
        &["prune", "--keep", "1", "--grace", "0s"][..],
        &["prune", "--keep", "1", "--grace", "0s", "--dry-run"],
    ] {
        let (code, said) = does(&world, arguments).await;
        assert_eq!(code, 10, "{said}");
        assert!(said.contains("nothing was removed"), "{said}");
    }
    assert_eq!(blobs(), before);
    let arguments = ["--platform", "x86_64_linux", "--formula", "tree"];
    let (code, _, err) = run(sync(&world, &arguments)).await;
    assert_eq!(code, 0, "{err}");
    let (code, said) = does(&world, &["prune", "--keep", "1"]).await;
    assert_eq!(code, 0, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_that_cannot_put_files_in_place_says_how_far_it_is() {
    let (world, _) = with_a_damaged_second().await;
    let api = world.state.path().join("mirror/api");
    let in_the_way = within(&api)
        .into_iter()
        .find(|path| path.ends_with("formula.jws.json"));
    let in_the_way = in_the_way.expect("it is there");
    std::fs::remove_file(&in_the_way).expect("removed");
    std::fs::create_dir_all(in_the_way.join("below")).expect("made");
    let (code, said) = does(&world, &["rollback", "1"]).await;
    assert_ne!(code, 0, "{said}");
    for part in [
        "generation 00000001",
        "is the current one now",
        "`homebrew-sync rollback 1`",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    std::fs::remove_dir_all(&in_the_way).expect("removed");
    let (code, said) = does(&world, &["rollback", "1"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(in_the_way.is_file());
}
