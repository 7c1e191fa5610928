//! The status page in a real browser: what it shows in light and in dark, and that it asks nobody else.
//!
//! Chromium is installed by `cargo xtask test`; without it these tests fail and say so.

use crate::serve::start;
use crate::world::{FIRST, World};
use bottles::runs::{self, FailedName, RunOutcome, RunRecord, Trigger};
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::time::Duration;
use testkit::ScriptedProxy;

/// A picture, as rows of red, green and blue.
struct Picture {
    pixels: Vec<[u8; 3]>,
}

impl Picture {
    /// Reads a PNG of eight bits without interlacing, as Chromium writes them.
    fn read(path: &Path) -> Picture {
        let bytes = std::fs::read(path).expect("a picture");
        let number =
            |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four")) as usize;
        let (width, height, colours) = (number(16), number(20), bytes[25]);
        let depth = if colours == 6 { 4 } else { 3 };
        let (mut at, mut packed) = (8, Vec::new());
        while at < bytes.len() {
            let length = number(at);
            if &bytes[at + 4..at + 8] == b"IDAT" {
                packed.extend_from_slice(&bytes[at + 8..at + 8 + length]);
            }
            at += length + 12;
        }
        let mut rows = Vec::new();
        flate2::read::ZlibDecoder::new(&packed[..])
            .read_to_end(&mut rows)
            .expect("it is whole");
        let stride = width * depth;
        let mut before = vec![0_u8; stride];
        let mut pixels = Vec::new();
        for row in rows.chunks(stride + 1).take(height) {
            let (filter, mut line) = (row[0], row[1..].to_vec());
            for x in 0..stride {
                let left = if x < depth { 0 } else { line[x - depth] };
                let (up, corner) = (before[x], if x < depth { 0 } else { before[x - depth] });
                let guess = match filter {
                    0 => 0,
                    1 => left,
                    2 => up,
                    3 => u8::try_from((u16::from(left) + u16::from(up)) / 2).expect("small"),
                    _ => nearest(left, up, corner),
                };
                line[x] = line[x].wrapping_add(guess);
            }
            pixels.extend(
                line.chunks(depth)
                    .map(|pixel| [pixel[0], pixel[1], pixel[2]]),
            );
            before = line;
        }
        Picture { pixels }
    }

    fn count(&self, colour: u32) -> usize {
        let [_, red, green, blue] = colour.to_be_bytes();
        let same = |pixel: &&[u8; 3]| **pixel == [red, green, blue];
        self.pixels.iter().filter(same).count()
    }
}

/// The predictor of PNG's fourth filter.
fn nearest(left: u8, up: u8, corner: u8) -> u8 {
    let [a, b, c] = [left, up, corner].map(i32::from);
    let guess = a + b - c;
    let (to_a, to_b, to_c) = ((guess - a).abs(), (guess - b).abs(), (guess - c).abs());
    match () {
        () if to_a <= to_b && to_a <= to_c => left,
        () if to_b <= to_c => up,
        () => corner,
    }
}

/// Runs Chromium on an address, with a proxy that hears of all that would leave the machine; returns the document as it is then.
async fn browse(url: &str, proxy: &ScriptedProxy, scratch: &Path, extra: &[String]) -> String {
    let mut command = tokio::process::Command::new("chromium");
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .args([
            "--no-first-run",
            "--disable-default-apps",
            "--disable-extensions",
        ])
        .args([
            "--window-size=1100,1500",
            "--hide-scrollbars",
            "--force-device-scale-factor=1",
        ])
        .arg(format!("--proxy-server={}", proxy.endpoint()))
        .arg(format!(
            "--user-data-dir={}",
            scratch.join("profile").display()
        ))
        .args(extra)
        .args(["--dump-dom", url])
        .env("HOME", scratch)
        .kill_on_drop(true);
    let output = command.output().await.unwrap_or_else(|error| {
        panic!("this test needs Chromium, run `cargo xtask test`: {error}")
    });
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

/// Thirty runs of all sorts, the last of them a failure.
async fn write_runs(world: &World) {
    let outcomes = [
        RunOutcome::Published,
        RunOutcome::NothingNew,
        RunOutcome::Published,
        RunOutcome::Incomplete,
        RunOutcome::PublishedIncomplete,
        RunOutcome::Interrupted,
        RunOutcome::Failed,
    ];
    let now = Timestamp::now();
    for number in 0..30_u32 {
        let days = SignedDuration::from_hours(i64::from(29 - number) * 24 + 1);
        let mut run = RunRecord::begin("a store", "host", Trigger::Schedule, now - days);
        run.outcome = match number {
            29 => RunOutcome::Failed,
            number => outcomes[number as usize * 3 % 7],
        };
        run.ended = Some(run.started + SignedDuration::from_mins(12));
        if matches!(
            run.outcome,
            RunOutcome::Published | RunOutcome::PublishedIncomplete
        ) {
            run.fetched = u64::from(40 + number * 7 % 90);
            run.fetched_bytes = run.fetched * 17_000_000;
        }
        if run.outcome == RunOutcome::Incomplete {
            run.failed = 1;
            run.failures = vec![FailedName {
                formula: "wget".to_owned(),
                what: "the registry has no such blob".to_owned(),
            }];
        }
        if run.outcome == RunOutcome::Failed {
            run.error =
                Some("<script>alert(1)</script> the upstream could not be asked".to_owned());
        }
        runs::write(&world.store, &run).await.expect("written");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_the_runs_in_light_and_dark_and_asks_nobody_else() {
    let world = World::new().await;
    world.sync(&["jq", "wget"], FIRST).await;
    world
        .server
        .replace(bottles::sample::Sample::a_week_later());
    world.sync(&[], FIRST + 7 * 86_400).await;
    write_runs(&world).await;
    let serving = start(&world, Duration::from_secs(3600)).await;
    for path in [
        "/v2/homebrew/core/ripgrep/manifests/14.1.0",
        "/<b>bold</b>.bottle.tar.gz",
    ] {
        let (status, _) = serving.get(path).await;
        assert_eq!(status, 404);
    }
    let proxy = ScriptedProxy::alone();
    let scratch = tempfile::tempdir().expect("a directory");
    let keep = std::env::var_os("SYNCLINE_SCREENSHOTS").map(std::path::PathBuf::from);
    // The colours of the bars: published, failed, stopped or in part; and the page's own.
    let schemes = HashMap::from([
        ("light", ("1", [0x1a_7f4b, 0xb3_261e, 0x8a_5a00, 0xf6_f7f9])),
        ("dark", ("0", [0x6f_d39b, 0xff_938a, 0xf0_c060, 0x12_151a])),
    ]);
    for (scheme, (setting, colours)) in schemes {
        let file = keep
            .as_deref()
            .unwrap_or(scratch.path())
            .join(format!("{scheme}.png"));
        let shot = format!("--screenshot={}", file.display());
        let wants = format!("--blink-settings=preferredColorScheme={setting}");
        let document = browse(
            &format!("{}/", serving.root),
            &proxy,
            scratch.path(),
            &[shot, wants],
        )
        .await;
        check(&document);
        let picture = Picture::read(&file);
        for colour in colours {
            let count = picture.count(colour);
            assert!(count > 200, "{scheme}: {count} pixels of {colour:06x}");
        }
    }
    assert_eq!(asked_elsewhere(&proxy), [] as [String; 0]);
    // What the browser asked for besides would be a miss.
    let misses =
        bottles::serve::read_misses(&world.state.path().join("misses.jsonl")).expect("read");
    assert_eq!(misses.len(), 2, "{misses:?}");
}

/// What pages made the browser ask of other hosts. What it asks on its own account, as for its updates, has no page to refer to.
fn asked_elsewhere(proxy: &ScriptedProxy) -> Vec<String> {
    let requests = proxy.requests().into_iter();
    let of_pages = requests.filter(|seen| {
        let mut names = seen.headers.iter();
        names.any(|(name, _)| name.eq_ignore_ascii_case("referer"))
    });
    of_pages
        .map(|seen| format!("{}{}", seen.host, seen.target))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_asks_elsewhere_would_be_seen() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let page = axum::response::Html("<img src=\"http://elsewhere.example/x.png\">");
    let router = axum::Router::new().fallback(move || async move { page });
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    let proxy = ScriptedProxy::alone();
    let scratch = tempfile::tempdir().expect("a directory");
    browse(&url, &proxy, scratch.path(), &[]).await;
    serving.abort();
    assert_eq!(asked_elsewhere(&proxy), ["elsewhere.example/x.png"]);
}

/// Checks the document as the browser has understood it.
fn check(document: &str) {
    let chart = document
        .split("<svg")
        .nth(1)
        .and_then(|rest| rest.split("</svg>").next());
    let chart = chart.expect("a chart");
    // A bar for each run, with words in its title.
    assert_eq!(
        chart.matches(": failed, 0 bottles of 0 B</title>").count(),
        5,
        "{chart}"
    );
    assert_eq!(chart.matches("</title></rect>").count(), 30, "{chart}");
    assert_eq!(chart.matches("×</text>").count(), 1 + 9, "{chart}");
    for part in [
        "last run: failed",
        "wget failed",
        "<div class=\"value\">2</div>",
        "Homebrew mirror",
        "ripgrep/manifests/14.1.0",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "arm64_sequoia",
    ] {
        assert!(document.contains(part), "{part}: {document}");
    }
    assert!(
        !document.contains("<script") && !document.contains("<b>"),
        "{document}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_nothing_still_tells_of_runs_that_failed() {
    let world = World::new().await;
    let mut run = RunRecord::begin("a store", "host", Trigger::Manual, Timestamp::now());
    run.outcome = RunOutcome::Failed;
    run.error = Some("the API could not be reached".to_owned());
    runs::write(&world.store, &run).await.expect("written");
    let serving = start(&world, Duration::from_secs(3600)).await;
    let proxy = ScriptedProxy::alone();
    let scratch = tempfile::tempdir().expect("a directory");
    let document = browse(&format!("{}/", serving.root), &proxy, scratch.path(), &[]).await;
    assert!(document.contains("Nothing is mirrored yet"), "{document}");
    assert!(
        document.contains("the API could not be reached"),
        "{document}"
    );
    let (_, metrics) = serving.get("/metrics").await;
    let metrics = String::from_utf8(metrics.to_vec()).expect("text");
    assert!(
        metrics.contains("\nhomebrew_sync_last_run_success 0\n"),
        "{metrics}"
    );
    assert!(!metrics.contains("last_success_seconds"), "{metrics}");
}
