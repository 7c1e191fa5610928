//! How a bottle is called where: the image in a registry, the tag of its manifest, the file of the flat layout.
//!
//! What must hold: a name that came from outside becomes part of a key only if it cannot leave its place; the same bottle has the
//! same keys in every run.
//!
//! It deliberately knows nothing of stores. The rules are those of Homebrew's client (`github_packages.rb`, `bottle_specification.rb`).

/// Where the images of homebrew/core lie, in a registry and below a mirror's root.
pub const CORE: &str = "v2/homebrew/core";

/// The longest tag that the OCI distribution specification allows.
const TAG_MAX: usize = 128;

/// Tells whether a text can be the name of a formula: letters, digits, `@`, `+`, `-`, `_` and `.`, beginning with a letter or a digit.
#[must_use]
pub fn is_formula(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"@+-_.".contains(&byte);
    !name.is_empty()
        && name.len() <= 200
        && name.as_bytes()[0].is_ascii_alphanumeric()
        && name.bytes().all(allowed)
        // An image is a path: a part of it must not be empty, or lead upwards.
        && image(name).split('/').all(|part| !part.trim_matches('.').is_empty())
}

/// Tells whether a text can be a tag of a manifest: `[A-Za-z0-9_][A-Za-z0-9._-]{0,127}`.
#[must_use]
pub fn is_tag(tag: &str) -> bool {
    let first = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= TAG_MAX
        && tag.bytes().next().is_some_and(first)
        && tag.bytes().all(|byte| first(byte) || b".-".contains(&byte))
}

/// Returns the image of a formula: `python@3.12` is in `python/3.12`, `gtk+` in `gtkx`.
#[must_use]
pub fn image(formula: &str) -> String {
    formula.replace('@', "/").replace('+', "x")
}

/// Returns the version of a package: the stable version, and the revision if there is one.
#[must_use]
pub fn package_version(stable: &str, revision: u64) -> String {
    match revision {
        0 => stable.to_owned(),
        revision => format!("{stable}_{revision}"),
    }
}

/// Returns the tag of a bottle's manifest: the package's version, and the rebuild if there is one.
#[must_use]
pub fn manifest_tag(package_version: &str, rebuild: u64) -> String {
    match rebuild {
        0 => package_version.to_owned(),
        rebuild => format!("{package_version}-{rebuild}"),
    }
}

/// Returns what a manifest calls the bottle of one platform: `1.7.1.arm64_sonoma`, with the rebuild at the end if there is one.
#[must_use]
pub fn reference(package_version: &str, platform: &str, rebuild: u64) -> String {
    match rebuild {
        0 => format!("{package_version}.{platform}"),
        rebuild => format!("{package_version}.{platform}.{rebuild}"),
    }
}

/// Returns the key of a bottle's bytes.
#[must_use]
pub fn blob_key(formula: &str, sha256: &str) -> String {
    format!("{CORE}/{}/blobs/sha256:{sha256}", image(formula))
}

/// Returns the key of a manifest.
#[must_use]
pub fn manifest_key(formula: &str, tag: &str) -> String {
    format!("{CORE}/{}/manifests/{tag}", image(formula))
}

/// Returns the name of a bottle's file in the flat layout.
#[must_use]
pub fn flat_file(formula: &str, package_version: &str, platform: &str, rebuild: u64) -> String {
    match rebuild {
        0 => format!("{formula}-{package_version}.{platform}.bottle.tar.gz"),
        rebuild => format!("{formula}-{package_version}.{platform}.bottle.{rebuild}.tar.gz"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bottle_is_called_as_the_client_calls_it() {
        assert_eq!(image("python@3.12"), "python/3.12");
        assert_eq!(image("gtk+"), "gtkx");
        assert_eq!(package_version("1.7", 0), "1.7");
        assert_eq!(package_version("1.7", 2), "1.7_2");
        assert_eq!(manifest_tag("1.7_2", 1), "1.7_2-1");
        assert_eq!(reference("1.7_2", "all", 0), "1.7_2.all");
        assert_eq!(reference("1.7_2", "monterey", 3), "1.7_2.monterey.3");
        assert_eq!(
            flat_file("openssl@3", "3.1", "monterey", 1),
            "openssl@3-3.1.monterey.bottle.1.tar.gz"
        );
        assert_eq!(
            manifest_key("gtk+", "2.24"),
            "v2/homebrew/core/gtkx/manifests/2.24"
        );
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_none() {
        for good in ["jq", "python@3.12", "gtk+", "a.b", "7zip", "libsigc++@2"] {
            assert!(is_formula(good), "{good}");
        }
        for bad in [
            "", "../x", "a/b", "..", "a@", "a@..", "@a", "a b", "a\n", "-x", "ü",
        ] {
            assert!(!is_formula(bad), "{bad:?}");
        }
        assert!(
            is_tag("1.7_2-1") && !is_tag("") && !is_tag("-1") && !is_tag("a/b") && !is_tag("1:2")
        );
        assert!(!is_tag(&"1".repeat(129)));
    }
}
