//! Serving: the requests that brew clients were seen to make, answered by the server and by plain static files.

use crate::world::{FIRST, World};
use bottles::sample::Sample;
use bottles::serve::{AccessLog, Limits, ServeOptions, serve};
use reqwest::{Method, StatusCode};
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use transfer::{Digest, StopSignal};

pub struct Serving {
    pub root: String,
    stop: StopSignal,
    task: tokio::task::JoinHandle<()>,
    misses: PathBuf,
    client: reqwest::Client,
}

pub async fn start(world: &World, refresh: Duration) -> Serving {
    start_with(world, refresh, Limits::default()).await
}

async fn start_with(world: &World, refresh: Duration, limits: Limits) -> Serving {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .expect("a port");
    let root = format!("http://{}", listener.local_addr().expect("an address"));
    let stop = StopSignal::new();
    let misses = world.state.path().join("misses.jsonl");
    let access = world.state.path().join("access.log");
    let options = ServeOptions {
        refresh,
        misses: Some(misses.clone()),
        access: Some(AccessLog::open(&access).expect("it is opened")),
        limits,
    };
    let (store, signal) = (world.store.clone(), stop.clone());
    let task = tokio::spawn(async move {
        serve(store, listener, options, signal)
            .await
            .expect("it serves")
    });
    let url = root.parse().expect("an address");
    let client = store::http_client(
        &url,
        &store::Tuning::default(),
        &store::Environment::default(),
    );
    Serving {
        root,
        stop,
        task,
        misses,
        client: client.expect("a client"),
    }
}

impl Serving {
    async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
    ) -> (StatusCode, reqwest::header::HeaderMap, bytes::Bytes) {
        let mut request = self.client.request(method, format!("{}{path}", self.root));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.expect("it answers");
        let (status, headers) = (answer.status(), answer.headers().clone());
        (status, headers, answer.bytes().await.expect("a body"))
    }

    pub async fn get(&self, path: &str) -> (StatusCode, bytes::Bytes) {
        let (status, _, body) = self.ask(Method::GET, path, &[]).await;
        (status, body)
    }

    /// Asks until the answer is as it should become.
    pub async fn until(&self, path: &str, is_right: impl Fn(&(StatusCode, bytes::Bytes)) -> bool) {
        let asking = async {
            while !is_right(&self.get(path).await) {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(30), asking).await;
        waited.unwrap_or_else(|_| panic!("{path} stays as it is"));
    }

    pub async fn end(self) {
        self.stop.raise();
        drop(self.client);
        self.task.await.expect("it ends");
    }
}

/// What brew 4.3.0 and 6.0.18 ask for when they install `gtk+` and `openssl@3`, by what they were seen to ask: path and the key of a static file.
fn requests(held: &[bottles::log::Held]) -> Vec<(String, String)> {
    let mut found = vec![
        (
            "/api/formula.jws.json".to_owned(),
            "api/formula.jws.json".to_owned(),
        ),
        (
            "/api/internal/packages.x86_64_linux.jws.json".to_owned(),
            "api/internal/packages.x86_64_linux.jws.json".to_owned(),
        ),
        (
            "/api/cask.jws.json".to_owned(),
            "api/cask.jws.json".to_owned(),
        ),
        (
            "/api/formula_tap_migrations.jws.json".to_owned(),
            "api/formula_tap_migrations.jws.json".to_owned(),
        ),
    ];
    for held in held {
        // The registry's layout.
        found.push((format!("/{}", held.manifest_key()), held.manifest_key()));
        found.push((format!("/{}", held.blob_key()), held.blob_key()));
        // The flat one: names are encoded, the image of the manifest is not.
        let file = bottles::names::flat_file(&held.formula, &held.version, &held.tag, held.rebuild);
        let encoded = file.replace('@', "%40").replace('+', "%2B");
        found.push((format!("/{encoded}"), held.blob_key()));
        let manifest = held.manifest_key();
        found.push((
            format!("/{}", manifest.trim_start_matches("v2/homebrew/core/")),
            manifest,
        ));
    }
    found
}

#[tokio::test]
async fn what_clients_were_seen_to_ask_for_comes_in_every_layout() {
    let world = World::new().await;
    world.sync(&["gtk+", "wget"], FIRST).await;
    let generation = world.check().await.expect("it is published");
    let objects = world.objects();
    let serving = start(&world, Duration::from_secs(3600)).await;
    for (path, key) in requests(&generation.bottles) {
        let (status, body) = serving.get(&path).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        // A bucket or a web server hands out the same under the plain name.
        assert_eq!(body, objects[&key], "{path}");
        let (status, headers, body) = serving.ask(Method::HEAD, &path, &[]).await;
        assert_eq!((status, body.len()), (StatusCode::OK, 0), "{path}");
        assert_eq!(
            headers["content-length"],
            objects[&key].len().to_string(),
            "{path}"
        );
        let keeping = headers["cache-control"].to_str().expect("text");
        let is_blob = key.contains("/blobs/");
        assert_eq!(keeping.contains("immutable"), is_blob, "{path}: {keeping}");
        assert_eq!(keeping == "no-cache", !is_blob, "{path}: {keeping}");
        // Without fail, the tag leads to "not changed".
        let etag = headers["etag"].to_str().expect("text").to_owned();
        let (status, _, body) = serving
            .ask(Method::GET, &path, &[("If-None-Match", &etag)])
            .await;
        assert_eq!(
            (status, body.len()),
            (StatusCode::NOT_MODIFIED, 0),
            "{path}"
        );
    }
    let accepted = [
        ("Accept", "application/vnd.oci.image.index.v1+json"),
        ("Authorization", "Bearer QQ=="),
    ];
    let manifest = format!("/{}", generation.bottles[0].manifest_key());
    let (status, headers, _) = serving.ask(Method::GET, &manifest, &accepted).await;
    assert_eq!(
        (status, headers["content-type"].to_str().expect("text")),
        (StatusCode::OK, accepted[0].1)
    );
    serving.end().await;
}

#[tokio::test]
async fn a_broken_download_is_continued_and_a_range_beyond_the_end_refused() {
    let world = World::new().await;
    world.sync(&["jq"], FIRST).await;
    let held = world
        .check()
        .await
        .expect("it is published")
        .bottles
        .remove(0);
    let whole = world.objects()[&held.blob_key()].clone();
    let serving = start(&world, Duration::from_secs(3600)).await;
    let path = format!("/{}", held.blob_key());
    let (status, headers, body) = serving
        .ask(Method::GET, &path, &[("Range", "bytes=100-")])
        .await;
    assert_eq!(status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(
        headers["content-range"],
        format!("bytes 100-{}/{}", whole.len() - 1, whole.len())
    );
    assert_eq!(body, whole.slice(100..));
    let (status, headers, _) = serving
        .ask(Method::GET, &path, &[("Range", "bytes=999999999-")])
        .await;
    assert_eq!(status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(headers["content-range"], format!("bytes */{}", whole.len()));
    let stale = [("Range", "bytes=100-"), ("If-Range", "\"sha256:0\"")];
    let (status, _, body) = serving.ask(Method::GET, &path, &stale).await;
    assert_eq!((status, body), (StatusCode::OK, whole));
    serving.end().await;
}

#[tokio::test]
async fn what_is_not_mirrored_fails_at_once_and_is_written_down() {
    let world = World::new().await;
    world.sync(&["jq"], FIRST).await;
    let serving = start(&world, Duration::from_secs(3600)).await;
    let path = "/v2/homebrew/core/tree/manifests/2.1.1";
    let (status, _) = serving.get(path).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let text = std::fs::read_to_string(&serving.misses).expect("it is written down");
    let miss: bottles::serve::Miss =
        serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
    assert_eq!(miss.path, path);
    // Nothing else of the store is handed out.
    for path in [
        "/bottles_hash.json",
        "/.syncline/mirror/log/current-00000001",
        "/v2/homebrew/core/../../../bottles_hash.json",
        "/v2/homebrew/core/%2e%2e/%2e%2e/%2e%2e/bottles_hash.json",
        "/api/..%2fbottles_hash.json",
        "/v2/homebrew/core//jq",
        "/%00",
    ] {
        assert_eq!(serving.get(path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    let (status, headers, _) = serving.ask(Method::PUT, path, &[]).await;
    assert_eq!(
        (status, headers["allow"].to_str().expect("text")),
        (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD")
    );
    let (_, metrics) = serving.get("/metrics").await;
    assert!(
        String::from_utf8_lossy(&metrics).contains("homebrew_sync_misses_total 8\n"),
        "{metrics:?}"
    );
    let (status, page) = serving.get("/").await;
    assert_eq!(status, StatusCode::OK);
    let page = String::from_utf8_lossy(&page);
    assert!(page.contains("<div class=value>1</div>"), "{page}");
    assert!(page.contains("<h2>Generations</h2>") && page.contains("<td>1, 2026-09-21"));
    assert!(page.contains("tree/manifests/2.1.1"), "{page}");
    serving.end().await;
}

#[tokio::test]
async fn a_new_generation_is_taken_up_whole_and_the_old_bottles_stay() {
    let world = World::new().await;
    world.sync(&["jq"], FIRST).await;
    let old = world.check().await.expect("it is published");
    let serving = start(&world, Duration::from_millis(5)).await;
    let api = "/api/internal/packages.x86_64_linux.jws.json";
    let digest = |bytes: &bytes::Bytes| Digest::of(bytes);
    let first = old.api["internal/packages.x86_64_linux.jws.json"]
        .file
        .sha256;
    assert_eq!(digest(&serving.get(api).await.1), first);
    world
        .server
        .replace(bottles::sample::Sample::a_week_later());
    // While it is published, the API is of the old generation or of the new one, and all that it lists is there.
    let publishing = world.sync(&[], FIRST + 1);
    tokio::pin!(publishing);
    let report = loop {
        tokio::select! {
            biased;
            report = &mut publishing => break report,
            (status, body) = serving.get(api) => {
                assert_eq!(status, StatusCode::OK);
                let envelope = bottles::api::jws::Envelope::parse(&body).expect("an envelope");
                let platform = "x86_64_linux".parse().expect("a platform");
                let catalogue = bottles::api::packages::read(&envelope.payload, &platform).expect("it is read");
                let bottle = catalogue.offers["jq"].bottle.clone().expect("a bottle");
                let path = format!("/{}", bottles::names::blob_key("jq", &bottle.sha256));
                assert_eq!(serving.get(&path).await.0, StatusCode::OK);
            }
        }
    };
    assert!(report.published.is_some());
    let second = world.current().await.expect("it is published").1.api["internal/packages.x86_64_linux.jws.json"].file.sha256;
    serving.until(api, |(_, body)| digest(body) == second).await;
    for held in &old.bottles {
        let file = bottles::names::flat_file(&held.formula, &held.version, &held.tag, held.rebuild);
        for key in [held.blob_key(), held.manifest_key(), file] {
            assert_eq!(
                serving.get(&format!("/{key}")).await.0,
                StatusCode::OK,
                "{key}"
            );
        }
    }
    serving.end().await;
}

#[tokio::test]
async fn an_empty_mirror_says_so() {
    let world = World::new().await;
    let serving = start(&world, Duration::from_secs(3600)).await;
    assert_eq!(
        serving.get("/health").await.0,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(serving.get("/").await.0, StatusCode::OK);
    assert_eq!(
        serving.get("/api/formula.jws.json").await.0,
        StatusCode::NOT_FOUND
    );
    serving.end().await;
}

#[tokio::test]
async fn who_fetched_the_old_api_before_the_new_one_came_gets_the_new_one() {
    let world = World::new().await;
    world.sync(&["jq"], FIRST).await;
    let serving = start(&world, Duration::from_millis(5)).await;
    let api = "/api/formula.jws.json";
    // Clients of 4.x give their copy the time at which they fetched it, which is later than the upstream's change.
    world
        .server
        .replace(bottles::sample::Sample::a_week_later());
    let (_, old) = serving.get(api).await;
    let fetched = httpdate::fmt_http_date(std::time::SystemTime::now());
    world.sync(&[], FIRST + 1).await;
    serving.until(api, |(_, body)| *body != old).await;
    let since = [("If-Modified-Since", fetched.as_str())];
    let (status, headers, _) = serving.ask(Method::GET, api, &since).await;
    assert_eq!(status, StatusCode::OK);
    let told = headers["last-modified"].to_str().expect("text");
    let told = httpdate::parse_http_date(told).expect("a date");
    assert!(told <= std::time::SystemTime::now());
    // Who has the new one is told so, once it is certain that nobody hands out the old one.
    loop {
        let now = httpdate::fmt_http_date(std::time::SystemTime::now());
        let since = [("If-Modified-Since", now.as_str())];
        let (status, _, _) = serving.ask(Method::GET, api, &since).await;
        if status == StatusCode::NOT_MODIFIED {
            break;
        }
    }
    serving.end().await;
}

#[tokio::test]
async fn questions_for_what_nobody_has_cost_the_store_nothing() {
    let world = World::new().await;
    world.sync(&["jq"], FIRST).await;
    let serving = start(&world, Duration::from_secs(3600)).await;
    let before = world.handle.operations();
    for number in 0..200 {
        let path = format!("/v2/homebrew/core/thing{number}/manifests/1");
        assert_eq!(serving.get(&path).await.0, StatusCode::NOT_FOUND);
    }
    let cost = world.handle.operations() - before;
    assert!(cost < 50, "{cost}");
    serving.end().await;
}

#[tokio::test]
async fn a_client_that_is_a_generation_ahead_of_the_server_is_served() {
    let world = World::new().await;
    world.sync(&["jq"], FIRST).await;
    let serving = start(&world, Duration::from_secs(3600)).await;
    world
        .server
        .replace(bottles::sample::Sample::a_week_later());
    world.sync(&[], FIRST + 1).await;
    let path = "/v2/homebrew/core/jq/manifests/1.8.0";
    serving
        .until(path, |(status, _)| *status == StatusCode::OK)
        .await;
    serving.end().await;
}

#[tokio::test]
async fn a_server_that_cannot_see_what_is_new_is_not_healthy() {
    let world = World::new().await;
    world.sync(&["jq"], FIRST).await;
    let serving = start(&world, Duration::from_millis(5)).await;
    assert_eq!(serving.get("/health").await.0, StatusCode::OK);
    world.handle.set_faults(testkit::Faults {
        error_before: 1000,
        ..testkit::Faults::none()
    });
    serving
        .until("/health", |(status, _)| *status != StatusCode::OK)
        .await;
    let (_, metrics) = serving.get("/metrics").await;
    assert!(!String::from_utf8_lossy(&metrics).contains("homebrew_sync_refresh_failures 0\n"));
    world.handle.heal();
    serving
        .until("/health", |(status, _)| *status == StatusCode::OK)
        .await;
    serving.end().await;
}

#[tokio::test]
async fn api_files_come_packed_to_who_can_unpack_them_and_ranges_are_of_the_bare_ones() {
    let world = World::new().await;
    world.sync(&["tree"], FIRST).await;
    let serving = start(&world, Duration::from_secs(60)).await;
    let path = "/api/formula.jws.json";
    let (_, bare) = serving.get(path).await;
    let ask = async |headers: &[(&str, &str)]| serving.ask(Method::GET, path, headers).await;
    let (status, headers, packed) = ask(&[("Accept-Encoding", "deflate, gzip, br, zstd")]).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        (&headers["content-encoding"], &headers["vary"]),
        (
            &"gzip".parse().expect("a value"),
            &"Accept-Encoding".parse().expect("a value")
        )
    );
    assert!(
        packed.len() * 2 < bare.len(),
        "{} of {}",
        packed.len(),
        bare.len()
    );
    let mut unpacked = Vec::new();
    std::io::Read::read_to_end(
        &mut flate2::read::GzDecoder::new(&packed[..]),
        &mut unpacked,
    )
    .expect("it is gzip");
    assert_eq!(unpacked, bare);
    // The two have tags of their own, and each is known again.
    let tag = headers["etag"].to_str().expect("text").to_owned();
    let (status, headers, _) = ask(&[("Accept-Encoding", "gzip"), ("If-None-Match", &tag)]).await;
    assert_eq!(
        (status, &headers["vary"]),
        (
            StatusCode::NOT_MODIFIED,
            &"Accept-Encoding".parse().expect("a value")
        )
    );
    let (status, headers, body) = ask(&[("If-None-Match", &tag)]).await;
    assert_eq!((status, body), (StatusCode::OK, bare.clone()));
    assert!(headers.contains_key("vary") && !headers.contains_key("content-encoding"));
    assert_ne!(headers["etag"], *tag);
    let range = [("Accept-Encoding", "gzip"), ("Range", "bytes=5-9")];
    let (status, headers, part) = ask(&range).await;
    assert_eq!(
        (status, &part[..]),
        (StatusCode::PARTIAL_CONTENT, &bare[5..10])
    );
    assert!(!headers.contains_key("content-encoding"));
    // A bottle is packed already.
    let (_, generation) = world.current().await.expect("something is published");
    let blob = format!("/{}", generation.bottles[0].blob_key());
    let (_, headers, _) = serving
        .ask(Method::GET, &blob, &[("Accept-Encoding", "gzip")])
        .await;
    assert!(!headers.contains_key("content-encoding") && !headers.contains_key("vary"));
    serving.end().await;
}

#[tokio::test]
async fn below_flat_lies_what_lies_at_the_root() {
    let world = World::new().await;
    world.sync(&["gtk+"], FIRST).await;
    let serving = start(&world, Duration::from_secs(60)).await;
    for path in [
        "/gtk+-2.24.33_1.x86_64_linux.bottle.tar.gz",
        "/gtkx/manifests/2.24.33_1",
    ] {
        let (status, body) = serving.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert_eq!(serving.get(&format!("/flat{path}")).await, (status, body));
    }
    let (status, _) = serving.get("/flat/nothing-1.all.bottle.tar.gz").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, _) = serving.get("/flatgtkx/manifests/2.24.33_1").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    serving.end().await;
}

#[tokio::test]
async fn clients_that_do_not_go_on_cost_the_others_nothing_and_hold_up_no_stop() {
    let world = World::small(Sample::embedded()).await;
    world.sync(&["jq"], FIRST).await;
    let limits = Limits {
        connections: 4,
        head: Duration::from_millis(300),
        stall: Duration::from_millis(300),
        drain: Duration::from_millis(300),
    };
    let serving = start_with(&world, Duration::from_secs(3600), limits).await;
    let address = serving.root.trim_start_matches("http://").to_owned();
    // Twice as many as there is room for, each with half a request.
    let mut halves = Vec::new();
    for _ in 0..8 {
        let mut half = tokio::net::TcpStream::connect(&address)
            .await
            .expect("connected");
        half.write_all(b"GET /health HTTP/1.1\r\nHost: ")
            .await
            .expect("sent");
        halves.push(half);
    }
    let (status, _) = serving.get("/health").await;
    assert_eq!(status, StatusCode::OK);
    for mut half in halves {
        let mut rest = Vec::new();
        let ended = half.read_to_end(&mut rest).await;
        assert!(ended.is_err() || rest.is_empty(), "it was let go: {rest:?}");
    }

    // One that asks for much, again and again, and reads nothing, is there when the server stops.
    let blob = world.check().await.expect("published").bottles[0].blob_key();
    let ask = format!("GET /{blob} HTTP/1.1\r\nHost: mirror\r\n\r\n");
    let mut deaf = tokio::net::TcpStream::connect(&address)
        .await
        .expect("connected");
    let asking = async {
        // It ends when the server takes no more, which is when its answers lie unread.
        while deaf.write_all(ask.as_bytes()).await.is_ok() {}
    };
    let _ = tokio::time::timeout(Duration::from_millis(200), asking).await;
    let stopping = tokio::time::timeout(Duration::from_mins(1), serving.end());
    stopping.await.expect("the stop ends by itself");
}

#[tokio::test]
async fn the_access_log_has_a_line_for_each_request_in_the_form_of_web_servers() {
    let world = World::new().await;
    world.sync(&["jq"], FIRST).await;
    let serving = start(&world, Duration::from_secs(60)).await;
    let manifest = "/v2/homebrew/core/jq/manifests/1.7.1";
    let agent = [("user-agent", "Homebrew/4.3.0 \"x\"")];
    let (_, _, body) = serving.ask(Method::GET, manifest, &agent).await;
    serving.ask(Method::HEAD, manifest, &agent).await;
    serving.get("/v2/nowhere?a=b").await;
    serving.ask(Method::PUT, "/health", &[]).await;
    serving.end().await;
    let log = std::fs::read_to_string(world.state.path().join("access.log")).expect("read");
    let lines: Vec<&str> = log.lines().collect();
    let ends = [
        format!(
            "\"GET {manifest} HTTP/1.1\" 200 {} \"-\" \"Homebrew/4.3.0 \\x22x\\x22\"",
            body.len()
        ),
        format!("\"HEAD {manifest} HTTP/1.1\" 200 - \"-\" \"Homebrew/4.3.0 \\x22x\\x22\""),
        "\"GET /v2/nowhere?a=b HTTP/1.1\" 404 13 \"-\" \"syncline/0.1.0\"".to_owned(),
        "\"PUT /health HTTP/1.1\" 405 0 \"-\" \"syncline/0.1.0\"".to_owned(),
    ];
    assert_eq!(lines.len(), ends.len(), "{log}");
    for (line, end) in lines.iter().zip(&ends) {
        assert!(
            line.starts_with("127.0.0.1 - - [") && line.ends_with(end),
            "{end}: {line}"
        );
    }
}
