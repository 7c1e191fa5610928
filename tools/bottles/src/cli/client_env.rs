//! `homebrew-sync client-env`: what to set on a client, by its version.
//!
//! What must hold: with these variables a client asks the mirror and nobody else, as far as its version lets itself be told so.

use super::args::ClientEnvArgs;
use console::{Exit, Failure, Ui};
use url::Url;

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

fn version(text: &str) -> Option<(u64, u64)> {
    let text = text.trim().strip_prefix("Homebrew ").unwrap_or(text.trim());
    let mut parts = text.split(['.', '-']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn variables(url: &Url, version: (u64, u64)) -> Vec<(&'static str, String, &'static str)> {
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
    if version >= (4, 6) {
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
