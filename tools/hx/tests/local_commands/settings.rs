//! `hx config`, and that no secret is shown.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use crate::device::Device;

const SECRET: &str = "canary7Kq2secretZ9";
const KEY_ID: &str = "AKIACANARYCANARY1234";

#[test]
fn no_secret_is_shown_in_any_form() {
    let mut device = Device::new();
    device.set(
        "HX_SYNC_STORE",
        &format!("s3://bucket/prefix?region=r1&access_key={KEY_ID}&secret_key={SECRET}"),
    );
    device.set("HX_SYNC_PASSPHRASE", SECRET);
    device.set("AWS_SECRET_ACCESS_KEY", SECRET);
    device.set("AWS_ACCESS_KEY_ID", KEY_ID);
    device.set("AWS_SESSION_TOKEN", SECRET);
    device.set("HTTPS_PROXY", &format!("http://me:{SECRET}@proxy:8080"));
    for args in [
        &["config", "show"][..],
        &["config", "show", "--json"],
        &["config", "validate"],
        &["config", "validate", "--json"],
        &["status"],
    ] {
        let ran = device.hx(args).succeeds();
        let all = format!("{}{}", ran.out, ran.err);
        assert!(
            !all.contains(SECRET) && !all.contains(KEY_ID),
            "{args:?}: {all}"
        );
    }
    let shown = device.hx(&["config", "show"]).succeeds().out;
    for part in [
        "s3://bucket/prefix",
        "environment HX_SYNC_STORE",
        "AWS_SECRET_ACCESS_KEY",
        "HTTPS_PROXY",
        "***",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn a_secret_in_a_url_that_is_wrong_is_not_shown_either() {
    let mut device = Device::new();
    device.set(
        "HX_SYNC_STORE",
        &format!("s3://bucket?secret_key={SECRET}&regoin=r1"),
    );
    for args in [
        &["config", "show"][..],
        &["config", "validate"],
        &["config", "validate", "--json"],
        &["find", "x"],
        &["find", "x", "--json"],
    ] {
        let ran = device.hx(args);
        assert!(
            !format!("{}{}", ran.out, ran.err).contains(SECRET),
            "{args:?}: {ran:?}"
        );
    }
    assert_eq!(device.hx(&["config", "validate"]).code, 4);
}

#[test]
fn every_value_says_where_it_comes_from() {
    let mut device = Device::new();
    let file = device.write(
        ".config/hx/config.yaml",
        "sync:\n  max_retries: 7\n  timeout: 20s\n",
    );
    device.set("HX_SYNC_TIMEOUT", "45s");
    let shown = device.hx(&["config", "show", "--json"]).succeeds().json();
    let setting = |key: &str| {
        let settings = shown["settings"].as_array().expect("settings");
        let found = settings
            .iter()
            .find(|entry| entry["key"] == key)
            .expect("the setting");
        (
            found["value"].as_str().unwrap_or_default().to_owned(),
            found["origin"].as_str().unwrap_or_default().to_owned(),
        )
    };
    assert_eq!(
        setting("sync.max_retries"),
        ("7".into(), format!("file {file}"))
    );
    assert_eq!(
        setting("sync.timeout"),
        ("45s".into(), "environment HX_SYNC_TIMEOUT".into())
    );
    assert_eq!(
        setting("sync.read_timeout"),
        ("30s".into(), "default".into())
    );
    assert_eq!(shown["config_file"], file);
}

#[test]
fn a_misspelt_name_is_a_warning_with_the_right_one() {
    let mut device = Device::new();
    device.write(".config/hx/config.yaml", "sync:\n  max_retrys: 7\n");
    device.set("HX_SYNC_TIMOUT", "3s");
    let ran = device.hx(&["config", "validate"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    for part in [
        "warning: ",
        "did you mean `HX_SYNC_TIMEOUT`?",
        "did you mean `sync.max_retries`?",
        "0 errors, 2 warnings",
    ] {
        assert!(ran.out.contains(part), "{part}: {ran:?}");
    }
}

#[test]
fn a_wrong_value_ends_validation_and_other_commands_with_4() {
    let mut device = Device::new();
    device.set("HX_SYNC_TIMEOUT", "fast");
    let ran = device.hx(&["config", "validate", "--json"]);
    assert_eq!(
        (
            ran.code,
            ran.json()["errors"].as_u64(),
            ran.json()["valid"].as_bool()
        ),
        (4, Some(1), Some(false)),
        "{ran:?}"
    );
    device.hx(&["find", "x"]).fails(4, "HX_SYNC_TIMEOUT");
    let shown = device.hx(&["config", "show"]);
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(
        shown.err.contains("warning: ") && shown.out.contains("sync.timeout"),
        "{shown:?}"
    );
}

#[test]
fn a_broken_file_is_named_and_help_and_version_still_work() {
    let device = Device::new();
    let file = device.write(".config/hx/config.yaml", "sync: [unfinished\n");
    let ran = device.hx(&["config", "validate"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(
        ran.out.contains(&file) && ran.out.contains("1 error, "),
        "{ran:?}"
    );
    assert_eq!(device.hx(&["config", "show"]).code, 0);
    device.hx(&["--version"]).succeeds();
    device.hx(&["find", "--help"]).succeeds();
    device.hx(&["completions", "bash"]).succeeds();
    device.hx(&["status"]).fails(4, "config.yaml");
}

#[test]
fn files_with_secrets_that_others_can_read_are_warned_of() {
    let mut device = Device::new();
    let file = device.write(
        ".local/share/hx/keys/store-credentials.json",
        "{\"version\":1,\"stores\":[]}",
    );
    let passphrase = device.write("passphrase", "correct horse\n");
    device.set("HX_SYNC_PASSPHRASE_FILE", &passphrase);
    for path in [&file, &passphrase] {
        std::fs::set_permissions(path, Permissions::from_mode(0o644)).expect("a mode");
    }
    let ran = device.hx(&["config", "validate"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.out.contains(&format!("chmod 600 {file}"))
            && ran.out.contains(&format!("chmod 600 {passphrase}")),
        "{ran:?}"
    );
    for path in [&file, &passphrase] {
        std::fs::set_permissions(path, Permissions::from_mode(0o600)).expect("a mode");
    }
    assert!(
        device
            .hx(&["config", "validate"])
            .succeeds()
            .out
            .starts_with("The settings are valid.")
    );
}

#[test]
fn a_misspelt_parameter_is_taken_for_a_secret() {
    for name in [
        "secret_kye",
        "secret-key",
        "secretkey",
        "SECRETKEY",
        "acces_key",
    ] {
        let url = format!("s3://bucket/x?region=us-west-2&{name}=hunter2/abc");
        let mut device = Device::new();
        device.set("HX_SYNC_STORE", &url);
        for args in [
            &["config", "show"][..],
            &["config", "show", "--json"],
            &["config", "validate"],
            &["sync", "diagnose"],
            &["sync", "init", "--store", &url],
            &["status"],
        ] {
            let ran = device.hx(args);
            assert!(
                !ran.out.contains("hunter2") && !ran.err.contains("hunter2"),
                "{args:?} {ran:?}"
            );
            assert!(!ran.out.is_empty() || !ran.err.is_empty());
        }
    }
}
