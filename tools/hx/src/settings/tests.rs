//! Tests of the settings: layers, problems, paths, and the files written.

use std::os::unix::fs::PermissionsExt;

use super::*;

const CONFIG: &str = "/c/config.yaml";

fn lenient(env: &[(&str, &str)], file: &str) -> (Settings, Vec<Problem>) {
    let env = Env::from_pairs(env.iter().copied());
    Settings::resolve_leniently(&Flags::new(), &env, Some((Path::new(CONFIG), file)))
}

fn url(text: &str) -> StoreUrl {
    text.parse().expect("a store URL")
}

#[test]
fn defaults_are_valid_and_complete() {
    let settings =
        Settings::resolve(&Flags::new(), &Env::default(), None).expect("defaults are valid");
    assert_eq!(
        settings.tuning(),
        Tuning::default(),
        "the table and the store agree on defaults"
    );
    assert_eq!(
        (settings.uploads_in_flight(), settings.downloads_in_flight()),
        (4, 8)
    );
    assert_eq!(settings.compression_level(), Some(3));
    assert_eq!(settings.profile.value, Profile::Off);
    assert_eq!(settings.entries().len(), SETTINGS.len());
}

#[test]
fn every_row_of_the_table_is_sound() {
    for spec in SETTINGS {
        if let Some(default) = spec.default {
            assert!(
                spec.kind.parse(default).is_ok(),
                "{}: default {default}",
                spec.env
            );
        }
        assert!(
            spec.doc.ends_with('.'),
            "{}: the doc is a sentence",
            spec.env
        );
        assert_eq!(
            SETTINGS
                .iter()
                .filter(
                    |other| other.env == spec.env || (spec.key.is_some() && other.key == spec.key)
                )
                .count(),
            1
        );
    }
}

#[test]
fn the_guides_values_are_all_taken() {
    let guides = [
        ("HX_SYNC_TIMEOUT", "30s"),
        ("HX_SYNC_TIMEOUT", "60s"),
        ("HX_SYNC_MAX_RETRIES", "5"),
        ("HX_SYNC_CONNECT_TIMEOUT", "30s"),
        ("HX_SYNC_READ_TIMEOUT", "60s"),
        ("HX_SYNC_TOTAL_TIMEOUT", "300s"),
        ("HX_SYNC_CONCURRENT_UPLOADS", "5"),
        ("HX_SYNC_CONCURRENT_UPLOADS", "1"),
        ("HX_SYNC_CONCURRENT_DOWNLOADS", "10"),
        ("HX_SYNC_MAX_CONNECTIONS", "15"),
        ("HX_SYNC_CHUNK_SIZE", "128MB"),
        ("HX_SYNC_CHUNK_SIZE", "32MB"),
        ("HX_SYNC_MAX_MEMORY_USAGE", "2GB"),
        ("HX_SYNC_MAX_MEMORY_USAGE", "512MB"),
        ("HX_SYNC_STREAMING", "true"),
        ("HX_SYNC_COMPRESSION", "true"),
        ("HX_SYNC_COMPRESSION_LEVEL", "6"),
        ("HX_SYNC_BATCH_SIZE", "5000"),
        ("HX_SYNC_MANIFEST_CACHE_TTL", "30m"),
        ("HX_LOG_LEVEL", "debug"),
        ("HX_PROFILE", "cpu"),
    ];
    for (name, value) in guides {
        let (settings, problems) = lenient(&[(name, value)], "");
        assert!(
            problems
                .iter()
                .all(|problem| problem.severity == Severity::Warning),
            "{name}={value}: {problems:?}"
        );
        let entry = settings
            .entries()
            .into_iter()
            .find(|entry| entry.env == name)
            .expect("is listed");
        assert_eq!(
            entry.origin.as_deref(),
            Some(format!("environment {name}").as_str())
        );
    }
}

#[test]
fn values_reach_the_store() {
    let env = [
        ("HX_SYNC_TIMEOUT", "1s"),
        ("HX_SYNC_CONNECT_TIMEOUT", "2s"),
        ("HX_SYNC_READ_TIMEOUT", "3s"),
        ("HX_SYNC_TOTAL_TIMEOUT", "4s"),
        ("HX_SYNC_MAX_RETRIES", "0"),
        ("HX_SYNC_MAX_CONNECTIONS", "20"),
        ("HX_SYNC_CONCURRENT_UPLOADS", "7"),
        ("HX_SYNC_CONCURRENT_DOWNLOADS", "9"),
    ];
    let (settings, problems) = lenient(&env, "");
    assert_eq!(problems, []);
    let expected = Tuning {
        request_timeout: Duration::from_secs(1),
        connect_timeout: Duration::from_secs(2),
        read_timeout: Duration::from_secs(3),
        total_timeout: Duration::from_secs(4),
        max_retries: 0,
        max_connections: 20,
        concurrent_uploads: 7,
        concurrent_downloads: 9,
        ..Tuning::default()
    };
    assert_eq!(settings.tuning(), expected);
}

#[test]
fn memory_and_streaming_bound_what_is_in_flight() {
    let (settings, _) = lenient(
        &[
            ("HX_SYNC_MAX_MEMORY_USAGE", "512MB"),
            ("HX_SYNC_CHUNK_SIZE", "128MB"),
        ],
        "",
    );
    assert_eq!(
        (settings.uploads_in_flight(), settings.downloads_in_flight()),
        (2, 2)
    );
    let (settings, _) = lenient(&[("HX_SYNC_STREAMING", "true")], "");
    assert_eq!(
        (settings.uploads_in_flight(), settings.downloads_in_flight()),
        (1, 1)
    );
    let (settings, problems) = lenient(&[("HX_SYNC_MAX_MEMORY_USAGE", "1MB")], "");
    assert_eq!(settings.uploads_in_flight(), 1);
    assert!(
        problems
            .iter()
            .any(|problem| problem.place.contains("chunk_size")),
        "{problems:?}"
    );
}

#[test]
fn a_broken_file_leaves_settings_to_work_with() {
    let (settings, problems) = lenient(&[("HX_SYNC_TIMEOUT", "7s")], "sync: [");
    assert_eq!(settings.sync.timeout.value, Duration::from_secs(7));
    assert_eq!(problems.len(), 1);
    assert!(problems[0].place.contains(CONFIG));
    let strict = Settings::resolve(
        &Flags::new(),
        &Env::default(),
        Some((Path::new(CONFIG), "sync: [")),
    );
    assert_eq!(strict.expect_err("a broken file").len(), 1);
}

#[test]
fn misspelt_names_are_told_apart() {
    let (_, problems) = lenient(&[("HX_SYNC_TIMOUT", "7s")], "sync:\n  conect_timeout: 5s\n");
    let nearest: Vec<_> = problems
        .iter()
        .filter_map(|problem| problem.nearest.as_deref())
        .collect();
    assert_eq!(nearest, ["HX_SYNC_TIMEOUT", "sync.connect_timeout"]);
    assert!(
        Settings::resolve(
            &Flags::new(),
            &Env::from_pairs([("HX_SYNC_TIMOUT", "7s")]),
            None
        )
        .is_ok(),
        "a warning stops nothing"
    );
}

#[test]
fn a_default_that_a_shorter_whole_cuts_off_is_no_contradiction() {
    let (_, problems) = lenient(&[("HX_SYNC_TOTAL_TIMEOUT", "10s")], "");
    assert!(problems.is_empty(), "{problems:?}");
}

#[test]
fn contradictions_are_warned_of() {
    for (env, said) in [
        (vec![("HX_SYNC_TIMEOUT", "400s")], "sync.total_timeout"),
        (
            vec![("HX_SYNC_CONCURRENT_UPLOADS", "30")],
            "sync.max_connections",
        ),
        (
            vec![
                ("HX_SYNC_PASSPHRASE", "x"),
                ("HX_SYNC_PASSPHRASE_FILE", "/p"),
            ],
            "the file wins",
        ),
    ] {
        let (_, problems) = lenient(&env, "");
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].to_string().contains(said), "{}", problems[0]);
        assert_eq!(problems[0].severity, Severity::Warning);
    }
}

#[test]
fn no_secret_is_shown() {
    let env = [
        ("HX_SYNC_PASSPHRASE", "horse staple"),
        ("AWS_SECRET_ACCESS_KEY", "wJalr"),
        ("AWS_PROFILE", "hx"),
    ];
    let store =
        "sync:\n  store: \"s3://bkt/p?region=eu-west-1&access_key=AKabc&secret_key=SKdef\"\n";
    let (settings, problems) = lenient(&env, store);
    let mut shown = format!(
        "{:?} {:?} {settings:?} {problems:?}",
        settings.entries(),
        Entry::foreign(&Env::from_pairs(env))
    );
    shown.push_str(&serde_json::to_string(&settings.entries()).expect("JSON"));
    for secret in ["horse", "wJalr", "AKabc", "SKdef"] {
        assert!(!shown.contains(secret), "{secret}");
    }
    assert!(shown.contains("AWS_PROFILE"));
    assert!(
        problems
            .iter()
            .any(|problem| problem.what.contains("in clear")),
        "{problems:?}"
    );
}

#[test]
fn a_wrong_store_is_an_error_with_a_remedy() {
    let (settings, problems) = lenient(&[("HX_SYNC_STORE", "ftp://somewhere")], "");
    assert_eq!((problems.len(), problems[0].severity), (1, Severity::Error));
    assert!(settings.store_url().is_err());
    let (settings, _) = lenient(&[("HX_SYNC_STORE", "folder:~/x"), ("HOME", "/home/me")], "");
    let url = settings.store_url().expect("valid").expect("is set");
    assert_eq!(url.value.folder(), Some(Path::new("/home/me/x")));
}

#[test]
fn paths_follow_the_environment() {
    let resolve = |pairs: &[(&str, &str)]| Paths::resolve(&Env::from_pairs(pairs.iter().copied()));
    let paths = resolve(&[("HOME", "/home/me")]).expect("HOME is enough");
    assert_eq!(
        paths.config_file(),
        Path::new("/home/me/.config/hx/config.yaml")
    );
    assert_eq!(
        paths.database(),
        Path::new("/home/me/.local/share/hx/hx.db")
    );
    assert_eq!(
        paths.cache_dir(),
        Path::new("/home/me/.local/share/hx/sync/cache")
    );
    assert_eq!(
        paths.store_credentials(),
        Path::new("/home/me/.local/share/hx/keys/store-credentials.json")
    );

    let paths = resolve(&[
        ("HOME", "/h"),
        ("XDG_DATA_HOME", "/d"),
        ("XDG_CONFIG_HOME", "relative"),
    ])
    .expect("resolves");
    assert_eq!(
        (paths.data_dir(), paths.config_file()),
        (Path::new("/d/hx"), Path::new("/h/.config/hx/config.yaml"))
    );
    let paths =
        resolve(&[("HX_CONFIG", "/a.yaml"), ("HX_DATA_DIR", "/b")]).expect("HOME is not needed");
    assert_eq!(
        (paths.config_file(), paths.data_dir()),
        (Path::new("/a.yaml"), Path::new("/b"))
    );

    let failure = resolve(&[("HOME", "/h"), ("HX_DATA_DIR", "mine")]).expect_err("relative");
    assert_eq!(failure.exit().code(), 4);
    assert!(failure.message().contains("HX_DATA_DIR"));
    let failure = resolve(&[]).expect_err("no home");
    assert_eq!(failure.exit().code(), 4);
    assert!(failure.message().contains("HOME"));
}

#[test]
fn writing_the_store_keeps_the_rest_and_no_secret() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let paths = Paths::under(dir.path());
    let given = url("s3://bkt/p?region=eu-west-1&access_key=AKabc&secret_key=SKdef");
    write_store(&paths, &given).expect("creates");
    std::fs::write(
        paths.config_file(),
        std::fs::read_to_string(paths.config_file()).expect("reads") + "# mine\nlog_level: info\n",
    )
    .expect("appends");
    write_store(&paths, &url("folder:/srv/hx")).expect("changes");
    let text = std::fs::read_to_string(paths.config_file()).expect("reads");
    assert!(
        text.contains("# mine\nlog_level: info\n")
            && text.contains("folder:/srv/hx")
            && !text.contains("SKdef"),
        "{text}"
    );

    let (settings, problems) = Settings::load(&Flags::new(), &Env::default(), &paths);
    assert_eq!(problems, []);
    let store = settings.store_url().expect("valid").expect("is set");
    assert!(store.value.same_place(&url("folder:/srv/hx")));
    assert_eq!(
        store.origin,
        Origin::File(paths.config_file().to_path_buf())
    );
}

#[test]
fn a_linked_configuration_stays_a_link() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let paths = Paths::under(dir.path());
    let real = dir.path().join("dotfiles.yaml");
    std::fs::write(&real, "log_level: info\n").expect("writes");
    std::os::unix::fs::symlink(&real, paths.config_file()).expect("links");
    write_store(&paths, &url("folder:/srv/hx")).expect("changes");
    assert!(paths.config_file().is_symlink());
    assert!(
        std::fs::read_to_string(&real)
            .expect("reads")
            .contains("folder:/srv/hx")
    );
}

#[test]
fn a_broken_configuration_is_not_overwritten() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let paths = Paths::under(dir.path());
    std::fs::write(paths.config_file(), "sync: [").expect("writes");
    let failure = write_store(&paths, &url("folder:/srv/hx")).expect_err("broken");
    assert_eq!(failure.exit().code(), 4);
    assert_eq!(
        std::fs::read_to_string(paths.config_file()).expect("reads"),
        "sync: ["
    );
}

#[test]
fn credentials_are_private_and_belong_to_their_store() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let paths = Paths::under(&dir.path().join("data"));
    let bare = url("s3://bkt/p?region=eu-west-1");
    assert_eq!(credentials::read(&paths, &bare).expect("nothing yet"), None);

    credentials::write(
        &paths,
        &url("s3://bkt/p?region=eu-west-1&access_key=AKone&secret_key=SKone"),
    )
    .expect("writes");
    credentials::write(
        &paths,
        &url("s3://other/p?region=eu-west-1&access_key=AKtwo&secret_key=SKtwo"),
    )
    .expect("writes");
    credentials::write(
        &paths,
        &url("s3://bkt/p?region=eu-west-1&access_key=AKnew&secret_key=SKnew"),
    )
    .expect("replaces");

    let mode = |path: &Path| {
        std::fs::metadata(path)
            .expect("is there")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(
        (mode(&paths.store_credentials()), mode(&paths.keys_dir())),
        (0o600, 0o700)
    );
    assert!(!credentials::is_exposed(&paths));
    let attached = credentials::attach(&paths, bare.clone())
        .expect("reads")
        .secrets()
        .expect("has keys");
    assert_eq!(attached.access_key(), "AKnew");
    let text = std::fs::read_to_string(paths.store_credentials()).expect("reads");
    assert!(!text.contains("SKone") && text.contains("SKtwo"));

    assert!(credentials::forget(&paths, &bare).expect("forgets"));
    assert_eq!(credentials::read(&paths, &bare).expect("reads"), None);
    assert!(!credentials::forget(&paths, &bare).expect("nothing left"));
}

#[test]
fn damaged_credentials_are_named_and_kept() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let paths = Paths::under(dir.path());
    paths.create().expect("creates");
    std::fs::write(paths.store_credentials(), "{\"secret_key\": \"SKone\"").expect("writes");
    let given = url("s3://bkt/p?region=eu-west-1&access_key=AKnew&secret_key=SKnew");
    let failure = credentials::write(&paths, &given).expect_err("damaged");
    assert!(
        !failure.render(false).contains("SKone")
            && failure.message().contains("store-credentials.json")
    );
    assert!(
        std::fs::read_to_string(paths.store_credentials())
            .expect("reads")
            .contains("SKone")
    );
}
