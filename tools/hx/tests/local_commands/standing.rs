//! What stands where an export is to go.

use std::os::unix::fs::PermissionsExt;

use crate::device::Device;

fn refused(device: &Device, name: &str, why: &str) {
    let before = device.read(name);
    let ran = device
        .hx(&["export", "--file", &device.name(name)])
        .fails(2, why);
    assert!(ran.err.contains("--force"), "{ran:?}");
    assert_eq!(device.read(name), before);
    assert!(
        device.entries().iter().all(|entry| !entry.contains("tmp")),
        "nothing is left beside it: {:?}",
        device.entries()
    );
}

#[test]
fn what_is_no_earlier_export_is_left_alone() {
    let device = Device::with_history();
    device.write(".zsh_history", ": 1700000900:0;hx does not have this\n");
    device.write("notes.json", "{\"mine\": true}");
    device.write("notes.csv", "a,b,c\n1,2,3\n");
    device.write("notes.md", "# Mine\n");
    refused(&device, ".zsh_history", "cannot be told who wrote it");
    for name in ["notes.json", "notes.csv", "notes.md"] {
        refused(&device, name, "no export of hx in this form");
    }
    // An empty file, as `mktemp` makes it, holds nothing that could be lost.
    device.write("empty.json", "");
    for name in [
        "empty.json",
        "empty.json",
        "new.csv",
        "new.csv",
        "new.md",
        "new.md",
    ] {
        device
            .hx(&["export", "--file", &device.name(name)])
            .succeeds();
    }
    let forced = device.hx(&["export", "--force", "--file", &device.name("notes.json")]);
    forced.succeeds();
    assert!(device.read("notes.json").contains("git status"));
}

#[test]
fn an_earlier_export_with_more_records_is_left_alone() {
    let device = Device::with_history();
    let file = device.name("backup.json");
    device.hx(&["export", "--file", &file]).succeeds();
    device.hx(&["export", "--file", &file]).succeeds();
    // A filter, and a database that was lost, both have less.
    let before = device.read("backup.json");
    let ran = device
        .hx(&["export", "--file", &file, "--before", "@1700000100"])
        .fails(2, "an export with 3 records, and there are only 1");
    assert!(ran.err.contains("--force"), "{ran:?}");
    let other = Device::new();
    other.write(".zsh_history", ": 1700000000:0;one\n");
    other.hx(&["import"]).succeeds();
    other.hx(&["export", "--file", &file]).fails(2, "3 records");
    assert_eq!(device.read("backup.json"), before);
    // With more it is replaced; forgetting adds a record and takes one away.
    device.write("more", ": 1700000300:0;make\n");
    device
        .hx(&["import", "--file", &device.name("more")])
        .succeeds();
    device
        .hx(&["forget", "--yes", "--match", "docker"])
        .succeeds();
    device.hx(&["export", "--file", &file]).succeeds();
    assert!(device.read("backup.json").contains("make"));
}

#[test]
fn a_link_stays_one_and_a_protected_file_as_it_is() {
    let device = Device::with_history();
    device
        .hx(&["export", "--file", &device.name("real.json")])
        .succeeds();
    std::os::unix::fs::symlink(device.path("real.json"), device.path("link.json")).expect("a link");
    device
        .hx(&["export", "--file", &device.name("link.json")])
        .succeeds();
    let link = std::fs::symlink_metadata(device.path("link.json")).expect("it is there");
    assert!(link.is_symlink());
    let protected = std::fs::Permissions::from_mode(0o444);
    std::fs::set_permissions(device.path("real.json"), protected).expect("permissions");
    refused(&device, "link.json", "write-protected");
}
