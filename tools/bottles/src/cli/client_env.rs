//! `homebrew-sync client-env`: what to set on a client, by its version.
//!
//! What must hold: with these variables a client asks the mirror and nobody else, as far as its version lets itself be told so; it asks
//! the mirror for a newer API, or else it would install what was there when it first asked.

use super::args::ClientEnvArgs;
use console::{Exit, Failure, Ui};
use url::Url;

/// The first release that can be told not to fall back; earlier ones ask the internet for what the mirror lacks.
const NO_FALLBACK_SINCE: [u64; 3] = [4, 3, 1];

/// The first release that refreshes the API although it does not update itself (`HOMEBREW_FORCE_API_AUTO_UPDATE`). Before, both hang on
/// one variable, but brew does not update itself twice in one command, and takes another variable for the sign that it has done so
/// (`auto-update` in `brew.sh`).
const FORCE_API_SINCE: [u64; 3] = [4, 4, 16];

/// The first release for which `none` means no Authorization header; earlier ones take it for a token, and send it.
const NO_HEADER_SINCE: [u64; 3] = [5, 0, 8];

/// The client that is meant where none is named.
const CLIENT: &str = "6.0.18";

pub(super) fn run(args: &ClientEnvArgs, ui: &Ui) -> Result<Exit, Failure> {
    let pairs = of(&args.url, &args.client)?;
    if ui.is_json() {
        let object: serde_json::Map<_, _> = pairs
            .iter()
            .map(|(name, value, _)| ((*name).to_owned(), value.clone().into()))
            .collect();
        ui.json(&object);
        return Ok(Exit::Ok);
    }
    for (name, value, why) in pairs {
        ui.out(format!("# {why}"));
        ui.out(format!("export {name}='{}'", value.replace('\'', r"'\''")));
    }
    if version(&args.client).is_some_and(|version| version < NO_HEADER_SINCE) {
        ui.hint(
            "A brew before 5.0.8 always sends an Authorization header with portable-ruby, and one before 4.5.3 with every bottle: \
             a bucket that clients ask directly may refuse it; `homebrew-sync serve` does not.",
        );
    }
    Ok(Exit::Ok)
}

fn of(url: &str, client: &str) -> Result<Vec<(&'static str, String, &'static str)>, Failure> {
    let url: Url = url
        .parse()
        .map_err(|error| Failure::wrap(Exit::Usage, format!("{url:?} is no address"), &error))?;
    let version = version(client).ok_or_else(|| {
        Failure::usage(format!("{client:?} is no version of brew"))
            .hint("write it as `brew --version` does, such as 6.0.18")
    })?;
    Ok(variables(&url, version))
}

/// What a client of a version should have set; one that does not say its version is taken for a new one.
pub(super) fn expected(
    url: &str,
    client: Option<&str>,
) -> Result<Vec<(&'static str, String)>, Failure> {
    let pairs = of(url, client.unwrap_or(CLIENT))?;
    let pairs = pairs.into_iter().map(|(name, value, _)| (name, value));
    Ok(pairs.collect())
}

fn version(text: &str) -> Option<[u64; 3]> {
    let text = text.trim();
    let mut parts = text
        .strip_prefix("Homebrew ")
        .unwrap_or(text)
        .split(['.', '-']);
    let mut next = || parts.next()?.parse().ok();
    Some([next()?, next()?, next().unwrap_or(0)])
}

fn variables(url: &Url, version: [u64; 3]) -> Vec<(&'static str, String, &'static str)> {
    let root = url.as_str().trim_end_matches('/').to_owned();
    let mut found = vec![
        (
            "HOMEBREW_API_DOMAIN",
            format!("{root}/api"),
            "Lists of formulae come from the mirror",
        ),
        (
            "HOMEBREW_ARTIFACT_DOMAIN",
            root,
            "Bottles and their manifests come from the mirror",
        ),
    ];
    if version >= NO_FALLBACK_SINCE {
        found.push((
            "HOMEBREW_ARTIFACT_DOMAIN_NO_FALLBACK",
            "1".to_owned(),
            "What the mirror lacks fails at once instead of going to the internet",
        ));
    }
    if version >= NO_HEADER_SINCE {
        found.push((
            "HOMEBREW_DOCKER_REGISTRY_BASIC_AUTH_TOKEN",
            "none".to_owned(),
            "No Authorization header, which plain buckets refuse",
        ));
    }
    found.extend(refreshing(version));
    found.extend([
        (
            "HOMEBREW_NO_ANALYTICS",
            "1".to_owned(),
            "Nothing is sent to anybody",
        ),
        (
            "HOMEBREW_NO_GITHUB_API",
            "1".to_owned(),
            "GitHub is not asked",
        ),
    ]);
    found
}

/// What makes a client refresh its lists from the mirror before it installs, every 450 seconds at most, without an update of brew
/// itself, which would ask GitHub.
fn refreshing(version: [u64; 3]) -> Vec<(&'static str, String, &'static str)> {
    let own = "brew itself is not updated: that would ask GitHub. Do not run `brew update`; ship a newer brew, or set HOMEBREW_BREW_GIT_REMOTE to a copy of its repository";
    let lists = "Lists of formulae that are older than 450 seconds are refreshed before an install (HOMEBREW_API_AUTO_UPDATE_SECS says another time)";
    match version >= FORCE_API_SINCE {
        true => vec![
            ("HOMEBREW_NO_AUTO_UPDATE", "1".to_owned(), own),
            ("HOMEBREW_FORCE_API_AUTO_UPDATE", "1".to_owned(), lists),
        ],
        false => vec![(
            "HOMEBREW_AUTO_UPDATE_CHECKED",
            "1".to_owned(),
            "brew itself is not updated: that would ask GitHub. Lists of formulae that are older than 450 seconds are refreshed before an install, so do not set HOMEBREW_NO_AUTO_UPDATE, which ends both",
        )],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_what_it_understands() {
        let url: Url = "https://mirror.example.com/brew/"
            .parse()
            .expect("an address");
        let names = |text: &str| {
            let version = version(text).expect("a version");
            let found = variables(&url, version);
            assert_eq!(found[0].1, "https://mirror.example.com/brew/api");
            assert_eq!(found[1].1, "https://mirror.example.com/brew");
            let named: Vec<&str> = found.iter().map(|(name, _, _)| *name).collect();
            named.join(" ")
        };
        let has = |text: &str, name: &str| names(text).split(' ').any(|found| found == name);
        let header = "HOMEBREW_DOCKER_REGISTRY_BASIC_AUTH_TOKEN";
        assert!(!has("4.3.0", header) && !has("5.0.7", header) && has("5.0.8", header));
        let fallback = "HOMEBREW_ARTIFACT_DOMAIN_NO_FALLBACK";
        assert!(!has("4.3.0", fallback) && has("4.3.1", fallback));
        assert!(has("Homebrew 6.0.18-157-gabc", fallback));
        // The variable that ends updates ends refreshes too, unless another one stands beside it.
        for text in ["4.0.0", "4.3.0", "4.4.15", "4.4.16", "5.1.0", "6.0.18"] {
            let ends = has(text, "HOMEBREW_NO_AUTO_UPDATE");
            assert_eq!(ends, has(text, "HOMEBREW_FORCE_API_AUTO_UPDATE"), "{text}");
            assert_ne!(ends, has(text, "HOMEBREW_AUTO_UPDATE_CHECKED"), "{text}");
        }
        assert_eq!(version("new"), None);
    }
}
