//! Notices to receivers on this machine: what they get, and what becomes of a run if they fail.

use crate::program::{program, run, sync};
use crate::receiver::{Got, Manner, Receiver, SECRET, check};
use crate::world::World;
use bottles::notices::secret::Secret;
use bottles::notices::{Notice, NoticeKind, SIGNATURE, signature, slack};
use jiff::Timestamp;
use std::time::{Duration, Instant};
use testkit::{Action, Gate, Rule, ScriptedProxy, Smtpd};

const JQ: [&str; 4] = ["--formula", "jq", "--platform", "x86_64_linux"];

fn title(got: &Got) -> String {
    let message = got.json();
    message["blocks"][0]["text"]["text"]
        .as_str()
        .expect("a header")
        .to_owned()
}

fn titles(receiver: &Receiver) -> Vec<String> {
    receiver.got().iter().map(title).collect()
}

/// A world without `tree`, whose manifest and bottle are gone.
async fn without_tree() -> World {
    let mut sample = bottles::sample::Sample::embedded();
    sample.registry.retain(|key, _| !key.contains("/tree/"));
    World::serving(sample).await
}

fn all_of(world: &World) -> String {
    let mut text = String::new();
    let mut folders = vec![world.state.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => text += &String::from_utf8_lossy(&std::fs::read(path).expect("read")),
            }
        }
    }
    text
}

#[test]
fn whatever_a_notice_holds_slack_takes_the_message() {
    let evil = "<!channel> & <https://example.com|x> ".repeat(500);
    let mut notice = Notice::new(
        NoticeKind::Failure,
        &"T&<>🍺".repeat(100),
        Timestamp::UNIX_EPOCH,
    );
    for number in 0..100 {
        notice = notice.field(&format!("{number}{evil}"), evil.clone());
    }
    notice.details = (0..300).map(|number| format!("{number} {evil}")).collect();
    notice
        .details
        .extend((0..5000).map(|number| number.to_string()));
    notice.details.push("&".repeat(10_000));
    notice.details.push("🍺".repeat(10_000));
    check(&slack::message(&notice)).expect("Slack takes it");
    // Each line that is full of what grows when it is escaped, on its own and at every length.
    for length in (0..700).step_by(3) {
        for piece in ["&", "<", "a&", "🍺&"] {
            let mut notice = Notice::new(
                NoticeKind::Warning,
                &piece.repeat(length),
                Timestamp::UNIX_EPOCH,
            );
            notice.details = vec![piece.repeat(length); 12];
            check(&slack::message(&notice)).expect("Slack takes it");
        }
    }
    let empty = Notice::new(NoticeKind::Test, "", Timestamp::UNIX_EPOCH);
    check(&slack::message(&empty)).expect("Slack takes it");
    // Nothing is cut that fits.
    let mut short = Notice::new(NoticeKind::Failure, "Short", Timestamp::UNIX_EPOCH);
    short.details = vec!["a < b".to_owned(), "c".to_owned()];
    let text = slack::message(&short)["blocks"][1]["text"]["text"].clone();
    assert_eq!(text, "a &lt; b\nc");
}

#[test]
fn a_secret_is_taken_in_every_form_and_told_in_none() {
    let url = "https://hooks.slack.com/services/T/B/x";
    let keys = ["webhook_url", "url"];
    let nested = serde_json::json!({"Name": "homebrew-sync/slack-webhook", "SecretString": format!("{{\"webhook_url\":\"{url}\"}}")});
    let bare = serde_json::json!({"SecretString": url});
    for text in [
        url.to_owned(),
        format!("  {url}\n"),
        format!("\"{url}\""),
        format!("{{\"webhook_url\": \"{url}\"}}"),
        format!("{{\"channel\": \"#x\", \"url\": \"{url}\"}}"),
        nested.to_string(),
        bare.to_string(),
    ] {
        let secret = Secret::parse(&text, &keys).expect("it is one");
        assert_eq!(secret.reveal(), url, "{text}");
        assert_eq!(format!("{secret:?}"), "***");
    }
    for text in [
        "",
        "{",
        "{}",
        "[]",
        "{\"webhook_url\": 1}",
        "{\"webhook_url\": \"\"}",
        "{\"hook\": \"hunter2\"}",
        "{\"SecretString\": \"{\\\"SecretString\\\": \\\"hunter2\\\"}\"}",
        "{\"webhook_url\": \"hunter2",
    ] {
        let why = Secret::parse(text, &keys).expect_err("it is none");
        assert!(!why.contains("hunter2"), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slack_hears_of_a_run_from_its_start_to_its_end_and_nobody_else_sees_the_address() {
    let world = World::new().await;
    let receiver = Receiver::start(Manner::Slack).await;
    let secret = tempfile::tempdir().expect("a directory");
    let file = secret.path().join("webhook");
    let json = format!("{{\"webhook_url\": \"{}\"}}\n", receiver.url());
    std::fs::write(&file, json).expect("written");
    // The bottles wait until a notice about progress has come.
    let address = world.server.registry();
    let address = address.trim_start_matches("http://");
    let proxy = ScriptedProxy::in_front_of(address.parse().expect("an address"));
    let gate = Gate::closed();
    proxy.add(Rule::new(Action::Hold(gate.clone())).target("/blobs/"));
    let registry = proxy.endpoint();
    let mut arguments = JQ.to_vec();
    let file = file.to_str().expect("a path");
    arguments.extend(["--slack-webhook-file", file, "--progress-every", "20ms"]);
    arguments.extend(["--registry", &registry, "-v"]);
    let open = async {
        receiver.until(|got| title(got).contains("under way")).await;
        gate.open();
    };
    let ((code, out, err), ()) = tokio::join!(run(sync(&world, &arguments)), open);
    assert_eq!(code, 0, "{err}");
    let told = titles(&receiver);
    assert!(told[0].contains("Homebrew sync started, 20"), "{told:?}");
    let last = told.last().expect("one");
    assert!(last.contains("completed"), "{told:?}");
    let got = receiver.got();
    let start = got[0].json()["blocks"][1].to_string();
    assert!(start.contains("Bottles*\\n2"), "{start}");
    let end = got[got.len() - 1].json()["blocks"][1].to_string();
    assert!(end.contains("New bottles*\\n2"), "{end}");
    assert!(!err.contains("Failed to send"), "{err}");
    // Nothing new, a failure; with the address itself in a variable, and in JSON on stdout.
    for (arguments, code, title) in [
        (vec!["--json"], 0, "nothing new"),
        (vec!["--formula", "nonsense", "--json"], 1, "failed"),
    ] {
        let mut command = sync(&world, &arguments);
        command.env("HOMEBREW_SYNC_SLACK_WEBHOOK", receiver.url());
        let (found, json, errors) = run(command).await;
        assert_eq!(found, code, "{json}{errors}");
        let told = titles(&receiver);
        assert!(
            told.last().is_some_and(|last| last.contains(title)),
            "{told:?}"
        );
        assert!(!format!("{json}{errors}").contains("XXXXsecret"));
    }
    // Why, and what to do.
    let failed = receiver.got().last().expect("one").json().to_string();
    assert!(
        failed.contains("no formula") && failed.contains("formulae.brew.sh"),
        "{failed}"
    );
    assert!(!format!("{out}{err}{}", all_of(&world)).contains("XXXXsecret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_fails_no_run_and_what_is_wrong_is_said_without_the_address() {
    let world = World::new().await;
    run(sync(&world, &JQ)).await;
    let other = Receiver::start(Manner::Slack).await;
    let refused = "http://127.0.0.1:1/services/T00000000/B00000000/XXXXsecretXXXXsecret";
    let echo = "no such path /services/T00000000/B00000000/XXXXsecretXXXXsecret";
    let manners = [
        (
            Manner::Status(404, "no_service"),
            "Failed to send Slack notification: 404 Not Found: no_service",
        ),
        (
            Manner::Status(404, echo),
            "Failed to send Slack notification: 404 Not Found; ",
        ),
        (
            Manner::Status(500, ""),
            "500 Internal Server Error; the receiver is ill",
        ),
        (Manner::Status(429, "slow"), "429 Too Many Requests: slow"),
        (Manner::Redirect(other.address), "307 Temporary Redirect"),
        (Manner::Hang, "no answer within 5 s (timeout)"),
    ];
    for (manner, says) in manners {
        let receiver = Receiver::start(manner).await;
        let mut command = sync(&world, &[]);
        command.env("HOMEBREW_SYNC_SLACK_WEBHOOK", receiver.url());
        let begun = Instant::now();
        let (code, out, err) = run(command).await;
        assert_eq!(code, 0, "{manner:?}: {err}");
        assert!(out.contains("Nothing new"), "{out}");
        assert!(err.contains(says), "{manner:?}: {err}");
        assert!(!err.contains("XXXXsecret"), "{err}");
        assert!(begun.elapsed() < Duration::from_secs(30), "{manner:?}");
    }
    assert!(other.got().is_empty());
    for (value, says) in [
        (refused, "Failed to send Slack notification"),
        ("http://example.com/XXXXsecret", "use https"),
        ("ftp://example.com/XXXXsecret", "no https address"),
        ("{\"webhook\": \"XXXXsecret\"}", "webhook_url"),
        ("XXXXsecret", "no address"),
        ("https://example.com/ XXXXsecret", "one word"),
    ] {
        let mut command = sync(&world, &[]);
        command.env("HOMEBREW_SYNC_SLACK_WEBHOOK", value);
        let (code, _, err) = run(command).await;
        assert_eq!(code, 0, "{err}");
        assert!(
            err.contains(says) && err.contains("otification"),
            "{value}: {err}"
        );
        assert!(!err.contains("XXXXsecret"), "{err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_gets_json_that_is_signed_beside_one_that_hangs() {
    let world = without_tree().await;
    let hanging = Receiver::start(Manner::Hang).await;
    let receiver = Receiver::start(Manner::Status(204, "")).await;
    let mut command = sync(
        &world,
        &["--formula", "tree", "--notify", "failure,warning"],
    );
    command
        .env("HOMEBREW_SYNC_SLACK_WEBHOOK", hanging.url())
        .env(
            "HOMEBREW_SYNC_WEBHOOK_COMMAND",
            format!("echo '{}'", receiver.url()),
        )
        .env("HOMEBREW_SYNC_WEBHOOK_KEY", "a key");
    let (code, _, err) = run(command).await;
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("Slack") && err.contains("timeout"), "{err}");
    let got = receiver.got();
    let [got] = &got[..] else {
        panic!("it is told once: {got:?}");
    };
    let signed = got.headers.get(SIGNATURE).expect("it is signed");
    assert_eq!(signed, &signature("a key", &got.body));
    // Known from elsewhere: RFC 4231, test case 2.
    assert_eq!(
        signature("Jefe", b"what do ya want for nothing?"),
        "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
    let json = got.json();
    assert_eq!(json["event"], "failure");
    assert_eq!(json["run"]["outcome"], "incomplete");
    assert_eq!(json["run"]["failures"][0]["formula"], "tree");
    // A key that cannot be read sends nothing unsigned.
    let mut command = sync(&world, &["--formula", "jq", "--skip", "tree"]);
    command
        .env("HOMEBREW_SYNC_WEBHOOK", receiver.url())
        .env("HOMEBREW_SYNC_WEBHOOK_KEY_FILE", "/nowhere/key");
    let (code, _, err) = run(command).await;
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("/nowhere/key"), "{err}");
    assert_eq!(receiver.got().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_host_of_slack_is_reached_over_tls_and_a_proxy() {
    let world = World::new().await;
    let receiver = Receiver::start(Manner::Slack).await;
    let proxy = ScriptedProxy::in_front_of(receiver.address);
    let url = format!("https://hooks.slack.com/services/{SECRET}");
    let test = || {
        let mut command = program(&world);
        command
            .args(["test-notification"])
            .env("HOMEBREW_SYNC_SLACK_WEBHOOK", &url)
            .envs(proxy.proxy_env());
        command
    };
    // Whose certificate nobody vouches for is told nothing.
    let mut command = test();
    command
        .env_remove("SSL_CERT_FILE")
        .env_remove("AWS_CA_BUNDLE");
    let (code, _, err) = run(command).await;
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("certificate"), "{err}");
    assert!(receiver.got().is_empty());
    let mut command = test();
    command.env("SSL_CERT_FILE", proxy.ca_pem_path());
    let (code, out, err) = run(command).await;
    assert_eq!(code, 0, "{err}");
    assert!(
        out.contains("Slack (hooks.slack.com): sent, 200 OK: ok"),
        "{out}"
    );
    assert_eq!(receiver.got()[0].path, format!("/services/{SECRET}"));
    assert!(!format!("{out}{err}").contains("XXXXsecret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_try_says_what_came_back() {
    let world = World::new().await;
    let mut command = program(&world);
    command.arg("test-notification");
    let (code, _, err) = run(command).await;
    assert_eq!(code, 4, "{err}");
    assert!(err.contains("HOMEBREW_SYNC_SLACK_WEBHOOK"), "{err}");
    let gone = Receiver::start(Manner::Status(404, "no_service")).await;
    let there = Receiver::start(Manner::Status(200, "thanks")).await;
    let mut command = program(&world);
    command
        .args(["test-notification", "--json"])
        .env("HOMEBREW_SYNC_SLACK_WEBHOOK", gone.url())
        .env("HOMEBREW_SYNC_WEBHOOK", there.url());
    let (code, out, err) = run(command).await;
    assert_eq!(code, 1, "{err}");
    let found: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(found["channels"][0]["error"], "404 Not Found: no_service");
    assert_eq!(found["channels"][1]["answer"], "200 OK: thanks");
    assert!(err.contains("make a new one"), "{err}");
    assert!(!format!("{out}{err}").contains("XXXXsecret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_goes_over_tls_with_a_password_that_nobody_sees() {
    let world = World::new().await;
    let place = tempfile::tempdir().expect("a directory");
    let [mails, certificate, key] =
        ["mails", "cert.pem", "key.pem"].map(|name| place.path().join(name));
    std::fs::create_dir(&mails).expect("a directory");
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("signed");
    std::fs::write(&certificate, signed.cert.pem()).expect("written");
    std::fs::write(&key, signed.signing_key.serialize_pem()).expect("written");
    let server = Smtpd::start(&mails, Some((&certificate, &key)));
    let server_url =
        |password: &str| format!("smtps://mailer:{password}@localhost:{}", server.port());
    let mut command = sync(&world, &JQ);
    command
        .env("HOMEBREW_SYNC_SMTP", server_url("hunter2"))
        .env(
            "HOMEBREW_SYNC_MAIL_TO",
            "ops@example.com, Büro <office@example.com>",
        )
        .env("HOMEBREW_SYNC_MAIL_FROM", "Mirror <mirror@example.com>")
        .env("SSL_CERT_FILE", &certificate);
    let (code, out, err) = run(command).await;
    assert_eq!(code, 0, "{err}");
    assert!(!err.contains("Failed to send"), "{err}");
    // One, of the end: nobody wants a mail about progress.
    let mail = std::fs::read_to_string(mails.join("0001.eml")).expect("a mail");
    assert_eq!(std::fs::read_dir(&mails).expect("a folder").count(), 1);
    for part in [
        "X-From: mirror@example.com",
        "X-To: ops@example.com, office@example.com",
        "Subject: [homebrew-sync] Homebrew sync completed",
        "New bottles: 2",
    ] {
        assert!(mail.contains(part), "{part}: {mail}");
    }
    assert!(!format!("{out}{err}{}", all_of(&world)).contains("hunter2"));
    // A wrong password, a mailbox that is not there, a certificate that nobody vouches for.
    for (password, to, trust, says) in [
        (
            "wrong-pass",
            "ops@example.com",
            true,
            "check user and password",
        ),
        ("hunter2", "nobody@example.com", true, "no such mailbox"),
        ("hunter2", "ops@example.com", false, "certificate"),
    ] {
        let mut command = program(&world);
        command
            .args(["test-notification", "--mail-to", to])
            .env("HOMEBREW_SYNC_SMTP", server_url(password));
        if trust {
            command.env("SSL_CERT_FILE", &certificate);
        }
        let (code, _, err) = run(command).await;
        assert_eq!(code, 1, "{err}");
        assert!(err.contains(says), "{says}: {err}");
        assert!(!err.contains(password), "{err}");
    }
    assert_eq!(std::fs::read_dir(&mails).expect("a folder").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_on_this_machine_needs_no_tls() {
    let world = World::new().await;
    let mails = tempfile::tempdir().expect("a directory");
    let server = Smtpd::start(mails.path(), None);
    let url = |host: &str| format!("smtp://mailer:hunter2@{host}:{}", server.port());
    let test = |url: String| {
        let mut command = program(&world);
        command
            .args(["test-notification", "--mail-to", "ops@example.com"])
            .env("HOMEBREW_SYNC_SMTP", url);
        command
    };
    let (code, out, err) = run(test(url("127.0.0.1"))).await;
    assert_eq!(code, 0, "{err}");
    assert!(
        out.contains("mail (ops@example.com by 127.0.0.1): sent, 250"),
        "{out}"
    );
    let (code, _, err) = run(test("smtp://example.com".to_owned() + "/x y")).await;
    assert_eq!(code, 4, "{err}");
    let (code, _, err) = run(test("http://mailer:hunter2@127.0.0.1".to_owned())).await;
    assert_eq!(code, 4, "{err}");
    assert!(
        err.contains("smtps://") && !err.contains("hunter2"),
        "{err}"
    );
}
