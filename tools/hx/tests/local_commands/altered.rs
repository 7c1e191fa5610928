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

/// Changes the database behind the back of hx.
fn change(device: &Device, sql: &str) {
    let database = rusqlite::Connection::open(device.path(DATABASE)).expect("opens");
    database.execute_batch(sql).expect("it is a statement");
}

#[test]
fn a_command_whose_machine_or_directory_is_missing_is_damage_and_is_saved_without_it() {
    let changes = [
        "UPDATE records SET host = 99 WHERE seq = 2",
        "UPDATE records SET cwd = 99 WHERE seq = 2",
        "UPDATE records SET session = 99 WHERE seq = 2",
        "UPDATE records SET shell = 99 WHERE seq = 2",
        "UPDATE records SET actor = 99 WHERE seq = 2",
        "DELETE FROM strings",
        "DROP TABLE strings",
    ];
    for sql in changes {
        let mut device = Device::with_history();
        device.set("HX_SYNC_PASSPHRASE", "correct horse battery staple");
        let store = format!("folder:{}", device.name("store"));
        device.hx(&["sync", "init", "--store", &store]).succeeds();
        change(&device, sql);
        let status = device.hx(&["status", "--verbose"]);
        assert_eq!(status.code, 16, "{sql}: {status:?}");
        let way_out = "hx export --file hx-rescue.json";
        assert!(status.err.contains(way_out), "{sql}: {status:?}");
        device.hx(&["sync", "push"]).fails(16, way_out);
        // What is new would be given the number of what is missing.
        let news = device.write("news", ": 1800000000:0;echo news\n");
        let import = ["import", "--file", &news, "--host", "elsewhere"];
        device.hx(&import).fails(16, way_out);
        let found = device.hx(&["find", "docker"]);
        assert_eq!(found.code, 3, "{sql}: {found:?}");
        assert!(found.out.contains("docker"), "{sql}: {found:?}");
        let saved = device.hx(&["export", "--file", &device.name("rescue.json")]);
        assert_eq!(saved.code, 3, "{sql}: {saved:?}");
        let lost = "lost its directory, machine, shell or session";
        assert!(saved.err.contains(lost), "{sql}: {saved:?}");
        let rescued = device.read("rescue.json");
        for command in ["git status", "docker", "hunter2secret"] {
            assert!(rescued.contains(command), "{sql}: {rescued}");
        }
    }
}

#[test]
fn an_index_of_some_rows_that_has_one_too_many_is_named() {
    for index in ["records_command", "records_time", "records_other"] {
        let device = Device::with_history();
        let forget = ["forget", "--yes", "--match", "hunter2secret"];
        device.hx(&forget).succeeds();
        // While SQLite does not know of the index a row goes away, and the entry stays.
        let sql = format!(
            "CREATE TEMP TABLE kept AS SELECT * FROM sqlite_schema WHERE name = '{index}';
             PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = '{index}'; PRAGMA writable_schema = RESET;
             DELETE FROM records WHERE seq = (SELECT max(seq) FROM records WHERE (kind = 1) = ('{index}' <> 'records_other'));
             PRAGMA writable_schema = ON; INSERT INTO sqlite_schema SELECT * FROM kept; PRAGMA writable_schema = RESET;"
        );
        change(&device, &sql);
        let status = device.hx(&["status", "--verbose"]);
        assert_eq!(status.code, 16, "{index}: {status:?}");
        let said = format!("its index {index} does not say");
        assert!(status.err.contains(&said), "{index}: {status:?}");
    }
}
