//! `homebrew-sync client-env`: what to set on a client, by its version.
//!
//! What must hold: with these variables a client asks the mirror and nobody else, as far as its version lets itself be told so.

use super::args::ClientEnvArgs;
use console::{Exit, Failure, Ui};
use url::Url;

/// The first release that can be told not to fall back; earlier ones ask the internet for what the mirror lacks.
const NO_FALLBACK_SINCE: [u64; 3] = [4, 3, 1];

pub(super) fn run(args: &ClientEnvArgs, ui: &Ui) -> Result<Exit, Failure> {
    let url: Url = args.url.parse().map_err(|error| {
        Failure::wrap(Exit::Usage, format!("{:?} is no address", args.url), &error)
    })?;
    let version = version(&args.client).ok_or_else(|| {
        Failure::usage(format!("{:?} is no version of brew", args.client))
            .hint("write it as `brew --version` does, such as 6.0.18")
    })?;
    let pairs = variables(&url, version);
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
    Ok(Exit::Ok)
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
    found.extend([
        (
            "HOMEBREW_DOCKER_REGISTRY_BASIC_AUTH_TOKEN",
            "none".to_owned(),
            "No Authorization header, which plain buckets refuse",
        ),
        (
            "HOMEBREW_NO_AUTO_UPDATE",
            "1".to_owned(),
            "brew itself is not updated before every command",
        ),
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
            found
                .iter()
                .any(|(name, _, _)| *name == "HOMEBREW_ARTIFACT_DOMAIN_NO_FALLBACK")
        };
        assert!(!names("4.3.0") && names("4.3.1") && names("Homebrew 6.0.18-157-gabc"));
        assert_eq!(version("new"), None);
    }
}
