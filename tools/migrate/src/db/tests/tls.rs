//! Encrypted connections: each `sslmode` against a server with a certificate of our own authority.

use super::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::fs;
use std::path::Path;
use testkit::postgres::PostgresOptions;

/// Writes the authority's certificate, and one for `localhost` with its key, where the server can read them.
fn certificates(folder: &Path) -> Vec<(String, String)> {
    let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().expect("a key");
    let issuer = CertifiedIssuer::self_signed(authority, authority_key).expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new(vec!["localhost".to_owned()])
        .expect("parameters")
        .signed_by(&key, &issuer)
        .expect("a certificate");
    fs::write(folder.join("root.pem"), issuer.pem()).expect("a file");
    fs::write(folder.join("server.pem"), certificate.pem()).expect("a file");
    fs::write(folder.join("server.key"), key.serialize_pem()).expect("a file");
    restrict(&folder.join("server.key"));
    let setting =
        |name: &str, file: &str| (name.to_owned(), folder.join(file).display().to_string());
    vec![
        ("ssl".to_owned(), "on".to_owned()),
        setting("ssl_cert_file", "server.pem"),
        setting("ssl_key_file", "server.key"),
    ]
}

/// PostgreSQL wants a key that is its own, and it does not run as root.
fn restrict(key: &Path) {
    use std::os::unix::fs::{PermissionsExt, chown};
    if rustix::process::getuid().is_root() {
        let users = fs::read_to_string("/etc/passwd").expect("the users");
        let line = users.lines().find(|line| line.starts_with("postgres:"));
        let ids: Vec<u32> = line
            .expect("there is a user postgres")
            .split(':')
            .filter_map(|field| field.parse().ok())
            .collect();
        chown(key, Some(ids[0]), Some(ids[1])).expect("the key changes hands");
    }
    fs::set_permissions(key, fs::Permissions::from_mode(0o600)).expect("its rights change");
}

#[tokio::test]
async fn each_mode_checks_what_it_promises() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))
        .expect("its rights change");
    let settings = certificates(folder.path());
    let server = testkit::Postgres::with(PostgresOptions {
        settings,
        ..PostgresOptions::default()
    })
    .expect("a server with a certificate");
    let database = server.database();
    database.sql("CREATE TABLE docs (id bigint PRIMARY KEY, path text)");
    let root = folder.path().join("root.pem").display().to_string();
    let by_name = database.url().replace("127.0.0.1", "localhost");
    let by_number = database.url();
    for (url, works) in [
        (format!("{by_number}?sslmode=prefer"), true),
        (format!("{by_number}?sslmode=require"), true),
        (
            format!("{by_number}?sslmode=verify-ca&sslrootcert={root}"),
            true,
        ),
        (
            format!("{by_name}?sslmode=verify-full&sslrootcert={root}"),
            true,
        ),
        (
            format!("{by_number}?sslmode=verify-full&sslrootcert={root}"),
            false,
        ),
        // The system's authorities do not know ours.
        (
            format!("{by_number}?sslmode=verify-ca&sslrootcert=system"),
            false,
        ),
    ] {
        match open_database(&url, &options("test"), &mapping()).await {
            Ok(_) => assert!(works, "{url}"),
            Err(error) => {
                assert!(!works, "{url}: {error}: {}", error.source_text());
                assert_eq!(error.kind(), DbErrorKind::Connection, "{url}: {error}");
            }
        }
    }
    let url = format!("{by_number}?sslmode=require");
    let _db = open_database(&url, &options("encrypted"), &mapping())
        .await
        .expect("it opens");
    let sql = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl AND application_name = 'encrypted'";
    assert_eq!(database.sql(sql).trim(), "1");
}
