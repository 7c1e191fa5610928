//! `hx status`.

use crate::device::Device;

#[test]
fn without_a_history_it_says_so_and_is_content() {
    let device = Device::new();
    let ran = device.hx(&["status"]).succeeds();
    assert!(
        ran.out.contains("none on this machine yet")
            && ran.out.contains("not set up")
            && ran.err.contains("hx import"),
        "{ran:?}"
    );
    assert_eq!(device.entries(), [""; 0]);
}

#[test]
fn counts_paths_and_dates_are_shown() {
    let device = Device::with_history();
    let ran = device.hx(&["status"]).succeeds();
    for part in [
        "3 commands, 3 different",
        "2023-11-14 22:13",
        "2023-11-14 22:16",
        "hx.db",
        "config.yaml",
        "not checked",
    ] {
        assert!(ran.out.contains(part), "{part}: {ran:?}");
    }
    let verbose = device.hx(&["status", "--verbose"]).succeeds();
    assert!(
        verbose.out.contains("sound") && verbose.out.contains("box"),
        "{verbose:?}"
    );
}

#[test]
fn sizes_are_measured() {
    let device = Device::with_history();
    let report = device
        .hx(&["status", "--storage", "--json"])
        .succeeds()
        .json();
    let on_disk = std::fs::metadata(device.path(".local/share/hx/hx.db"))
        .expect("a database")
        .len();
    assert_eq!(report["storage"]["database_bytes"], on_disk);
    assert!(
        report["storage"]["disk_free_bytes"]
            .as_u64()
            .is_some_and(|free| free > 0),
        "{report}"
    );
    assert_eq!(
        report["health"]["problems"].as_array().map(Vec::len),
        Some(0)
    );
    assert_eq!(report["history"]["events"], 3);
    let shown = device.hx(&["status", "--storage"]).succeeds().out;
    assert!(
        shown.contains("free on the disk") && shown.contains("cache size"),
        "{shown}"
    );
    // No store lies in the place that `sync init` uses if none is named; one that lies elsewhere is not measured.
    assert!(!shown.contains("folder store size"), "{shown}");
}

#[test]
fn what_is_known_of_the_sync_is_shown_without_asking_the_store() {
    let mut device = Device::with_history();
    device.set("HX_SYNC_PASSPHRASE", "correct horse battery staple");
    let store = device.name("store");
    let init = device.hx(&["sync", "init", "--store", &format!("folder:{store}")]);
    assert_eq!(init.code, 0, "{init:?}");
    let ran = device.hx(&["status"]).succeeds();
    for part in ["folder:", "3 records to push", "last push", "never"] {
        assert!(ran.out.contains(part), "{part}: {ran:?}");
    }
    assert_eq!(device.hx(&["sync", "push"]).code, 0);
    std::fs::remove_dir_all(&store).expect("the store goes away");
    let offline = device.hx(&["status", "--json"]).succeeds().json();
    assert_eq!(offline["sync"]["pending"], 0);
    assert_eq!(offline["sync"]["push"]["records"], 3);
    assert_ne!(device.hx(&["sync", "pull"]).code, 0);
    let failed = device.hx(&["status"]).succeeds();
    for part in ["last error", "pull failed (", "remedy"] {
        assert!(failed.out.contains(part), "{part}: {failed:?}");
    }
}
