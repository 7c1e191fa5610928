//! Indexes in which a bit changed: nothing that was forgotten comes back, and nothing is added twice, because one was believed.

use crate::device::{Device, Ran};

const PAGE: usize = 4096;
const DATABASE: &str = ".local/share/hx/hx.db";

/// A device with 300 commands, of which it forgot one, and the bytes of its sound database.
fn device() -> (Device, Vec<u8>) {
    let device = Device::new();
    let lines: String = (0..300)
        .map(|n| format!(": {}:0;echo number{n}\n", 1_700_000_000 + 7 * n))
        .collect();
    device.write(".zsh_history", lines);
    device.hx(&["import"]).succeeds();
    let forget = ["forget", "--yes", "--match", "number77"];
    device.hx(&forget).succeeds();
    let sound = std::fs::read(device.path(DATABASE)).expect("the database");
    (device, sound)
}

/// What the table of records has, however it is looked at: its rows, and how many of them are the forgotten command's.
fn rows(device: &Device) -> (i64, i64) {
    let database = rusqlite::Connection::open(device.path(DATABASE)).expect("opens");
    let sql = "SELECT count(*), count(*) FILTER (WHERE command IN (SELECT id FROM commands NOT INDEXED WHERE text LIKE '%number77'))
               FROM records NOT INDEXED";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    database
        .query_row(sql, [], read)
        .expect("the table is sound")
}

/// Where the pages of indexes begin, of each index its first few.
fn index_pages(device: &Device) -> Vec<usize> {
    let database = rusqlite::Connection::open(device.path(DATABASE)).expect("opens");
    let sql = "SELECT pageno FROM (SELECT d.pageno, row_number() OVER (PARTITION BY d.name ORDER BY d.pageno) AS nth
               FROM dbstat d JOIN sqlite_schema s ON s.name = d.name WHERE s.type = 'index' AND s.tbl_name IN ('records', 'commands', 'strings'))
               WHERE nth <= 3 ORDER BY pageno";
    let mut select = database.prepare(sql).expect("a query");
    let pages = select
        .query_map([], |row| row.get::<_, i64>(0))
        .expect("pages");
    pages
        .map(|page| (usize::try_from(page.expect("a page")).expect("small") - 1) * PAGE)
        .collect()
}

/// Runs `act` once for each of many places in the indexes of which one bit was changed; says how often it was refused.
fn each_flip(device: &Device, sound: &[u8], mut act: impl FnMut() -> Ran) -> usize {
    let before = rows(device);
    let mut n_refused = 0;
    for page in index_pages(device) {
        // The head of the page, the first places of its entries, and its last entries' bytes.
        let places = [3, 4, 9, 15]
            .into_iter()
            .chain((1..60).step_by(7).map(|end| PAGE - end));
        for (nth, place) in places.enumerate() {
            let mut bytes = sound.to_vec();
            bytes[page + place] ^= 1 << (nth % 8);
            device.write(DATABASE, bytes);
            let ran = act();
            assert!([0, 16].contains(&ran.code), "{place} of {page}: {ran:?}");
            assert_eq!(rows(device), before, "{place} of {page}: {ran:?}");
            n_refused += usize::from(ran.code == 16);
        }
    }
    n_refused
}

#[test]
fn an_import_believes_no_index_in_which_a_bit_changed() {
    let (device, sound) = device();
    let refused = each_flip(&device, &sound, || device.hx(&["import"]));
    assert!(refused > 20, "{refused} were refused");
}

#[test]
fn an_import_with_news_is_refused_whichever_index_lies() {
    let (device, sound) = device();
    let file = device.write("news", ": 1800000000:0;echo news\n");
    for page in index_pages(&device) {
        let mut bytes = sound.clone();
        bytes[page + PAGE - 1] ^= 1;
        device.write(DATABASE, bytes);
        let ran = device.hx(&["import", "--file", &file]);
        if device.hx(&["status", "--verbose"]).code == 16 {
            ran.fails(16, "hx export --file hx-rescue.json");
        }
    }
    device.write(DATABASE, sound);
    device.hx(&["import", "--file", &file]).succeeds();
}

#[test]
fn a_pull_that_applies_something_believes_none_either() {
    let (mut device, _) = device();
    device.set("HX_SYNC_PASSPHRASE", "correct horse battery staple");
    let store = format!("folder:{}", device.name("store"));
    device.hx(&["sync", "init", "--store", &store]).succeeds();
    device.hx(&["sync"]).succeeds();
    let mut other = Device::new();
    other.set("HX_SYNC_PASSPHRASE", "correct horse battery staple");
    // What the first one forgets is in the store until its next push, and in the other's copy of it.
    other.hx(&["sync", "init", "--store", &store]).succeeds();
    other.hx(&["sync", "pull"]).succeeds();
    other.write("more", ": 1800000000:0;echo more\n");
    let more = other.name("more");
    other.hx(&["import", "--file", &more]).succeeds();
    other.hx(&["sync"]).succeeds();
    let sound = std::fs::read(device.path(DATABASE)).expect("the database");
    let refused = each_flip(&device, &sound, || {
        let ran = device.hx(&["sync", "pull"]);

        // What came in is what the other one wrote, once.
        if ran.code == 0 {
            assert_eq!(rows(&device), (301, 0), "{ran:?}");
            device.write(DATABASE, &sound);
        }
        ran
    });
    assert!(refused > 10, "{refused} were refused");
    device.write(DATABASE, &sound);
    let pulled = device.hx(&["sync", "pull"]).succeeds();
    assert!(pulled.out.contains("Pulled 1 record"), "{pulled:?}");
}

/// Puts another number in the place of a row's in the table of records: one byte where SQLite has it, and no index knows.
fn renumber(device: &Device, from: u8, to: u8) {
    let database = rusqlite::Connection::open(device.path(DATABASE)).expect("opens");
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'records'";
    let root: i64 = database.query_row(sql, [], |row| row.get(0)).expect("it");
    drop(database);
    let mut bytes = std::fs::read(device.path(DATABASE)).expect("the database");
    let page = (usize::try_from(root).expect("small") - 1) * PAGE;
    assert_eq!(bytes[page], 0x0d, "all rows lie on one page");
    let pair = |at: usize| usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
    let cells = (0..pair(page + 3)).map(|nth| page + pair(page + 8 + 2 * nth));
    let number = |cell: usize| cell + 1 + usize::from(bytes[cell] >= 0x80);
    let places: Vec<usize> = cells.map(number).filter(|at| bytes[*at] == from).collect();
    assert_eq!(places.len(), 1, "{from} is a row's number");
    bytes[places[0]] = to;
    device.write(DATABASE, bytes);
}

#[test]
fn a_push_publishes_nothing_of_a_table_with_a_row_out_of_its_place() {
    let mut device = Device::new();
    device.set("HX_SYNC_PASSPHRASE", "correct horse battery staple");
    let store = format!("folder:{}", device.name("store"));
    let lines = |from: u64, to: u64| -> String {
        let line = |n| format!(": {}:0;echo n{n}\n", 1_700_000_000 + n);
        (from..to).map(line).collect()
    };
    device.write(".zsh_history", lines(0, 8));
    device.hx(&["import"]).succeeds();
    device.hx(&["sync", "init", "--store", &store]).succeeds();
    device.hx(&["sync"]).succeeds();
    device.write(".zsh_history", lines(0, 11));
    device.hx(&["import"]).succeeds();
    device.hx(&["forget", "--yes", "--match", "n3"]).succeeds();
    let sound = std::fs::read(device.path(DATABASE)).expect("the database");
    let objects = || all_below(&device.path("store"));
    let before = objects();
    // The last is what says that a command was forgotten.
    for (from, to) in [(9, 8), (10, 2), (10, 74), (11, 15), (12, 4), (12, 76)] {
        renumber(&device, from, to);
        for line in [
            &["sync"][..],
            &["sync", "push"],
            &["sync", "push", "--full"],
        ] {
            let ran = device.hx(line);
            assert_eq!(ran.code, 16, "{from} as {to}: {line:?}: {ran:?}");
            assert!(
                ran.err.contains("hx export --file hx-rescue.json"),
                "{ran:?}"
            );
            assert_eq!(objects(), before, "{from} as {to}: {line:?}");
        }
        device.write(DATABASE, &sound);
    }
    let pushed = device.hx(&["sync", "push"]).succeeds();
    assert!(pushed.out.contains("Pushed 4 records"), "{pushed:?}");
    // The only one that is pending, where it seems that none is.
    let news = device.write("news", ": 1800000000:0;echo news\n");
    device.hx(&["import", "--file", &news]).succeeds();
    renumber(&device, 13, 5);
    let ran = device.hx(&["sync"]);
    assert_eq!(ran.code, 16, "{ran:?}");
}

/// What lies below a directory, by name and size.
fn all_below(path: &std::path::Path) -> Vec<(std::path::PathBuf, u64)> {
    let mut found = vec![];
    for entry in std::fs::read_dir(path).expect("a directory") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => found.extend(all_below(&path)),
            false => {
                let size = std::fs::metadata(&path).expect("a file").len();
                found.push((path, size));
            }
        }
    }
    found.sort();
    found
}
