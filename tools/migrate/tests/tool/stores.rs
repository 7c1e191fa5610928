//! Stores that lie, refuse one object, alter one, or cannot be addressed.
//!
//! What must hold: one object's trouble is that of its document; what this run made is taken back, or named.

use testkit::{Action, Rule};

use crate::failures::behind_a_proxy;
use crate::world::{BUCKET, Ended, Site};

#[test]
fn an_object_that_came_out_wrong_undoes_the_run() {
    let (site, proxy) = behind_a_proxy(8);
    let before = site.moment();
    // The server lies: it took the object, and gives other bytes back.
    let flip = Action::Edit(std::sync::Arc::new(
        |answer: &mut testkit::proxy::http::Message| {
            if let Some(byte) = answer.body.first_mut() {
                *byte ^= 1;
            }
        },
    ));
    proxy.add(Rule::new(flip).method("GET").target("/documents/"));
    let ended = site
        .run(&["--verify", "readback", "--enable-rollback"])
        .assert_code(16)
        .assert_says(&["came back different", "rolled back"]);
    let undone = site.moment();
    before
        .tables
        .assert_same(&undone.tables, "the rows are back");
    before
        .tree
        .assert_same(&undone.tree, "the files were never touched");
    // The server noted the checksum of what it took: that is ours, and the local bytes are there.
    assert!(undone.bucket.is_empty(), "{}", ended.all());
}

#[test]
fn what_a_lying_store_gives_no_proof_of_is_named() {
    let (site, proxy) = behind_a_proxy(8);
    let flip = Action::Edit(std::sync::Arc::new(
        |answer: &mut testkit::proxy::http::Message| {
            if let Some(byte) = answer.body.first_mut() {
                *byte ^= 1;
            }
        },
    ));
    proxy.add(Rule::new(flip).method("GET").target("/documents/"));
    let arguments = ["--no-checksum-headers", "--enable-rollback"];
    let ended = site.run(&arguments).assert_code(16);
    for key in site.moment().bucket.names() {
        let stem = key
            .rsplit('/')
            .next()
            .and_then(|name| name.split(['.', '_']).next())
            .expect("a name");
        assert!(
            ended.out.contains(stem),
            "{key} is not named in {}",
            ended.all()
        );
    }
}

#[test]
fn one_object_that_is_always_refused_does_not_stop_the_others() {
    let (site, proxy) = behind_a_proxy(6);
    let before = site.moment();
    let refused = site.fleet.documents[2].id.clone();
    proxy.add(
        Rule::s3_error(500, "InternalError", "We encountered an internal error")
            .target(&format!("/{refused}.")),
    );
    let arguments = ["--enable-rollback", "--max-retries", "1"];
    let report = site
        .run(&[&arguments[..], &["--json"]].concat())
        .assert_code(3)
        .json();
    assert_eq!(site.switched(), 5, "all the others");
    let exceptions = report["exceptions"].as_array().expect("a list");
    assert!(
        exceptions.iter().any(|it| it["kind"] == "refused"
            && it["item"].as_str().is_some_and(|id| id.contains(&refused))),
        "{report:#}"
    );
    // A process that was killed in a probe would leave it where the application keeps its documents.
    let seen = proxy.requests().into_iter();
    let written = seen.filter(|request| request.method == "PUT");
    let probes: Vec<String> = written
        .map(|request| request.target)
        .filter(|target| target.contains(".syncline") && target.contains("probe"))
        .collect();
    assert!(
        probes
            .iter()
            .all(|target| target.starts_with("/docs/.syncline/probe/")),
        "{probes:?}"
    );
    assert!(
        probes.iter().any(|target| target.contains("/documents/")),
        "one was judged: {probes:?}"
    );
    // Again, with nothing else to do: it is still only that one.
    site.run(&arguments).assert_code(3).assert_says(&[&refused]);
    site.run(&["--max-failures", "0", "--max-retries", "0"])
        .assert_code(3)
        .assert_says(&["too many"]);
    proxy.clear();
    site.run(&["--resume"]).assert_code(0);
    assert_eq!(site.switched(), 6);
    for _ in 0..3 {
        site.run(&["--rollback"]);
    }
    before.assert_same(&site.moment(), "after all rollbacks");
}

#[test]
fn a_store_that_fails_for_everything_stops_the_run_and_undoes_nothing() {
    let (site, proxy) = behind_a_proxy(6);
    site.run(&["--limit", "2"]).assert_code(0);
    proxy.add(
        Rule::s3_error(500, "InternalError", "We encountered an internal error")
            .target("/documents/"),
    );
    let arguments = ["--enable-rollback", "--max-retries", "0"];
    site.run(&arguments)
        .assert_code(14)
        .assert_says(&["--resume-from"]);
    assert_eq!(site.switched(), 2, "nothing was undone");
    proxy.clear();
    // Writes only: what the probe asks for must not pass by.
    proxy.add(
        Rule::s3_error(500, "InternalError", "We encountered an internal error")
            .method("PUT")
            .target("/documents/"),
    );
    site.run(&arguments).assert_code(14);
    assert_eq!(site.switched(), 2, "nothing was undone");
    proxy.clear();
    site.run(&["--resume"]).assert_code(0);
    assert_eq!(site.switched(), 6);
}

#[test]
fn one_object_that_cannot_be_read_back_holds_up_no_verification_nor_rollback() {
    let (site, proxy) = behind_a_proxy(5);
    let before = site.moment();
    site.run(&[]).assert_code(0);
    let latest = site.latest();
    let retries = ["--max-retries", "0"];
    site.delete_source(&latest, &[]).assert_code(0);
    let refused = site.fleet.documents[2].id.clone();
    proxy.add(
        Rule::s3_error(500, "InternalError", "We encountered an internal error")
            .method("GET")
            .target(&format!("/{refused}.")),
    );
    proxy.forget_requests();
    site.run(&[&["--verify-state", "--full"][..], &retries].concat())
        .assert_code(3)
        .assert_says(&["refused", &refused]);
    let seen = proxy.requests();
    assert!(
        seen.iter()
            .all(|request| ["GET", "HEAD"].contains(&request.method.as_str())),
        "who verifies writes nothing: {seen:?}"
    );
    for what in [&["--verify-state", "--full"][..], &["--rollback", &latest]] {
        site.run(&[what, &retries].concat())
            .assert_code(3)
            .assert_says(&["refused", &refused]);
    }
    assert_eq!(site.switched(), 1, "the others are back");
    proxy.clear();
    site.run(&["--rollback", &latest]).assert_code(0);
    before.assert_same(&site.moment(), "after the rollback");
}

#[test]
fn an_altered_object_gets_a_remedy_that_helps() {
    let site = Site::new(4);
    let before = site.moment();
    site.run(&[]).assert_code(0);
    let altered = site.sql("SELECT substr(file_path, 6) FROM documents ORDER BY id LIMIT 1");
    let file = site.s3.root().join(BUCKET).join(&altered);
    let mut bytes = std::fs::read(&file).expect("reads");
    bytes[0] ^= 1;
    std::fs::write(&file, bytes).expect("writes");
    let ended = site
        .run(&["--verify-state", "--full"])
        .assert_code(3)
        .assert_says(&["another content", "roll the run back"]);
    assert!(!ended.all().contains("run again"), "{}", ended.all());
    // What it says.
    site.run(&["--rollback"]).assert_code(0);
    before.assert_same(&site.moment(), "after the rollback");
    site.run(&[]).assert_code(0);
    site.run(&["--verify-state", "--full"]).assert_code(0);
}

#[test]
fn a_bucket_below_an_ip_address_is_refused_however_it_is_written() {
    let site = Site::new(1);
    let place = site.s3.endpoint();
    let store = format!("s3://{BUCKET}?endpoint={place}&path_style=false");
    site.run(&["--store", &store])
        .assert_code(2)
        .assert_says(&["--store", "path_style=true"]);
    site.run(&["--direction", "s3-to-s3", "--target", &store])
        .assert_code(2)
        .assert_says(&["--target", "path_style=true"]);
    let store = format!("s3://{BUCKET}?path_style=false");
    let mut command = site.command(&["--store", &store]);
    command
        .env("AWS_ENDPOINT_URL", &place)
        .env("AWS_ACCESS_KEY_ID", "any")
        .env("AWS_SECRET_ACCESS_KEY", "any");
    Ended::of(command, &["--store", &store])
        .assert_code(1)
        .assert_says(&["cannot be part of this host's name", "path_style=true"]);
    let mut command = site.command(&[]);
    command.env("S3_FORCE_PATH_STYLE", "false");
    Ended::of(command, &[])
        .assert_code(4)
        .assert_says(&["S3_FORCE_PATH_STYLE=true"]);
}

/// Puts of documents and thumbnails are answered by something that stores nothing.
fn swallow(proxy: &testkit::ScriptedProxy) {
    let mut nothing = testkit::proxy::http::Message::answer(200, "application/xml", "");
    nothing.set_header("ETag", "\"d41d8cd98f00b204e9800998ecf8427e\"");
    for target in ["/docs/documents/", "/docs/thumbnails/"] {
        let rule = Rule::new(Action::Respond(nothing.clone()));
        proxy.add(rule.method("PUT").target(target));
    }
}

#[test]
fn a_bare_yes_is_no_proof_that_anything_was_stored() {
    let (site, proxy) = behind_a_proxy(5);
    let before = site.moment();
    swallow(&proxy);
    site.run(&["--enable-rollback"])
        .assert_code(16)
        .assert_says(&["came back different", "rolled back"]);
    assert_eq!(site.switched(), 0);
    let mut after = site.moment();
    after.bucket = after.bucket.without(|name| name.starts_with(".syncline/"));
    before.assert_same(&after, "nothing is switched to what is not there");
    let named = site.run(&["--fresh-start"]).assert_code(3);
    assert!(!named.out.contains("stored and proved"), "{}", named.all());
    proxy.clear();
    site.run(&["--fresh-start"]).assert_code(0);
}

/// How often documents were put, asked for and read.
fn asked(proxy: &testkit::ScriptedProxy) -> (usize, usize, usize) {
    let seen = proxy.requests();
    let of = |method: &str| {
        let is_it = |it: &&testkit::proxy::Seen| {
            it.method == method && it.target.starts_with("/docs/documents/")
        };
        seen.iter().filter(is_it).count()
    };
    (of("PUT"), of("HEAD"), of("GET"))
}

#[test]
fn a_document_costs_one_request_where_the_answer_proves_it() {
    let (site, proxy) = behind_a_proxy(5);
    site.run(&[]).assert_code(0);
    assert_eq!(asked(&proxy), (5, 0, 0));
    site.run(&["--rollback"]).assert_code(0);
    // One that does not say the checksum back is asked for it, and nothing more.
    proxy.forget_requests();
    proxy.add(
        Rule::new(Action::Edit(std::sync::Arc::new(
            |answer: &mut testkit::proxy::http::Message| {
                let is_sum = |(name, _): &(String, String)| {
                    name.eq_ignore_ascii_case("x-amz-checksum-sha256")
                };
                answer.headers.retain(|header| !is_sum(header));
            },
        )))
        .method("PUT"),
    );
    site.run(&[]).assert_code(0);
    assert_eq!(asked(&proxy), (5, 5, 0));
}

#[test]
fn an_object_that_is_gone_when_the_balance_is_drawn_undoes_the_run() {
    let (site, proxy) = behind_a_proxy(3);
    let empty = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>0</KeyCount></ListBucketResult>";
    let none = testkit::proxy::http::Message::answer(200, "application/xml", empty);
    let listing = Rule::new(Action::Respond(none)).method("GET");
    proxy.add(listing.target("prefix=documents"));
    site.run(&[])
        .assert_code(3)
        .assert_says(&["object missing"]);
    site.run(&[])
        .assert_code(3)
        .assert_says(&["Nothing to migrate, but the files of 3 rows are not in place"]);
    site.run(&["--rollback"]).assert_code(0);
    site.run(&["--fresh-start", "--enable-rollback"])
        .assert_code(16)
        .assert_says(&["3 objects of this run are not there", "rolled back"]);
    assert_eq!(site.switched(), 0);
}
