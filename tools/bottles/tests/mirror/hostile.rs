//! Names from an upstream that would act on the terminal of who reads them.

use crate::mending::does;
use crate::program::{run, sync};
use crate::world::World;
use bottles::sample::{Sample, formulae};
use serde_json::Value;

const EVIL: &str = "\u{1b}[31mevil\r\nERROR fake \u{9b}2J\u{7f}\u{202e}";

/// Checks that nothing in a text acts, and that no line of it is of others' making.
fn check(text: &str) {
    let acts = |c: char| (c.is_control() && !"\n\t".contains(c)) || c == '\u{202e}';
    assert!(!text.contains(acts), "{text:?}");
    assert!(
        !text.lines().any(|line| line.starts_with("ERROR fake")),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn control_characters_of_an_upstream_are_shown_and_not_sent() {
    let mut formulae = formulae();
    let mut evil = formulae[0].clone();
    evil.name = EVIL.to_owned();
    formulae.push(evil);
    let world = World::serving(Sample::of(&formulae)).await;
    // Something is mirrored, so that there is something to ask for.
    let (code, _, err) = run(sync(
        &world,
        &["--formula", "jq", "--platform", "x86_64_linux"],
    ))
    .await;
    assert_eq!(code, 0, "{err}");
    check(&err);
    for more in [&["-q"][..], &["-v"], &["--json"]] {
        let arguments = [&["--all", "--platform", "x86_64_linux"], more].concat();
        let (code, out, err) = run(sync(&world, &arguments)).await;
        assert_eq!(code, 3, "{out}{err}");
        check(&out);
        check(&err);
        assert!(err.contains("evil\\r\\nERROR fake"), "{err}");
        if more == ["--json"] {
            let found: Value = serde_json::from_str(&out).expect("JSON");
            assert_eq!(found["failures"][0]["formula"], EVIL, "{out}");
        }
        if more == ["-v"] {
            let mut records = err.lines().filter(|line| line.starts_with('{'));
            let record = records.next_back().expect("the record");
            let found: Value = serde_json::from_str(record).expect("JSON");
            assert_eq!(found["failures"][0]["formula"], EVIL, "{record}");
        }
    }
    let path = format!("/v2/{EVIL}/manifests/1");
    for arguments in [
        &["runs"][..],
        &["runs", "--json"],
        &["doctor", "--client", "--path", &path],
        &["rollback", EVIL],
    ] {
        let (_, said) = does(&world, arguments).await;
        check(&said);
        assert!(said.contains("evil"), "{said}");
    }
}
