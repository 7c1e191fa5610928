//! The ways in which the application's own tool loses data, by their numbers in our list of them: none of them happens here.
//!
//! Number 4 (the old path is lost) and 8 (companions are never tried again) are the crash tests, 6 (resuming is void) the state tests, 7 (no
//! verification) the traps, 9 (the row is not compared) and 18 (no lock) the failures.

use std::fs;
use std::path::Path;
use std::time::Duration;

use testkit::{Rule, ScriptedProxy};

use crate::failures::until;
use crate::world::{BUCKET, Ended, Site};

#[test]
fn defect_1_a_missing_file_undoes_nothing_and_destroys_nothing() {
    let site = Site::new(10);
    let lost = &site.fleet.documents[3];
    fs::remove_file(&lost.file).expect("removes");
    let before = site.moment();
    site.run(&["--delete-local", "--enable-rollback"])
        .assert_code(2);
    site.run(&["--enable-rollback"])
        .assert_code(3)
        .assert_says(&["missing", &lost.id]);
    assert_eq!(site.switched(), 9);
    before
        .tree
        .assert_same(&site.moment().tree, "no file is touched");
}

#[test]
fn defect_2_there_is_no_cap() {
    let site = Site::new(1_100);
    let report = site.run(&["--json"]).assert_code(0).json();
    assert_eq!(site.switched(), 1_100, "{:#}", report["this_time"]);
}

#[test]
fn defect_3_failures_show_in_the_exit_code_and_the_report() {
    let site = Site::new(5);
    fs::remove_file(&site.fleet.documents[0].file).expect("removes");
    let path = site.folder().join("report.json");
    site.run(&["--report", &path.display().to_string()])
        .assert_code(3);
    let report: serde_json::Value =
        serde_json::from_slice(&fs::read(path).expect("reads")).expect("JSON");
    assert_eq!(
        report["exceptions"][0]["item"],
        format!("documents/{}", site.fleet.documents[0].id)
    );
    assert_eq!(report["exit_code"], 3);
}

#[test]
fn defect_5_every_run_keeps_its_own_state() {
    let site = Site::new(12);
    let before = site.moment();
    for _ in 0..3 {
        site.run(&["--limit", "4"]).assert_code(0);
    }
    assert_eq!(site.switched(), 12);
    assert_eq!(site.journals().len(), 3);
    for _ in 0..3 {
        site.run(&["--rollback"]).assert_code(0);
    }
    before.assert_same(&site.moment(), "after three rollbacks");
}

#[test]
fn defect_10_a_retry_meets_its_own_object() {
    let site = Site::new(6);
    site.run(&[]).assert_code(0);
    let first = site.moment().bucket;
    // Rows go back without a rollback, as from a backup of the database.
    for document in &site.fleet.documents {
        site.sql(&format!(
            "UPDATE documents SET file_path = '{}' WHERE id = '{}'",
            document.path, document.id
        ));
    }
    let report = site.run(&["--json"]).assert_code(0).json();
    assert_eq!(report["this_time"]["stored"], 0, "{report:#}");
    first.assert_same(&site.moment().bucket, "no second object");
}

/// The most memory a process has used, in kB.
fn peak_kb(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn defect_11_memory_does_not_grow_with_the_file() {
    let site = Site::new(3);
    let big = &site.fleet.documents[0];
    let bytes: u64 = 400 << 20;
    let file = fs::File::options()
        .write(true)
        .open(&big.file)
        .expect("opens");
    file.set_len(bytes).expect("a sparse file");
    site.sql(&format!(
        "UPDATE documents SET file_size = {bytes}, file_hash = NULL WHERE id = '{}'",
        big.id
    ));
    let mut command = site.command(&[]);
    command
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    let mut child = command.spawn().expect("starts");
    let mut peak = 0;
    while child.try_wait().expect("is there").is_none() {
        peak = peak.max(peak_kb(child.id()).unwrap_or(0));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(child.wait().expect("is there").success());
    assert!((10_000..128_000).contains(&peak), "the peak was {peak} kB");
    assert_eq!(
        fs::metadata(site.s3.root().join(BUCKET).join(big.key()))
            .expect("is there")
            .len(),
        bytes
    );
}

fn behind(site: &mut Site) -> ScriptedProxy {
    let proxy = ScriptedProxy::in_front_of(site.s3.address());
    site.through(proxy.endpoint());
    proxy
}

fn grow(site: &Site, document: usize, bytes: u64) {
    let big = &site.fleet.documents[document];
    fs::File::options()
        .write(true)
        .open(&big.file)
        .expect("opens")
        .set_len(bytes)
        .expect("grows");
    site.sql(&format!(
        "UPDATE documents SET file_size = {bytes}, file_hash = NULL WHERE id = '{}'",
        big.id
    ));
}

/// Uploads in parts that were begun and neither completed nor given up.
fn unfinished(site: &Site) -> Vec<String> {
    let bucket = site.moment().bucket;
    let names = bucket
        .names()
        .filter(|name| name.starts_with("(unfinished)"));
    names.map(str::to_owned).collect()
}

#[test]
fn defect_12_no_upload_in_parts_is_left_behind() {
    let mut site = Site::new(2);
    grow(&site, 0, 20 << 20);
    let before = site.moment();
    let proxy = behind(&mut site);
    proxy.add(
        Rule::s3_error(403, "AccessDenied", "Access Denied")
            .method("PUT")
            .target("partNumber=2"),
    );
    site.run(&["--multipart-threshold", "6MB"]).assert_code(13);
    proxy.clear();
    site.run(&["--resume", "--multipart-threshold", "6MB"])
        .assert_code(0);
    assert_eq!(unfinished(&site), Vec::<String>::new());
    site.run(&["--verify-state", "--full"]).assert_code(0);
    site.run(&["--rollback"]).assert_code(0);
    before.assert_same(&site.moment(), "after the rollback");
}

#[test]
fn defect_12_an_upload_in_parts_that_was_cut_off_is_given_up() {
    let mut site = Site::new(2);
    // Two parts: one arrives, one never does.
    grow(&site, 0, 12 << 20);
    let proxy = behind(&mut site);
    proxy.add(
        Rule::new(testkit::Action::Stall)
            .method("PUT")
            .target("partNumber=2"),
    );
    let mut command = site.command(&["--multipart-threshold", "6MB"]);
    let mut child = command
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("starts");
    let was_seen = |method: &str, parts: [&str; 2]| {
        proxy.requests().iter().any(|seen| {
            seen.method == method && parts.iter().all(|part| seen.target.contains(part))
        })
    };
    // The probe's upload in parts is no document's: this server lists none, so nobody would find it again.
    until("the first part, and the end of the probe", || {
        was_seen("PUT", ["partNumber=1", "/documents/"])
            && was_seen("DELETE", ["uploadId=", "/.syncline/probe"])
    });
    child.kill().expect("is killed");
    child.wait().expect("is gone");
    // What was under way may still arrive, as with any store.
    until("nothing is under way", || proxy.is_idle());
    proxy.clear();
    assert!(
        site.moment()
            .bucket
            .names()
            .any(|name| name.starts_with("(unfinished)"))
    );
    site.run(&["--rollback"]).assert_code(0);
    let bucket = site.moment().bucket;
    assert_eq!(bucket.names().collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn defect_13_what_cannot_help_is_not_tried_again() {
    let mut site = Site::new(30);
    let proxy = behind(&mut site);
    proxy.add(
        Rule::s3_error(403, "AccessDenied", "Access Denied")
            .method("PUT")
            .target("/documents/"),
    );
    site.run(&["--parallel-uploads", "4"])
        .assert_code(13)
        .assert_says(&["AccessDenied"]);
    let tried = proxy
        .requests()
        .iter()
        .filter(|seen| seen.method == "PUT" && seen.target.contains("/documents/"))
        .count();
    assert!(tried <= 8, "{tried} requests although the first said no");
}

#[test]
fn defect_14_and_15_companions_and_other_tables_go_along() {
    let site = Site::with_traps(20);
    site.run(&[]).assert_code(3);
    let bucket = site.moment().bucket;
    for trap in site
        .traps
        .iter()
        .filter(|trap| ["flat-relative", "bare-name"].contains(&trap.name))
    {
        let thumbnail = format!("{}_thumb.jpg", trap.id);
        assert!(
            bucket
                .names()
                .any(|key| key.starts_with("thumbnails/") && key.ends_with(&thumbnail)),
            "{}",
            trap.name
        );
    }
    let only_here =
        site.sql("SELECT count(*) FROM failed_documents WHERE file_path NOT LIKE 's3://%'");
    assert_eq!(only_here, "0", "files that only failed_documents names");
}

#[test]
fn defect_16_paths_of_a_container_are_found_on_the_host() {
    let site = Site::shown_as(10, "/app/uploads");
    let before = site.moment();
    let map = format!("/app/uploads={}", site.fleet.uploads.display());
    for what in [&[][..], &["--dry-run"], &["--audit-files"]] {
        site.run(what).assert_code(4).assert_says(&[
            "/app/uploads is no directory",
            "hint:",
            "--path-map",
        ]);
    }
    before.assert_same(&site.moment(), "without the map nothing is begun");
    site.run(&["--path-map", &map]).assert_code(0);
    assert_eq!(site.switched(), 10);
    site.run(&["--rollback", "--path-map", &map]).assert_code(0);
    before.assert_same(&site.moment(), "after the rollback");
}

#[test]
fn defect_17_no_other_column_is_touched() {
    let site = Site::new(10);
    let rows = "SELECT id, md5((to_jsonb(d) - 'file_path')::text) FROM documents d ORDER BY id";
    let before = site.sql(rows);
    site.run(&[]).assert_code(0);
    assert_eq!(site.sql(rows), before, "updated_at and all the rest");
}

#[test]
fn defect_19_checksum_headers_can_be_switched_off() {
    let mut site = Site::new(5);
    let proxy = behind(&mut site);
    site.run(&["--no-checksum-headers"]).assert_code(0);
    let told: Vec<String> = proxy
        .requests()
        .iter()
        .flat_map(|seen| seen.headers.clone())
        .map(|(name, _)| name.to_lowercase())
        .filter(|name| name.contains("checksum"))
        .collect();
    assert!(told.is_empty(), "{told:?}");
    site.run(&["--verify-state", "--full"]).assert_code(0);
}

#[test]
fn defect_19_a_store_that_refuses_checksum_headers_is_read_back() {
    let mut site = Site::new(5);
    let proxy = behind(&mut site);
    let refused = Rule::s3_error(400, "InvalidArgument", "Unsupported header")
        .method("PUT")
        .header("x-amz-checksum-sha256", "");
    proxy.add(refused);
    site.run(&[]).assert_code(0);
    let read = proxy
        .requests()
        .iter()
        .filter(|seen| seen.method == "GET" && seen.target.contains("/documents/"))
        .count();
    assert_eq!(read, 5, "each document is read back");
    assert_eq!(site.switched(), 5);
}

#[test]
fn a_mapping_of_another_name_is_refused_with_its_reason() {
    let site = Site::new(1);
    let path = site.folder().join("mapping.toml");
    fs::write(&path, "name = 'x'\n").expect("writes");
    let arguments = ["--mapping", path.to_str().expect("a path")];
    Ended::of(site.command(&arguments), &arguments)
        .assert_code(4)
        .assert_says(&["mapping"]);
    assert!(Path::new(&path).exists());
}

#[test]
fn what_is_in_the_way_is_named() {
    let site = Site::new(3);
    let document = &site.fleet.documents[0];
    let object = site.s3.root().join(BUCKET).join(document.key());
    fs::create_dir_all(object.parent().expect("a folder")).expect("makes");
    fs::write(&object, b"something else").expect("writes");
    let file = document.file.display().to_string();
    for arguments in [&["--dry-run"][..], &[]] {
        site.run(arguments).assert_code(3).assert_says(&[
            "clash",
            &document.key(),
            &file,
            "another row",
        ]);
    }
    assert_eq!(fs::read(&object).expect("reads"), b"something else");
    fs::remove_file(&object).expect("removes");
    // The same on the way back: a directory, and a link that leads to itself.
    site.run(&[]).assert_code(0);
    site.delete_source(&site.latest(), &[]).assert_code(0);
    fs::create_dir(&document.file).expect("makes");
    fs::write(document.file.join("x"), b"x").expect("writes");
    let back = site.run(&["--direction", "s3-to-local"]).assert_code(3);
    assert!(
        back.out.contains("a directory has the name"),
        "{}",
        back.all()
    );
    fs::remove_dir_all(&document.file).expect("removes");
    site.run(&["--direction", "s3-to-local"]).assert_code(0);
    fs::remove_file(&document.file).expect("removes");
    std::os::unix::fs::symlink(&document.file, &document.file).expect("links");
    let circle = site.run(&["--audit-files"]).assert_code(3);
    assert!(circle.out.contains("leads in a circle"), "{}", circle.all());
}

#[test]
fn a_place_that_takes_no_journal_is_said() {
    let site = Site::new(1);
    let ended = site.run(&["--state-dir", "/proc"]);
    assert!(
        !ended.err.contains("there is no journal"),
        "{}",
        ended.all()
    );
    ended.assert_says(&["could not be used", "--state-dir"]);
}

#[test]
fn what_is_undone_is_not_told_to_be_undone() {
    let (site, proxy) = crate::failures::behind_a_proxy(3);
    let flip = testkit::Action::Edit(std::sync::Arc::new(
        |answer: &mut testkit::proxy::http::Message| {
            if let Some(byte) = answer.body.first_mut() {
                *byte ^= 1;
            }
        },
    ));
    proxy.add(testkit::Rule::new(flip).method("GET").target("/documents/"));
    let ended = site
        .run(&["--verify", "readback", "--enable-rollback"])
        .assert_code(16);
    assert!(!ended.err.contains("roll the run back"), "{}", ended.all());
}

#[test]
fn a_run_between_buckets_that_is_taken_up_by_itself_is_named_with_its_target() {
    let site = Site::new(2);
    site.run(&[]).assert_code(0);
    site.s3.create_bucket("other");
    let target = site.s3.store_url("other", "");
    site.run(&["--direction", "s3-to-s3", "--target", &target])
        .assert_code(0);
    let run = site.journals()[1].with_extension("json");
    let undo = format!("--rollback {} --target", run.display());
    site.run(&["--rollback"])
        .assert_code(2)
        .assert_says(&["copied into", "other", &undo]);
}
