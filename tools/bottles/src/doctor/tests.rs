//! A table of paths and what is said of them.

use super::client::{Client, check};
use super::*;
use jiff::Timestamp;

fn held(formula: &str, version: &str, tag: &str, sha256: &str) -> Held {
    Held {
        formula: formula.to_owned(),
        version: version.to_owned(),
        rebuild: 0,
        tag: tag.to_owned(),
        sha256: sha256.to_owned(),
        size: 1,
        date: String::new(),
    }
}

fn generation(number: u64, bottles: Vec<Held>) -> Generation {
    let mut generation = Generation::empty(Timestamp::UNIX_EPOCH);
    generation.number = number;
    for held in &bottles {
        let entry = crate::log::FileEntry {
            sha256: transfer::Digest::of(b""),
            size: 0,
        };
        generation.manifests.insert(held.manifest_key(), entry);
    }
    generation.bottles = bottles;
    generation
        .selection
        .platforms
        .insert("x86_64_linux".to_owned());
    generation
}

const PATHS: &[(&str, Cause, &str)] = &[
    (
        "/v2/homebrew/core/jq/blobs/sha256:aa",
        Cause::NowMirrored,
        "try again",
    ),
    (
        "/v2/homebrew/core/jq/manifests/1.8",
        Cause::NowMirrored,
        "try again",
    ),
    (
        "/jq-1.8.x86_64_linux.bottle.tar.gz",
        Cause::NowMirrored,
        "try again",
    ),
    (
        "/v2/homebrew/core/jq/blobs/sha256:00",
        Cause::OtherGeneration,
        "generation 1,",
    ),
    (
        "/v2/homebrew/core/jq/manifests/1.7",
        Cause::OtherGeneration,
        "generation 1,",
    ),
    (
        "/jq-1.7.x86_64_linux.bottle.tar.gz",
        Cause::OtherGeneration,
        "generation 1,",
    ),
    (
        "/v2/homebrew/core/jq/manifests/9.9",
        Cause::OtherGeneration,
        "jq 1.8, and the client asks for 9.9",
    ),
    (
        "/v2/homebrew/core/jq/blobs/sha256:ff",
        Cause::OtherGeneration,
        "lists are older or newer",
    ),
    (
        "/v2/homebrew/core/tree/manifests/2.2",
        Cause::PassedOver,
        "names tree 2.2, and the mirror has only 2.1",
    ),
    (
        "/v2/homebrew/core/tree/blobs/sha256:22",
        Cause::PassedOver,
        "without --skip tree",
    ),
    (
        "/tree-2.2.x86_64_linux.bottle.tar.gz",
        Cause::PassedOver,
        "`homebrew-sync rollback`",
    ),
    (
        "/v2/homebrew/core/tree/blobs/sha256:23",
        Cause::OtherPlatform,
        "--platform sonoma",
    ),
    (
        "/v2/homebrew/core/jq/blobs/sha256:bb",
        Cause::OtherPlatform,
        "--platform sonoma",
    ),
    (
        "/jq-1.8.sonoma.bottle.tar.gz",
        Cause::OtherPlatform,
        "--platform sonoma",
    ),
    (
        "/jq-1.6.ventura.bottle.tar.gz",
        Cause::OtherPlatform,
        "--platform ventura",
    ),
    (
        "/api/internal/packages.arm64_tahoe.jws.json",
        Cause::OtherPlatform,
        "--platform arm64_tahoe",
    ),
    (
        "/v2/homebrew/core/python/3.12/blobs/sha256:cc",
        Cause::NotMirrored,
        "--formula python@3.12",
    ),
    (
        "/v2/homebrew/core/python/3.12/manifests/3.12.1",
        Cause::NotMirrored,
        "--formula python@3.12",
    ),
    (
        "/python%403.12-3.12.1.x86_64_linux.bottle.tar.gz",
        Cause::NotMirrored,
        "--formula python@3.12",
    ),
    (
        "/v2/homebrew/core/gtkx/blobs/sha256:11",
        Cause::NotMirrored,
        "--formula gtk+",
    ),
    (
        "/v2/homebrew/core/glibc/manifests/2.39",
        Cause::NotMirrored,
        "--formula glibc --formula gcc",
    ),
    (
        "/v2/homebrew/core/zzz/manifests/1",
        Cause::NotMirrored,
        "neither in the mirror nor in its API",
    ),
    (
        "/zzz-1.x86_64_linux.bottle.tar.gz",
        Cause::NotMirrored,
        "neither in the mirror nor in its API",
    ),
    (
        "/v2/homebrew/core/portable-ruby/blobs/sha256:dd",
        Cause::NotMirrored,
        "--portable-ruby VERSION",
    ),
    (
        "/v2/homebrew/portable-ruby/portable-ruby/blobs/sha256:dd",
        Cause::NotMirrored,
        "--portable-ruby VERSION",
    ),
    (
        "/portable-ruby-4.0.3.x86_64_linux.bottle.tar.gz",
        Cause::NotMirrored,
        "--portable-ruby VERSION",
    ),
    (
        "/api/internal/packages.x86_64_linux.jws.json",
        Cause::NotMirrored,
        "homebrew-sync sync",
    ),
    ("/api/formula/jq.json", Cause::Harmless, "nothing"),
    (
        "/v2/v2/homebrew/core/jq/manifests/1.8",
        Cause::WrongLayout,
        "without /v2",
    ),
    (
        "/brew/v2/homebrew/core/jq/manifests/1.8",
        Cause::WrongLayout,
        "without /v2",
    ),
    (
        "/internal/packages.x86_64_linux.jws.json",
        Cause::WrongLayout,
        "must end in /api",
    ),
    ("/api/api/formula.jws.json", Cause::WrongLayout, "one /api"),
    (
        "/2025-07-21/jq-1.6.monterey.bottle.tar.gz",
        Cause::WrongLayout,
        "take the date out",
    ),
    ("/favicon.ico", Cause::Unknown, "who asked"),
    ("/", Cause::Unknown, "who asked"),
];

#[test]
fn a_path_is_explained_by_what_the_mirror_holds() {
    let current = generation(
        2,
        vec![
            held("jq", "1.8", "x86_64_linux", "aa"),
            held("tree", "2.1", "x86_64_linux", "20"),
        ],
    );
    let others = [generation(1, vec![held("jq", "1.7", "x86_64_linux", "00")])];
    let offered = [
        held("jq", "1.8", "x86_64_linux", "aa").bottle(),
        held("jq", "1.8", "sonoma", "bb").bottle(),
        held("python@3.12", "3.12.1", "x86_64_linux", "cc").bottle(),
        held("gtk+", "2.24", "all", "ee").bottle(),
        held("tree", "2.2", "x86_64_linux", "22").bottle(),
        held("tree", "2.2", "sonoma", "23").bottle(),
    ];
    let known = Known {
        current: &current,
        others: &others,
        offered: &offered,
        gone: &BTreeSet::new(),
    };
    for (path, cause, says) in PATHS {
        let found = explain(path, &known);
        assert_eq!(found.cause, *cause, "{path}: {found:?}");
        let text = format!("{} {}", found.why, found.next);
        assert!(text.contains(says), "{path}: {text}");
    }
}

#[test]
fn what_the_mirror_should_have_and_its_store_has_not_is_no_riddle_of_the_client() {
    let current = generation(2, vec![held("jq", "1.8", "x86_64_linux", "aa")]);
    let paths = [
        "/v2/homebrew/core/jq/blobs/sha256:aa",
        "//jq-1.8.x86_64_linux.bottle.tar.gz",
    ];
    for path in paths {
        let keys = keys(path, &current);
        assert_eq!(keys, ["v2/homebrew/core/jq/blobs/sha256:aa"]);
        let explained = |gone: &BTreeSet<String>| {
            let known = Known {
                current: &current,
                others: &[],
                offered: &[],
                gone,
            };
            explain(path, &known)
        };
        assert_eq!(explained(&BTreeSet::new()).cause, Cause::NowMirrored);
        let found = explained(&keys.into_iter().collect());
        assert_eq!(found.cause, Cause::Gone);
        assert!(found.next.contains("sync --check"), "{found:?}");
    }
}

#[test]
fn a_client_is_compared_with_what_it_should_have() {
    let text = "HOMEBREW_VERSION: 6.0.18\nORIGIN: (none)\nHOMEBREW_API_DOMAIN: http://mirror/api/\nHOMEBREW_ARTIFACT_DOMAIN: https://elsewhere\n\
        export HOMEBREW_NO_ANALYTICS='1'\nHOMEBREW_DOCKER_REGISTRY_TOKEN=hunter2\nHOMEBREW_BOTTLE_DOMAIN=http://mirror\nPATH=/bin";
    let client = Client::parse(text);
    assert_eq!(client.version.as_deref(), Some("6.0.18"));
    let expected = [
        ("HOMEBREW_API_DOMAIN", "http://mirror/api".to_owned()),
        ("HOMEBREW_ARTIFACT_DOMAIN", "http://mirror".to_owned()),
        ("HOMEBREW_ARTIFACT_DOMAIN_NO_FALLBACK", "1".to_owned()),
        ("HOMEBREW_NO_ANALYTICS", "1".to_owned()),
    ];
    let found = check(&client, &expected);
    let why: Vec<&str> = found.iter().map(|finding| finding.why.as_str()).collect();
    assert_eq!(why.len(), 3, "{why:?}");
    assert!(
        why[0].starts_with("HOMEBREW_ARTIFACT_DOMAIN leads elsewhere"),
        "{why:?}"
    );
    assert!(
        why[1].starts_with("HOMEBREW_ARTIFACT_DOMAIN_NO_FALLBACK is not set"),
        "{why:?}"
    );
    assert!(why[2].contains("tried first"), "{why:?}");
    assert!(!format!("{found:?}").contains("hunter2"));
}
