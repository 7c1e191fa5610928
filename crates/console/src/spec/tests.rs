//! Tests of the layers: which one wins, and what is said of a wrong value or name.

use std::path::Path;

use super::*;

static SPECS: [Spec; 5] = [
    spec(
        "T_TIMEOUT",
        Some("sync.timeout"),
        Kind::Duration {
            min: Duration::from_secs(1),
            max: Duration::from_secs(60),
        },
        Some("30s"),
    ),
    spec(
        "T_CHUNK",
        Some("sync.chunk"),
        Kind::Size {
            min: 1_000,
            max: 1_000_000_000,
        },
        Some("8MB"),
    ),
    spec(
        "T_RETRIES",
        Some("sync.retries"),
        Kind::Integer { min: 0, max: 10 },
        Some("5"),
    ),
    spec(
        "T_LEVEL",
        Some("level"),
        Kind::Choice(&["warn", "debug"]),
        Some("warn"),
    ),
    Spec {
        secret: true,
        ..spec("T_PASSPHRASE", None, Kind::Text, None)
    },
];

const fn spec(
    env: &'static str,
    key: Option<&'static str>,
    kind: Kind,
    default: Option<&'static str>,
) -> Spec {
    Spec {
        env,
        key,
        kind,
        default,
        secret: false,
        doc: "",
    }
}

fn file(text: &str) -> ConfigFile {
    ConfigFile::parse(Path::new("/c.yaml"), text).expect("valid YAML")
}

fn run(flags: &Flags, env: &Env, file: Option<&ConfigFile>) -> (Resolved, Vec<Problem>) {
    resolve(
        &SPECS,
        &Layers {
            flags,
            env,
            file,
            env_prefix: "T_",
        },
    )
}

#[test]
fn upper_layers_win() {
    let file = file("sync:\n  timeout: 10s\n  retries: 2\n");
    let env = Env::from_pairs([("T_TIMEOUT", "20s")]);
    let flags = Flags::new()
        .with("T_TIMEOUT", "--timeout", Some("40s"))
        .with("T_CHUNK", "--chunk", None::<String>);

    let timeout = |flags: &Flags, env: &Env, file| {
        run(flags, env, file)
            .0
            .duration("T_TIMEOUT")
            .expect("has a default")
    };
    let seconds = |n, origin| Setting::new(Duration::from_secs(n), origin);
    assert_eq!(
        timeout(&flags, &env, Some(&file)),
        seconds(40, Origin::Argument("--timeout".into()))
    );
    assert_eq!(
        timeout(&Flags::new(), &env, Some(&file)),
        seconds(20, Origin::Environment("T_TIMEOUT".into()))
    );
    assert_eq!(
        timeout(&Flags::new(), &Env::default(), Some(&file)),
        seconds(10, Origin::File("/c.yaml".into()))
    );
    assert_eq!(
        timeout(&Flags::new(), &Env::default(), None),
        seconds(30, Origin::Default)
    );
    let (resolved, problems) = run(&flags, &env, Some(&file));
    assert_eq!(
        resolved.integer("T_RETRIES").map(|setting| setting.value),
        Some(2)
    );
    assert_eq!(
        resolved.size("T_CHUNK").map(|setting| setting.value),
        Some(8_000_000)
    );
    assert_eq!(resolved.text("T_PASSPHRASE"), None);
    assert_eq!(problems, []);
}

#[test]
fn a_wrong_value_is_named_and_the_next_layer_stands_in() {
    let file = file("sync:\n  timeout: 10s\n");
    let (resolved, problems) = run(
        &Flags::new(),
        &Env::from_pairs([("T_TIMEOUT", "soon")]),
        Some(&file),
    );
    assert_eq!(
        resolved.duration("T_TIMEOUT").map(|setting| setting.value),
        Some(Duration::from_secs(10))
    );
    assert_eq!(problems.len(), 1);
    assert_eq!(
        (problems[0].place.as_str(), problems[0].severity),
        ("environment T_TIMEOUT", Severity::Error)
    );
    assert!(
        problems[0].to_string().contains("`soon`") && problems[0].remedy.contains("30s"),
        "{}",
        problems[0]
    );
}

#[test]
fn bounds_hold() {
    for (name, value) in [
        ("T_TIMEOUT", "61s"),
        ("T_TIMEOUT", "0"),
        ("T_RETRIES", "11"),
        ("T_CHUNK", "10GB"),
        ("T_CHUNK", "1"),
    ] {
        let (_, problems) = run(&Flags::new(), &Env::from_pairs([(name, value)]), None);
        assert_eq!(problems.len(), 1, "{name}={value}");
        assert!(
            problems[0].what.contains("out of bounds"),
            "{}",
            problems[0]
        );
    }
}

#[test]
fn unknown_names_are_warnings_with_the_nearest() {
    let file = file("sync:\n  timout: 10s\n  other_thing: 1\nlevel: debgu\n");
    let (_, problems) = run(
        &Flags::new(),
        &Env::from_pairs([("T_TIMOUT", "1s"), ("OTHER", "x")]),
        Some(&file),
    );
    let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "file /c.yaml, key level: `debgu` does not fit: not one of the words it takes; did you mean `debug`?",
            "environment T_TIMOUT: no setting has this name; did you mean `T_TIMEOUT`?",
            "file /c.yaml, key sync.other_thing: no setting has this name",
            "file /c.yaml, key sync.timout: no setting has this name; did you mean `sync.timeout`?",
        ]
    );
    assert!(
        problems[1..]
            .iter()
            .all(|problem| problem.severity == Severity::Warning)
    );
}

#[test]
fn a_secret_in_the_file_is_turned_away_and_never_shown() {
    let problem = |text| {
        run(&Flags::new(), &Env::default(), Some(&file(text)))
            .1
            .remove(0)
    };
    assert!(
        !problem("phrase: horse\n").remedy.contains("T_PASSPHRASE"),
        "half a word is another name"
    );
    let (resolved, problems) = run(
        &Flags::new(),
        &Env::default(),
        Some(&file("passphrase: horse\n")),
    );
    assert_eq!(resolved.text("T_PASSPHRASE"), None);
    assert!(
        problems[0].remedy.contains("T_PASSPHRASE"),
        "{}",
        problems[0].remedy
    );
    assert!(!format!("{problems:?}").contains("horse"));
}

#[test]
fn lists_and_groups_are_named() {
    let (_, problems) = run(
        &Flags::new(),
        &Env::default(),
        Some(&file("sync:\n  timeout: [1, 2]\n")),
    );
    assert!(problems[0].what.contains("a list"), "{}", problems[0]);
    let (_, problems) = run(&Flags::new(), &Env::default(), Some(&file("sync: 5\n")));
    assert!(problems[0].what.contains("group"), "{}", problems[0]);
    let (_, problems) = run(&Flags::new(), &Env::default(), Some(&file("sync:\n")));
    assert_eq!(problems, []);
}

#[test]
fn values_are_shown_exactly_and_can_be_read_again() {
    for (kind, text) in [
        (
            Kind::Duration {
                min: Duration::from_secs(0),
                max: Duration::from_secs(100_000),
            },
            "90m",
        ),
        (
            Kind::Duration {
                min: Duration::from_secs(0),
                max: Duration::from_secs(100_000),
            },
            "1500ms",
        ),
        (
            Kind::Duration {
                min: Duration::from_secs(0),
                max: Duration::from_secs(100_000),
            },
            "0s",
        ),
        (
            Kind::Size {
                min: 0,
                max: u64::MAX,
            },
            "128MB",
        ),
        (
            Kind::Size {
                min: 0,
                max: u64::MAX,
            },
            "128MiB",
        ),
        (
            Kind::Size {
                min: 0,
                max: u64::MAX,
            },
            "7B",
        ),
        (Kind::Integer { min: 0, max: 9 }, "5"),
        (Kind::Bool, "true"),
    ] {
        assert_eq!(kind.parse(text).expect(text).to_string(), text);
    }
}
