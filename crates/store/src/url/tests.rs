//! Store URLs as people type them: right, wrong, and cut by a shell.

use super::*;
use proptest::prelude::*;

fn parse(text: &str) -> StoreUrl {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn check(text: &str, expected: &str) {
    let url = parse(text);
    assert_eq!(url.to_string(), expected, "{text}");
    assert_eq!(
        parse(&url.to_config_string()).to_config_string(),
        url.to_config_string(),
        "{text}"
    );
}

fn check_error(text: &str, what: &str, remedy: &str) {
    let error = text.parse::<StoreUrl>().expect_err(text);
    assert!(error.to_string().contains(what), "{text}: {error}");
    assert!(
        error.remedy().contains(remedy),
        "{text}: {}",
        error.remedy()
    );
}

#[test]
fn folders() {
    check("folder:/data/sync/", "folder:/data/sync");
    check("folder:///data/sync", "folder:/data/sync");
    check("folder:~/sync", "folder:~/sync");
    check("~/sync", "folder:~/sync");
    check("/data/a b?c#d%", "folder:/data/a b?c#d%");
    check("file:///data/a%20b", "folder:/data/a b");
    check("file://localhost/data", "folder:/data");
    check("/", "folder:/");
    assert_eq!(
        parse("folder:~/a")
            .expand_home(Path::new("/home/me"))
            .folder(),
        Some(Path::new("/home/me/a"))
    );
    assert_eq!(
        parse("~").expand_home(Path::new("/home/me")).folder(),
        Some(Path::new("/home/me/"))
    );
    assert_eq!(
        parse("folder:/a~/b")
            .expand_home(Path::new("/home/me"))
            .folder(),
        Some(Path::new("/a~/b"))
    );
    check_error("folder:data", "not an absolute path", "folder:/PATH");
    check_error("folder:", "not an absolute path", "folder:/PATH");
    check_error("folder://host/data", "names no host", "mount");
    check_error("file://host/data", "no host", "file:///PATH");
}

#[test]
fn buckets_as_in_the_guides() {
    check(
        "s3://my-bucket/hx-sync?region=us-west-2",
        "s3://my-bucket/hx-sync?region=us-west-2",
    );
    check(
        "s3://hx-sync?endpoint=localhost:9000&path_style=true&access_key=minioadmin&secret_key=minioadmin",
        "s3://hx-sync?endpoint=localhost:9000&path_style=true&access_key=***&secret_key=***",
    );
    check(
        "s3://w/x?endpoint=s3.example.com&region=r"
            .replace("w/", "was/")
            .as_str(),
        "s3://was/x?region=r&endpoint=s3.example.com",
    );
    check("s3://bucket//a/b//", "s3://bucket/a/b");
    check(
        "S3://bucket/a%20b?path_style=1",
        "s3://bucket/a%20b?path_style=true",
    );
    check(
        "s3://bucket?session_token=t&secret_key=s&access_key=a",
        "s3://bucket?access_key=***&secret_key=***&session_token=***",
    );
    check("s3://bucket?profile=hx", "s3://bucket?profile=hx");
    check("memory:", "memory:");
    check("gs://bucket/p", "gs://bucket/p");
    check("az://container/p", "az://container/p");
}

#[test]
fn mistakes_are_named_with_what_was_meant() {
    check_error("", "empty", "s3://");
    check_error("bucket/prefix", "no scheme", "folder:/PATH");
    check_error("s4://bucket", "'s4:'", "did you mean 's3:'");
    check_error("foldr:/x", "'foldr:'", "did you mean 'folder:'");
    check_error("https://bucket.s3.amazonaws.com", "'https:'", "endpoint=");
    check_error("s3:/bucket", "no '//'", "s3://BUCKET");
    check_error("s3://", "bucket is missing", "s3://BUCKET");
    check_error("s3:///prefix", "bucket is missing", "s3://BUCKET");
    check_error("s3://Bucket", "contains 'B'", "lower-case");
    check_error("s3://my_bucket", "contains '_'", "lower-case");
    check_error("s3://ab", "2 characters", "3 to 63");
    check_error("s3://-ab", "begins or ends", "letter or digit");
    check_error("s3://a..b", "two dots", "");
    check_error("s3://192.168.1.1", "IP address", "");
    check_error("s3://bucket/a/../b", "'..'", "one slash");
    check_error("s3://bucket/a//b", "empty part", "one slash");
}

#[test]
fn mistakes_in_parameters_are_named_too() {
    check_error("s3://bucket?regoin=x", "'regoin'", "did you mean region?");
    check_error("s3://bucket?Region=x", "'Region'", "did you mean region?");
    check_error(
        "s3://bucket?path-style=true",
        "'path-style'",
        "did you mean path_style?",
    );
    check_error(
        "s3://bucket?access_key_id=x",
        "'access_key_id'",
        "did you mean access_key?",
    );
    check_error(
        "s3://bucket?endpoint_url=x",
        "'endpoint_url'",
        "did you mean endpoint?",
    );
    check_error(
        "s3://bucket?colour=x",
        "'colour'",
        "the parameters are region",
    );
    check_error(
        "s3://bucket?region=a&region=b",
        "region is given twice",
        "keep one",
    );
    check_error("s3://bucket?regoin", "'***'", "did you mean region?");
    check_error("s3://bucket?region=x&abc", "has no value", "%26");
    check_error("s3://bucket/p&region=x", "no '?'", "a '?'");
    check_error("s3://bucket?region", "region has no value", "quotes");
    check_error("s3://bucket?endpoint=", "endpoint has no value", "quotes");
    for odd in ["é.example", "h:9000\\"] {
        let url = format!("s3://bucket?endpoint={odd}");
        check_error(&url, "contains", "localhost:9000");
    }
    for ip in ["127.0.0.1:9000", "10.1", "[::1]:9000"] {
        let url = format!("s3://bucket?endpoint={ip}&path_style=false");
        check_error(&url, "no sub-domains", "path_style=true");
    }
    check_error("s3://bucket?path_style=maybe", "'maybe'", "path_style=true");
    check_error("s3://bucket?region=a%2", "per cent", "%25");
    check_error(
        "s3://bucket?region=a%2Fb",
        "cannot be a region",
        "us-west-2",
    );
    check_error(
        "s3://bucket?endpoint=ftp://h",
        "neither http",
        "localhost:9000",
    );
    check_error(
        "s3://bucket?endpoint=h:port",
        "no host and port",
        "localhost:9000",
    );
    check_error(
        "s3://bucket?access_key=a",
        "secret_key is missing",
        "quotes",
    );
    check_error("s3://bucket?secret_key=a", "access_key is missing", "both");
    check_error(
        "s3://bucket?session_token=a",
        "access_key is missing",
        "both",
    );
}

#[test]
fn no_text_ever_shows_a_secret() {
    let texts = [
        "s3://bucket?access_key=AKIAHUSH&secret_key=HUSH/with+signs=&session_token=HUSHtoken",
        "s3://bucket?access_key=HUSH",
        "s3://HUSH:HUSH@bucket/p",
        "s3://bucket?access_key=HUSH&secret_key=HUSH&secret_key=HUSH",
        "s3://bucket?access_key=HUSH&secret_key=HUSH%zz",
        "s3://bucket?endpoint=http://u:HUSH@host",
        "bucket?secret_key=HUSH",
        "s3://bucket?HUSH",
        "s3://bucket?region=x&HUSH/with+signs",
        "s3://bucket?access_key=a&secret_key=ab&HUSH==",
        "s3://bucket?access_key=a&secret_key=ab&HUSH/1+x=",
        "s3://bucket&access_key=HUSH&secret_key=HUSH",
        "s3://bucket/p&secret_key=HUSH?region=x",
        "bucket&secret_key=HUSH",
    ];
    for text in texts {
        let shown = match text.parse::<StoreUrl>() {
            Ok(url) => format!(
                "{url} {url:?} {:?} {} {}",
                url.secrets(),
                url.to_config_string(),
                url.quoted_example()
            ),
            Err(error) => format!("{error} {error:?} {}", error.remedy()),
        };
        assert!(!shown.contains("HUSH"), "{text}: {shown}");
    }
    let url = parse(texts[0]);
    let secrets = url.secrets().expect("has some");
    assert_eq!(secrets.secret_key(), "HUSH/with+signs=", "a plus is a plus");
    assert_eq!(parse(&url.to_config_string()).with_secrets(secrets), url);
}

#[test]
fn a_url_that_the_shell_cut_is_recognised() {
    for cut in [
        "s3://hx-sync?endpoint=localhost:9000",
        "s3://hx-sync?region=us-west-2&",
    ] {
        assert!(parse(cut).looks_cut_at_ampersand(), "{cut}");
    }
    for whole in [
        "s3://bucket/hx-sync?region=us-west-2",
        "s3://bucket",
        "s3://b-k?endpoint=localhost:9000&path_style=true",
        "s3://b-k?endpoint=localhost:9000&access_key=a&secret_key=b",
        "folder:/x",
    ] {
        assert!(!parse(whole).looks_cut_at_ampersand(), "{whole}");
    }
    assert_eq!(
        parse("s3://hx-sync?endpoint=localhost:9000").quoted_example(),
        "\"s3://hx-sync?endpoint=localhost:9000&path_style=true&access_key=ACCESS_KEY&secret_key=SECRET_KEY\""
    );
}

#[test]
fn places_and_hosts() {
    let same = |a: &str, b: &str| parse(a).same_place(&parse(b));
    assert!(same("s3://bucket/p?region=a&profile=x", "s3://bucket/p/"));
    assert!(same(
        "s3://bucket?endpoint=localhost:9000",
        "s3://bucket?endpoint=http://LOCALHOST:9000/&access_key=a&secret_key=b"
    ));
    assert!(!same("s3://bucket/p", "s3://bucket/q"));
    assert!(!same(
        "s3://bucket?endpoint=localhost:9000",
        "s3://bucket?endpoint=localhost:9001"
    ));
    assert!(!same("s3://bucket", "gs://bucket"));
    assert!(same("folder:/a/b/", "/a//b"));
    let host = |text: &str| parse(text).host();
    assert_eq!(
        host("s3://bucket?endpoint=http://[::1]:9000").as_deref(),
        Some("::1")
    );
    assert_eq!(
        host("s3://bucket?endpoint=localhost:9000").as_deref(),
        Some("localhost")
    );
    assert_eq!(
        host("s3://bucket?region=eu-west-1").as_deref(),
        Some("bucket.s3.eu-west-1.amazonaws.com")
    );
    assert_eq!(host("folder:/x"), None);
}

proptest! {
    #[test]
    fn what_parses_is_printed_so_that_it_parses_again(
        bucket in "[a-z0-9][a-z0-9-]{1,20}[a-z0-9]",
        prefix in prop::collection::vec("[^/\\p{Cc}]{1,8}", 0..3),
        region in prop::option::of("[a-z]{2}-[a-z]{4}-[0-9]"),
        style in prop::option::of(any::<bool>()),
        keys in prop::option::of(("\\PC{1,20}", "\\PC{1,40}", prop::option::of("\\PC{1,40}"))),
    ) {
        prop_assume!(prefix.iter().all(|part| part != "." && part != ".."));
        let mut url = StoreUrl { bucket, prefix: prefix.join("/"), region, path_style: style, ..StoreUrl::empty(StoreKind::S3) };
        url.secrets = keys.map(|(access, secret, token)| UrlSecrets::new(access, secret, token));
        let text = url.with_secrets_in_clear();
        prop_assert_eq!(text.parse::<StoreUrl>().map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?, url);
    }

    #[test]
    fn any_text_is_parsed_or_refused_without_a_panic(text in "\\PC{0,60}", tail in "\\PC{0,60}") {
        let _ = text.parse::<StoreUrl>();
        let _ = format!("s3://bucket?{tail}").parse::<StoreUrl>();
        let _ = format!("s3://{tail}").parse::<StoreUrl>();
    }
}
