//! Texts that changed where nobody meant them to: in the database, and in an export.

use crate::device::Device;

const DATABASE: &str = ".local/share/hx/hx.db";

/// Changes a text within the database, as a bad disk does: no page is out of order.
fn alter(device: &Device, text: &str, to: &str) {
    assert_eq!(text.len(), to.len());
    let mut bytes = std::fs::read(device.path(DATABASE)).expect("the database");
    let at = bytes
        .windows(text.len())
        .position(|window| window == text.as_bytes())
        .expect("it is there once");
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    device.write(DATABASE, bytes);
}

#[test]
fn a_text_that_changed_in_the_database_is_neither_believed_nor_passed_on() {
    let device = Device::with_history();
    alter(&device, "git status", "git stasis");
    let store = format!("folder:{}", device.name("store"));
    let status = device.hx(&["status", "--verbose"]);
    assert_eq!(status.code, 16, "{status:?}");
    assert!(
        status.out.contains("not what they were") || status.err.contains("not what they were"),
        "{status:?}"
    );
    // That it is there already would be a lie.
    let again = device.hx(&["import"]);
    again.fails(16, "not what it was when it was stored");
    let mut device = device;
    device.set("HX_SYNC_PASSPHRASE", "correct horse battery staple");
    let init = device.hx(&["sync", "init", "--store", &store]);
    let push = device.hx(&["sync", "push"]);
    assert!(init.code == 16 || push.code == 16, "{init:?} {push:?}");
    // What can be read is saved, and only that.
    let saved = device.hx(&["export", "--file", &device.name("rescue.json")]);
    assert_eq!(saved.code, 3, "{saved:?}");
    let rescued = device.read("rescue.json");
    assert!(
        rescued.contains("docker") && !rescued.contains("git sta"),
        "{rescued}"
    );
}

#[test]
fn what_is_left_of_a_database_that_was_cut_is_no_empty_one() {
    let device = Device::with_history();
    let bytes = std::fs::read(device.path(DATABASE)).expect("the database");
    device.write(DATABASE, &bytes[..50]);
    let status = device.hx(&["status", "--verbose"]);
    assert!(
        status.code == 16 && status.err.contains("only 50 bytes"),
        "{status:?}"
    );
    for line in [
        &["find", "git"][..],
        &["export", "--file", "-"],
        &["import"],
    ] {
        device.hx(line).fails(16, "only 50 bytes");
    }
    assert_eq!(
        std::fs::read(device.path(DATABASE)).expect("the database"),
        &bytes[..50]
    );
}

#[test]
fn an_edited_command_of_an_export_does_not_take_the_place_of_what_it_was() {
    let device = Device::with_history();
    let file = device.name("backup.jsonl");
    device.hx(&["export", "--file", &file]).succeeds();
    let edited: String = device
        .read("backup.jsonl")
        .lines()
        .filter(|line| !line.contains("\"type\":\"end\""))
        .map(|line| line.replace("\"has_end\":true", "\"has_end\":false"))
        .map(|line| line.replace("hunter2secret", "XXX") + "\n")
        .collect();
    let other = Device::new();
    let edited = other.write("edited.jsonl", edited);
    let first = other.hx(&["import", "--file", &edited]).succeeds();
    assert!(
        first.out.contains("1 command is not what was exported"),
        "{first:?}"
    );
    let again = other.hx(&["import", "--file", &edited]).succeeds();
    assert!(
        again.err.contains("3 were there already") || again.out.contains("3 were there already"),
        "{again:?}"
    );
    // What it was comes in all the same, beside it.
    let whole = other.write(".zsh_history", crate::device::ZSH);
    other.hx(&["import", "--file", &whole]).succeeds();
    assert_eq!(
        other.ids(&["hunter2secret"]),
        device.ids(&["hunter2secret"])
    );
    assert_eq!(other.ids(&["XXX"]).len(), 1);
    // An export of all that is known again.
    let copy = other.name("copy.json");
    other.hx(&["export", "--file", &copy]).succeeds();
    let third = Device::new();
    let ran = third.hx(&["import", "--file", &copy]).succeeds();
    assert!(!ran.err.contains("not what was exported"), "{ran:?}");
    assert_eq!(third.ids(&["XXX"]), other.ids(&["XXX"]));
}
