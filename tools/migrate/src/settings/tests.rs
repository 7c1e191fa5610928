//! Tests of the settings: the application's variables, word for word.

use super::*;
use clap::Parser;

fn resolve(arguments: &[&str], env: &[(&str, &str)]) -> Result<Settings, Failure> {
    let directory = tempfile::tempdir().expect("temporary directory");
    let line =
        CommandLine::try_parse_from([&["migrate_to_s3"], arguments].concat()).expect("parses");
    Settings::resolve(
        &line,
        &Env::from_pairs(env.iter().copied()),
        directory.path(),
    )
}

fn bucket(env: &[(&str, &str)]) -> String {
    let settings = resolve(&[], env).expect("resolves");
    settings
        .bucket
        .map_or_else(|| "none".into(), |bucket| bucket.value.to_config_string())
}

#[test]
fn nothing_is_set() {
    let settings = resolve(&[], &[]).expect("resolves");
    assert_eq!(
        settings.database_url.value,
        "postgresql://readur:readur@localhost:5432/readur"
    );
    assert_eq!(settings.upload_path.value, Path::new("./uploads"));
    assert!(
        settings.bucket.is_none() && !settings.app_uses_s3.value && settings.state_is_volatile()
    );
}

#[test]
fn the_parts_of_a_database_url_are_encoded_once() {
    let env = [
        ("POSTGRES_PASSWORD", "p@ss/w%41rd#"),
        ("POSTGRES_HOST", "db"),
        ("POSTGRES_PORT", "5433"),
    ];
    let settings = resolve(&[], &env).expect("resolves");
    assert_eq!(
        settings.database_url.value,
        "postgresql://readur:p%40ss%2Fw%41rd%23@db:5433/readur"
    );
    let shown = format!("{:?}", settings.describe());
    assert!(!shown.contains("p%40ss"), "{shown}");
}

#[test]
fn only_true_switches_s3_on() {
    for (env, expected) in [
        (vec![("S3_ENABLED", "TRUE")], true),
        (vec![("S3_ENABLED", "1")], false),
        (vec![("S3_ENABLED", "yes")], false),
        (
            vec![("S3_ENABLED", "false"), ("STORAGE_BACKEND", "s3")],
            true,
        ),
    ] {
        assert_eq!(
            resolve(&[], &env).expect("resolves").app_uses_s3.value,
            expected,
            "{env:?}"
        );
    }
}

#[test]
fn a_bucket_from_the_variables() {
    let name = ("S3_BUCKET_NAME", "docs");
    assert_eq!(bucket(&[]), "none");
    assert_eq!(bucket(&[name]), "s3://docs?region=us-east-1");
    assert_eq!(
        bucket(&[name, ("S3_ENDPOINT", "http://minio:9000")]),
        "s3://docs?region=us-east-1&endpoint=http://minio:9000&path_style=true"
    );
    assert_eq!(
        bucket(&[
            name,
            ("S3_ENDPOINT", "http://minio:9000"),
            ("S3_ENDPOINT_URL", "")
        ]),
        "s3://docs?region=us-east-1",
        "an empty S3_ENDPOINT_URL hides the alias"
    );
    assert_eq!(
        bucket(&[
            name,
            ("S3_ENDPOINT_URL", "http://minio:9000"),
            ("S3_FORCE_PATH_STYLE", "1")
        ]),
        "s3://docs?region=us-east-1&endpoint=http://minio:9000&path_style=false",
        "only the word true counts"
    );
}

#[test]
fn a_wrong_value_is_named() {
    for (arguments, env, expected) in [
        (&["--multipart-threshold", "1KB"][..], &[][..], "5 MiB"),
        (&["--path-map", "/app"], &[], "FROM=TO"),
        (&["--database-url", "mysql://x"], &[], "postgres://"),
        (&[], &[("DATABASE_TIMEOUT", "soon")], "DATABASE_TIMEOUT"),
        (&[], &[("S3_BUCKET_NAME", "A_B")], "bucket"),
    ] {
        let text = resolve(arguments, env).expect_err("refuses").render(false);
        assert!(text.contains(expected) && text.contains("hint:"), "{text}");
    }
}

#[test]
fn without_an_order_the_host_name_is_tried_second() {
    let name = ("S3_BUCKET_NAME", "docs");
    let second = |endpoint: &str| {
        let settings = resolve(&[], &[name, ("S3_ENDPOINT_URL", endpoint)]).expect("resolves");
        settings.second_bucket.map(|url| url.to_config_string())
    };
    assert_eq!(
        second("http://minio:9000").as_deref(),
        Some("s3://docs?region=us-east-1&endpoint=http://minio:9000&path_style=false")
    );
    for address in ["http://10.0.0.1:9000", "http://[::1]:9000", "127.0.0.1"] {
        assert_eq!(second(address), None, "{address} has no sub-domains");
    }
    let env = [
        name,
        ("S3_ENDPOINT_URL", "http://10.0.0.1:9000"),
        ("S3_FORCE_PATH_STYLE", "1"),
    ];
    let text = resolve(&[], &env).expect_err("refuses").render(false);
    assert!(text.contains("S3_FORCE_PATH_STYLE=true"), "{text}");
}
