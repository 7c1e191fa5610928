//! `hx forget` and `hx pin`.

use crate::device::Device;

#[test]
fn nobody_is_asked_without_a_terminal_and_nothing_is_forgotten() {
    let device = Device::with_history();
    let ran = device.hx_reading(&["forget", "--match", "docker"], "y\n");
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(
        ran.out.contains("docker run") && ran.err.contains("--yes"),
        "{ran:?}"
    );
    assert_eq!(device.ids(&["docker"]).len(), 1);
}

#[test]
fn what_was_forgotten_does_not_come_back() {
    let device = Device::with_history();
    let id = device.ids(&["docker"]).remove(0);
    let ran = device.hx(&["forget", "--yes", &id[..8]]).succeeds();
    assert!(
        ran.out.contains("docker run") && ran.err.starts_with("forgot 1 command."),
        "{ran:?}"
    );
    assert_eq!(device.ids(&["docker"]).len(), 0);
    let again = device.hx(&["import"]).succeeds();
    let row = again.out.lines().nth(1).expect("a row");
    assert!(
        row.ends_with("3      0              2          1        0"),
        "{again:?}"
    );
    device
        .hx(&["forget", "--yes", &id])
        .fails(1, "no event has an id");
}

#[test]
fn a_rehearsal_shows_and_keeps() {
    let device = Device::with_history();
    let ran = device
        .hx(&["forget", "--dry-run", "--match", "git"])
        .succeeds();
    assert!(
        ran.out.contains("git status")
            && ran.err == "would forget 1 command; nothing was changed\n",
        "{ran:?}"
    );
    let report = device
        .hx(&["forget", "--json", "--dry-run", "--host", "box"])
        .succeeds()
        .json();
    assert_eq!(
        (
            report["forgotten"].as_u64(),
            report["events"].as_array().map(Vec::len)
        ),
        (Some(0), Some(3))
    );
    assert_eq!(device.ids(&[]).len(), 3);
}

#[test]
fn a_filter_alone_forgets_every_use() {
    let device = Device::new();
    let file = device.write("h", ": 1700000000:0;ls\n: 1700000001:0;ls\n");
    device
        .hx(&["import", "--file", &file, "--host", "a"])
        .succeeds();
    device
        .hx(&["import", "--file", &file, "--host", "b"])
        .succeeds();
    device
        .hx(&["forget", "--yes", "--match", "ls", "--host", "a"])
        .succeeds();
    assert_eq!(device.ids(&["--all"]).len(), 2);
    assert_eq!(device.ids(&["--all", "--host", "a"]).len(), 0);
}

#[test]
fn an_order_to_forget_that_says_nothing_is_refused() {
    let device = Device::with_history();
    device
        .hx(&["forget", "--yes"])
        .fails(2, "nothing says what to forget");
    device
        .hx(&["forget", "--yes", "--match", " "])
        .fails(2, "empty --match");
    device.hx(&["forget", "--yes", "xyz"]).fails(2, "xyz");
    device
        .hx(&["forget", "--yes", "abc", "--match", "x"])
        .misused("cannot be used with");
    let ran = device.hx(&["forget", "--yes", "--match", "nothing"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (1, "no command matches, so nothing was forgotten\n")
    );
    assert_eq!(device.ids(&[]).len(), 3);
}

#[test]
fn a_pin_is_set_listed_and_taken_away() {
    let device = Device::with_history();
    let id = device.ids(&["git"]).remove(0);
    assert_eq!(
        device.hx(&["pin", "--list"]).succeeds().err,
        "nothing is pinned\n"
    );
    assert_eq!(
        device.hx(&["pin", &id]).succeeds().err,
        "pinned: git status\n"
    );
    assert_eq!(
        device.hx(&["pin", &id[..8]]).succeeds().err,
        "was pinned already: git status\n"
    );
    assert!(
        device
            .hx(&["pin", "--list"])
            .succeeds()
            .out
            .contains("pinned")
    );
    assert_eq!(device.ids(&["--pinned"]), std::slice::from_ref(&id));
    let changed = device
        .hx(&["pin", "--remove", "--json", &id])
        .succeeds()
        .json();
    assert_eq!(
        (
            changed[0]["pinned"].as_bool(),
            changed[0]["changed"].as_bool()
        ),
        (Some(false), Some(true))
    );
    assert_eq!(device.ids(&["--pinned"]).len(), 0);
}

#[test]
fn a_pin_needs_an_event() {
    let device = Device::with_history();
    device.hx(&["pin"]).misused("<ID>");
    device.hx(&["pin", "0000"]).fails(1, "no event has an id");
    device.hx(&["pin", "xyz"]).fails(2, "hexadecimal");
    device
        .hx(&["pin", "--list", "abc"])
        .misused("cannot be used with");
    let empty = Device::new();
    empty.hx(&["pin", "--list"]).fails(1, "no history");
    assert_eq!(empty.entries(), [""; 0]);
}

#[test]
fn what_was_pinned_and_is_forgotten_counts_no_more() {
    let device = Device::with_history();
    let id = device.ids(&["git"]).remove(0);
    device.hx(&["pin", &id]).succeeds();
    let pins = || device.hx(&["status", "--json"]).succeeds().json()["history"]["pins"].clone();
    assert_eq!(pins(), 1);
    device.hx(&["forget", "--yes", &id]).succeeds();
    assert_eq!(pins(), 0);
}

#[test]
fn devices_that_forgot_the_same_come_to_say_the_same_of_it() {
    let tombstones = |device: &Device| {
        let export = device.hx(&["export", "--file", "-", "--format", "json"]);
        let mut said = export.succeeds().json()["tombstones"].clone();
        let said = said.as_array_mut().expect("a list");
        said.sort_by_key(ToString::to_string);
        assert!(!said.is_empty());
        said.clone()
    };
    // Whoever forgot first, and whoever syncs first.
    for (forgets, syncs) in [([0, 1], [0, 1, 0]), ([0, 1], [1, 0, 1])] {
        let mut devices = [Device::with_history(), Device::with_history()];
        let store = format!("folder:{}", devices[0].name("store"));
        for device in &mut devices {
            device.set("HX_SYNC_PASSPHRASE", "correct horse battery staple");
            device.hx(&["sync", "init", "--store", &store]).succeeds();
            device.hx(&["sync"]).succeeds();
        }
        for n in forgets {
            let forget = ["forget", "--yes", "--match", "hunter2secret"];
            devices[n].hx(&forget).succeeds();
        }
        let first = tombstones(&devices[0]);
        assert_ne!(first, tombstones(&devices[1]));
        for n in syncs {
            devices[n].hx(&["sync"]).succeeds();
        }
        let mut joiner = Device::new();
        joiner.set("HX_SYNC_PASSPHRASE", "correct horse battery staple");
        joiner.hx(&["sync", "init", "--store", &store]).succeeds();
        joiner.hx(&["sync"]).succeeds();
        for device in devices.iter().chain([&joiner]) {
            assert_eq!(tombstones(device), first, "{syncs:?}");
            let idle = device.hx(&["sync", "push"]).succeeds();
            assert!(!idle.out.contains("Pushed"), "{idle:?}");
        }
    }
}
