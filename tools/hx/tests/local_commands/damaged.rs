//! A database with pages of garbage: what is said, what is found, what is saved, and that this is a way out.

use std::collections::BTreeSet;

use crate::device::Device;
use crate::exporting::incomplete;

const PAGE: usize = 4096;
const DATABASE: &str = ".local/share/hx/hx.db";

/// A device with some thousand commands, and the bytes of its sound database.
fn device() -> (Device, Vec<u8>) {
    let device = Device::new();
    let lines: String = (0..2_000)
        .map(|n| format!(": {}:0;echo number{n}\n", 1_700_000_000 + n))
        .collect();
    device.write(".zsh_history", lines);
    device.hx(&["import"]).succeeds();
    let sound = std::fs::read(device.path(DATABASE)).expect("the database");
    (device, sound)
}

/// Overwrites a page. Nothing else has the database open, so that there is no journal beside it.
fn damage(device: &Device, sound: &[u8], page: usize) {
    let mut bytes = sound.to_vec();
    bytes[page * PAGE..(page + 1) * PAGE].fill(0xa5);
    device.write(DATABASE, bytes);
}

/// The commands in a backup.
fn commands(backup: &str) -> BTreeSet<String> {
    let document: serde_json::Value = serde_json::from_str(backup).expect("a document");
    document["events"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|event| event["command"].as_str().expect("a text").to_owned())
        .collect()
}

#[test]
fn whichever_page_is_damaged_the_export_saves_the_rest() {
    let (device, sound) = device();
    let pages = sound.len() / PAGE;
    let file = device.name("hx-rescue.json");
    let mut n_partial = 0;
    for page in (0..14).chain([pages / 3, pages / 2, pages - 20, pages - 1]) {
        damage(&device, &sound, page);
        let ran = device.hx(&["export", "--force", "--file", &file]);
        assert!([0, 3].contains(&ran.code), "page {page}: {ran:?}");
        let saved = commands(&device.read("hx-rescue.json"));
        assert!(saved.len() > 1_800, "page {page}: {}", saved.len());
        // A page without use, or one that no export needs, may be damaged without notice.
        if saved.len() < 2_000 {
            assert_eq!(ran.code, 3, "page {page}: {ran:?}");
        }
        if ran.code == 3 {
            n_partial += 1;
            for part in [
                "is damaged",
                "records are there",
                "cannot be read",
                "hx import --file",
            ] {
                assert!(ran.err.contains(part), "page {page}: {part}: {ran:?}");
            }
        }
    }
    assert!(n_partial > 1, "no page had a record");
}

/// What a backup says of each command: itself and its time.
fn said(backup: &str) -> BTreeSet<(String, String)> {
    let document: serde_json::Value = serde_json::from_str(backup).expect("a document");
    let events = document["events"].as_array().expect("a list").iter();
    let text = |event: &serde_json::Value, field: &str| event[field].to_string();
    events
        .map(|event| (text(event, "command"), text(event, "time")))
        .collect()
}

#[test]
fn an_index_that_lies_is_damage_and_no_backup_is_wrong_in_silence() {
    const LEAF_OF_AN_INDEX: u8 = 10;
    let (device, sound) = device();
    let file = device.name("hx-rescue.json");
    device.hx(&["export", "--file", &file]).succeeds();
    let whole = said(&device.read("hx-rescue.json"));
    assert_eq!(whole.len(), 2_000);
    let leaves = (1..sound.len() / PAGE).filter(|page| sound[page * PAGE] == LEAF_OF_AN_INDEX);
    let mut n_told = 0;
    for page in leaves.step_by(4) {
        // The last bytes of a page are of its first entry.
        for end in [1, 4, 9] {
            let mut bytes = sound.clone();
            bytes[(page + 1) * PAGE - end] ^= 1;
            device.write(DATABASE, bytes);
            let ran = device.hx(&["export", "--force", "--file", &file]);
            let saved = said(&device.read("hx-rescue.json"));
            assert!(saved == whole || ran.code == 3, "page {page}: {ran:?}");
            let is_damaged = device.hx(&["status", "--verbose"]).code == 16;
            let is_told = ran.err.contains("is damaged");
            assert_eq!(is_damaged, is_told, "page {page}: {ran:?}");
            n_told += usize::from(is_told);
        }
    }
    assert!(n_told > 10, "{n_told} were told");
}

#[test]
fn status_names_the_damage_and_the_way_out_which_works() {
    let (device, sound) = device();
    // The first page, that of the tables' definitions, and one of the middle.
    for page in [0, sound.len() / PAGE / 2] {
        damage(&device, &sound, page);
        let ran = device.hx(&["status", "--verbose"]);
        assert_eq!(ran.code, 16, "{ran:?}");
        assert!(
            ran.out.contains("DAMAGED") && ran.out.contains("hx.db"),
            "{ran:?}"
        );
        assert!(
            ran.err.contains("hint: ") && ran.err.contains("hx export --file hx-rescue.json"),
            "{ran:?}"
        );
        let json = device.hx(&["status", "--verbose", "--json"]);
        assert_eq!(json.code, 16, "{json:?}");
        assert!(
            json.json()["damage"]
                .as_array()
                .is_some_and(|damage| !damage.is_empty()),
            "{json:?}"
        );

        let saved = device.hx(&["export", "--force", "--file", "hx-rescue.json"]);
        assert_eq!(saved.code, 3, "{saved:?}");
        let fresh = Device::new();
        incomplete(fresh.hx(&["import", "--file", &device.name("hx-rescue.json")]));
        assert!(fresh.ids(&["echo", "--limit", "3000"]).len() > 1_800);
    }
}

#[test]
fn a_search_finds_what_can_be_read_and_says_that_there_may_be_more() {
    let (device, sound) = device();
    let pages = sound.len() / PAGE;
    let mut n_damaged = 0;
    for page in (0..pages).step_by(9) {
        damage(&device, &sound, page);
        let ran = device.hx(&["find", "number7", "--limit", "5000"]);
        assert!([0, 1, 3, 16].contains(&ran.code), "page {page}: {ran:?}");
        if ran.err.contains("damaged") {
            n_damaged += 1;
            assert!(ran.out.contains("echo number7"), "page {page}: {ran:?}");
        } else {
            assert_eq!(ran.code, 0, "page {page}: {ran:?}");
        }
    }
    assert!(n_damaged > 0, "no page was looked at");
}

#[test]
fn the_standard_output_gets_a_whole_document_of_what_can_be_read() {
    let (device, sound) = device();
    damage(&device, &sound, sound.len() / PAGE / 2);
    let ran = device.hx(&["export", "--file", "-"]);
    assert!([0, 3].contains(&ran.code), "{ran:?}");
    assert!(commands(&ran.out).len() > 1_800);
}
