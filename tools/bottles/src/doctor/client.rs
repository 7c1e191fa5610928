//! What a client says of itself, compared with what it should have set.
//!
//! What must hold: tokens and passwords that a client's variables hold are not repeated.

use super::{Cause, Finding, finding};
use std::collections::BTreeMap;

/// What a client says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// Its version, if it says so.
    pub version: Option<String>,
    /// Its variables.
    pub variables: BTreeMap<String, String>,
}

impl Client {
    /// Reads the output of `brew config` or `env`, or lines of `export`; everything else is passed over.
    #[must_use]
    pub fn parse(text: &str) -> Client {
        let mut client = Client::default();
        for line in text.lines() {
            let line = line.trim();
            let line = line.strip_prefix("export ").unwrap_or(line);
            let Some(at) = line.find([':', '=']) else {
                continue;
            };
            let (name, value) = (line[..at].trim(), line[at + 1..].trim());
            let value = value.trim_matches(['"', '\'']);
            if name == "HOMEBREW_VERSION" {
                client.version = Some(value.to_owned());
            } else if name.starts_with("HOMEBREW_") {
                client.variables.insert(name.to_owned(), value.to_owned());
            }
        }
        client
    }

    fn is_set(&self, name: &str) -> bool {
        self.variables
            .get(name)
            .is_some_and(|value| !value.is_empty())
    }
}

/// Compares a client with the variables that it should have, name and value.
#[must_use]
pub fn check(client: &Client, expected: &[(&str, String)]) -> Vec<Finding> {
    let mut found = Vec::new();
    for (name, value) in expected {
        let has = client.variables.get(*name).filter(|has| !has.is_empty());
        // What a client reads of its own addresses may differ in a slash at the end.
        let same = |has: &String| has.trim_end_matches('/') == value.trim_end_matches('/');
        match has {
            Some(has) if same(has) || !name.ends_with("_DOMAIN") => {}
            Some(_) => found.push(variable(
                format!("{name} leads elsewhere than to the mirror"),
                format!("export {name}='{value}'"),
            )),
            None => found.push(variable(
                format!("{name} is not set"),
                format!("export {name}='{value}'"),
            )),
        }
    }
    found.extend(contradictions(client, expected));
    found
}

/// What is set and should not be.
fn contradictions(client: &Client, expected: &[(&str, String)]) -> Vec<Finding> {
    let mut found = Vec::new();
    let wants = |name: &str| expected.iter().any(|(known, _)| *known == name);
    if client.is_set("HOMEBREW_NO_AUTO_UPDATE") && !wants("HOMEBREW_NO_AUTO_UPDATE") {
        found.push(variable(
            "HOMEBREW_NO_AUTO_UPDATE is set, and this version then never refreshes its lists: it asks for bottles of the past",
            "unset HOMEBREW_NO_AUTO_UPDATE, and set HOMEBREW_AUTO_UPDATE_CHECKED=1",
        ));
    }
    if client.is_set("HOMEBREW_BOTTLE_DOMAIN") && client.is_set("HOMEBREW_ARTIFACT_DOMAIN") {
        found.push(variable(
            "HOMEBREW_BOTTLE_DOMAIN is set besides, and is tried first, in the flat layout",
            "unset HOMEBREW_BOTTLE_DOMAIN",
        ));
    } else if client.is_set("HOMEBREW_BOTTLE_DOMAIN") {
        found.push(variable(
            "HOMEBREW_BOTTLE_DOMAIN is the flat layout: `homebrew-sync serve` has it, plain static files have not",
            "use HOMEBREW_ARTIFACT_DOMAIN in its place",
        ));
    }
    if client.is_set("HOMEBREW_NO_INSTALL_FROM_API") {
        found.push(variable(
            "HOMEBREW_NO_INSTALL_FROM_API is set: the client reads formulae from a git repository, not from the mirror's API",
            "unset HOMEBREW_NO_INSTALL_FROM_API",
        ));
    }
    found
}

fn variable(why: impl Into<String>, next: impl Into<String>) -> Finding {
    finding(Cause::Variable, why, next)
}
