//! `cargo xtask deps`: what may depend on what, and where dependencies may come from.
//!
//! Each rule has its reason beside it. The rules are checked against what cargo resolved, not
//! against what the manifests seem to say.

use crate::run::{self, Outcome};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Our crates, and which of our crates each may use outside its tests.
const LAYERS: [(&str, &[&str]); 6] = [
    // The bottom: bytes and where they live. It knows nothing of what is stored.
    ("store", &[]),
    // Encryption and replication over a store. It must serve any tool.
    ("vault", &["store"]),
    // Bulk copying with a journal. It must serve any tool, and knows nothing of the vault.
    ("transfer", &["store"]),
    // What every tool shows a person; it renders store errors.
    ("console", &["store"]),
    // For tests of every crate, so it may know none of them.
    ("testkit", &[]),
    // Compiles before anything else and must stay light.
    ("xtask", &[]),
];

/// What a tool or a benchmark may use.
const ENGINE: [&str; 4] = ["store", "vault", "transfer", "console"];

/// Crates that must not come in, and why.
const BANNED: [(&str, &str); 6] = [
    (
        "openssl-sys",
        "needs a system library; rustls with ring does all we need",
    ),
    (
        "openssl",
        "needs a system library; rustls with ring does all we need",
    ),
    ("native-tls", "brings OpenSSL on Linux"),
    (
        "aws-lc-sys",
        "takes minutes to compile; ring is the provider here",
    ),
    (
        "aws-lc-rs",
        "takes minutes to compile; ring is the provider here",
    ),
    ("libz-sys", "a C library nobody asked for"),
];

/// The most packages `Cargo.lock` may hold. Raising it is a decision to be reviewed.
const LOCKED_PACKAGES_MAX: usize = 480;

/// Checks all rules and names every breach.
pub(crate) fn run() -> Outcome {
    let metadata = run::metadata(&[])?;
    let lock = std::fs::read_to_string(run::root().join("Cargo.lock"))
        .map_err(|error| format!("Cargo.lock: {error}"))?;
    let mut breaches = layers(&metadata);
    breaches.extend(banned(&metadata));
    breaches.extend(sources(&metadata));
    breaches.extend(wildcards(&metadata));
    breaches.extend(lock_size(&lock));
    if breaches.is_empty() {
        println!("deps: layers, sources and versions are as they should be");
        return Ok(());
    }
    Err(format!(
        "{} dependency rules are broken:\n  {}",
        breaches.len(),
        breaches.join("\n  ")
    ))
}

fn array<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("")
}

/// The packages of this workspace.
fn ours(metadata: &Value) -> Vec<&Value> {
    let members: BTreeSet<&str> = array(metadata, "workspace_members")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    array(metadata, "packages")
        .iter()
        .filter(|package| members.contains(text(package, "id")))
        .collect()
}

fn layers(metadata: &Value) -> Vec<String> {
    let packages = ours(metadata);
    let names: BTreeSet<&str> = packages
        .iter()
        .map(|package| text(package, "name"))
        .collect();
    let allowed: BTreeMap<&str, &[&str]> = LAYERS.into_iter().collect();
    let mut breaches = Vec::new();
    for package in packages {
        let name = text(package, "name");
        let may = allowed.get(name).copied().unwrap_or(&ENGINE);
        for dependency in array(package, "dependencies") {
            let (on, kind) = (text(dependency, "name"), text(dependency, "kind"));
            let for_tests = kind == "dev" && on == "testkit" && name != "testkit";
            // Benchmarks generate their input with the test fixtures, and run the tools.
            let for_benches = name == "bench";
            if names.contains(on) && on != name && !may.contains(&on) && !for_tests && !for_benches
            {
                breaches.push(format!("{name} may not depend on {on}"));
            }
        }
    }
    breaches
}

fn banned(metadata: &Value) -> Vec<String> {
    // The resolved graph holds what is built; the package list also holds what is merely possible.
    let resolved: BTreeSet<&str> = array(&metadata["resolve"], "nodes")
        .iter()
        .map(|node| text(node, "id"))
        .collect();
    let built = array(metadata, "packages")
        .iter()
        .filter(|package| resolved.contains(text(package, "id")));
    let names: BTreeSet<&str> = built.map(|package| text(package, "name")).collect();
    BANNED
        .iter()
        .filter(|(name, _)| names.contains(name))
        .map(|(name, why)| format!("{name} must not come in: {why} (see `cargo tree -i {name}`)"))
        .collect()
}

/// All packages come from this workspace or from one and the same registry.
fn sources(metadata: &Value) -> Vec<String> {
    let mut breaches = Vec::new();
    let mut registries = BTreeSet::new();
    let ours: BTreeSet<&str> = ours(metadata)
        .iter()
        .map(|package| text(package, "id"))
        .collect();
    for package in array(metadata, "packages") {
        match package["source"].as_str() {
            Some(source) if source.starts_with("registry+") => drop(registries.insert(source)),
            Some(source) => breaches.push(format!(
                "{} comes from {source}, not from the registry",
                text(package, "name")
            )),
            None if ours.contains(text(package, "id")) => {}
            None => breaches.push(format!(
                "{} comes from a path outside the workspace",
                text(package, "name")
            )),
        }
    }
    if registries.len() > 1 {
        breaches.push(format!(
            "dependencies come from {} registries",
            registries.len()
        ));
    }
    breaches
}

fn wildcards(metadata: &Value) -> Vec<String> {
    let mut breaches = Vec::new();
    for package in ours(metadata) {
        for dependency in array(package, "dependencies") {
            if text(dependency, "req") == "*" && dependency["path"].is_null() {
                breaches.push(format!(
                    "{} asks for any version of {}",
                    text(package, "name"),
                    text(dependency, "name")
                ));
            }
        }
    }
    breaches
}

fn lock_size(lock: &str) -> Vec<String> {
    let count = lock.lines().filter(|line| *line == "[[package]]").count();
    if count <= LOCKED_PACKAGES_MAX {
        return Vec::new();
    }
    vec![format!(
        "Cargo.lock holds {count} packages, more than {LOCKED_PACKAGES_MAX}"
    )]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn workspace(name: &str, on: &str, kind: Value) -> Value {
        json!({
            "workspace_members": ["a", "b"],
            "packages": [
                {"id": "a", "name": name, "source": null,
                 "dependencies": [{"name": on, "kind": kind, "req": "*", "path": "somewhere"}]},
                {"id": "b", "name": on, "source": null, "dependencies": []},
            ],
            "resolve": {"nodes": [{"id": "a"}, {"id": "b"}]},
        })
    }

    #[test]
    fn a_layer_may_use_only_what_is_below_it() {
        assert!(layers(&workspace("vault", "store", Value::Null)).is_empty());
        assert!(layers(&workspace("hx", "vault", Value::Null)).is_empty());
        assert!(layers(&workspace("store", "testkit", json!("dev"))).is_empty());
        for (name, on) in [
            ("store", "vault"),
            ("vault", "console"),
            ("vault", "hx"),
            ("hx", "testkit"),
            ("testkit", "store"),
        ] {
            assert_eq!(
                layers(&workspace(name, on, Value::Null)),
                [format!("{name} may not depend on {on}")]
            );
        }
    }

    #[test]
    fn banned_crates_and_foreign_sources_are_named() {
        let mut metadata = workspace("hx", "store", Value::Null);
        let foreign = json!({"id": "c", "name": "openssl", "source": "git+https://example.test/x", "dependencies": []});
        metadata["packages"]
            .as_array_mut()
            .expect("packages")
            .push(foreign);
        metadata["resolve"]["nodes"]
            .as_array_mut()
            .expect("nodes")
            .push(json!({"id": "c"}));
        assert_eq!(banned(&metadata).len(), 1);
        assert_eq!(sources(&metadata).len(), 1);
        assert!(
            wildcards(&metadata).is_empty(),
            "a path dependency needs no version"
        );
        metadata["packages"][0]["dependencies"][0]["path"] = Value::Null;
        assert_eq!(wildcards(&metadata).len(), 1);
    }

    #[test]
    fn the_lock_file_has_a_cap() {
        assert!(lock_size("[[package]]\n").is_empty());
        assert_eq!(
            lock_size(&"[[package]]\n".repeat(LOCKED_PACKAGES_MAX + 1)).len(),
            1
        );
    }
}
