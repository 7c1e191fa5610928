//! Platforms, as Homebrew tags them: `arm64_sonoma`, `sonoma` (Intel), `x86_64_linux`, `all`.
//!
//! What must hold: of the bottles that a formula has, a platform gets the one that its clients would take (`utils/bottles.rb`): its
//! own, then `all`, then on macOS the first in the list that was built for an older macOS of the same processor.

use std::fmt;
use std::str::FromStr;

/// The versions of macOS by their names, the oldest first. Homebrew drops old ones from its own list; a mirror keeps serving them. A name
/// that is not here is refused, not guessed.
const MACOS: [&str; 17] = [
    "snow_leopard",
    "lion",
    "mountain_lion",
    "mavericks",
    "yosemite",
    "el_capitan",
    "sierra",
    "high_sierra",
    "mojave",
    "catalina",
    "big_sur",
    "monterey",
    "ventura",
    "sonoma",
    "sequoia",
    "tahoe",
    "golden_gate",
];

/// The tag of bottles that fit every platform.
pub const ALL: &str = "all";

/// What bottles are built for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Platform {
    tag: String,
    arch: Arch,
    /// The place in the list of versions of macOS; none is Linux.
    macos: Option<usize>,
}

/// A processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Arch {
    /// 64-bit ARM.
    Arm64,
    /// 64-bit Intel and AMD.
    X86,
}

/// A text names no platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no platform; write one as Homebrew tags it, such as arm64_sequoia, sonoma (Intel), x86_64_linux or arm64_linux"
)]
pub struct NoPlatform(String);

impl Platform {
    /// Returns the tag.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// Tells whether it is a Linux.
    #[must_use]
    pub fn is_linux(&self) -> bool {
        self.macos.is_none()
    }

    /// Returns the processor.
    #[must_use]
    pub fn arch(&self) -> Arch {
        self.arch
    }

    /// Tells whether it is a macOS older than the one that is named so; false where either is unknown.
    #[must_use]
    pub fn is_macos_before(&self, name: &str) -> bool {
        let other = MACOS.iter().position(|known| *known == name);
        matches!((self.macos, other), (Some(own), Some(other)) if own < other)
    }

    /// Picks the tag of the bottle that this platform's clients take, of those that a formula has in the order it lists them.
    pub fn choose<'t>(&self, tags: impl IntoIterator<Item = &'t str> + Clone) -> Option<&'t str> {
        let exact = tags.clone().into_iter().find(|tag| *tag == self.tag);
        let any = || tags.clone().into_iter().find(|tag| *tag == ALL);
        let older = || {
            let own = self.macos?;
            tags.clone().into_iter().find(|tag| {
                let other = tag.parse::<Platform>().ok();
                other.is_some_and(|other| {
                    other.arch == self.arch && other.macos.is_some_and(|macos| macos <= own)
                })
            })
        };
        exact.or_else(any).or_else(older)
    }

    /// Picks the platforms that are mirrored where nobody says which: the newest three macOS for ARM, and every Linux, of those that
    /// bottles exist for.
    pub fn defaults<'t>(tags: impl IntoIterator<Item = &'t str>) -> Vec<Platform> {
        let mut known: Vec<Platform> = tags
            .into_iter()
            .filter_map(|tag| tag.parse().ok())
            .collect();
        known.sort();
        known.dedup();
        let linux = known.iter().filter(|platform| platform.is_linux());
        let mut macos: Vec<&Platform> = known
            .iter()
            .filter(|platform| !platform.is_linux() && platform.arch == Arch::Arm64)
            .collect();
        macos.sort_by_key(|platform| std::cmp::Reverse(platform.macos));
        macos.into_iter().take(3).chain(linux).cloned().collect()
    }
}

impl FromStr for Platform {
    type Err = NoPlatform;

    fn from_str(tag: &str) -> Result<Platform, NoPlatform> {
        let (arch, system) = match tag.strip_prefix("arm64_") {
            Some(system) => (Arch::Arm64, system),
            None => (Arch::X86, tag.strip_prefix("x86_64_").unwrap_or(tag)),
        };
        let is_bare_linux = tag == "linux";
        let macos = MACOS.iter().position(|name| *name == system);
        if macos.is_none() && (system != "linux" || is_bare_linux) {
            return Err(NoPlatform(tag.to_owned()));
        }
        Ok(Platform {
            tag: tag.to_owned(),
            arch,
            macos,
        })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(tag: &str) -> Platform {
        tag.parse().expect("a platform")
    }

    #[test]
    fn a_client_takes_its_own_then_all_then_an_older_macos() {
        let sequoia = platform("arm64_sequoia");
        let tags = ["arm64_sequoia", "all"];
        assert_eq!(sequoia.choose(tags), Some("arm64_sequoia"));
        assert_eq!(sequoia.choose(["sonoma", "all"]), Some("all"));
        let older = ["arm64_tahoe", "sonoma", "arm64_ventura", "arm64_monterey"];
        assert_eq!(sequoia.choose(older), Some("arm64_ventura"));
        assert_eq!(platform("x86_64_linux").choose(older), None);
        assert_eq!(platform("sonoma").choose(older), Some("sonoma"));
        assert_eq!(platform("monterey").choose(older), None);
    }

    #[test]
    fn the_defaults_are_the_newest_three_and_every_linux() {
        let tags = [
            "all",
            "x86_64_linux",
            "monterey",
            "arm64_big_sur",
            "arm64_monterey",
            "arm64_ventura",
            "arm64_sonoma",
        ];
        let found: Vec<String> = Platform::defaults(tags)
            .iter()
            .map(Platform::to_string)
            .collect();
        assert_eq!(
            found,
            [
                "arm64_sonoma",
                "arm64_ventura",
                "arm64_monterey",
                "x86_64_linux"
            ]
        );
    }

    #[test]
    fn what_is_no_platform_is_refused() {
        for wrong in [
            "",
            "all",
            "linux",
            "arm64_",
            "windows",
            "arm64_windows",
            "x86_64_",
        ] {
            assert!(wrong.parse::<Platform>().is_err(), "{wrong:?}");
        }
        assert!(platform("arm64_linux").is_linux() && !platform("mojave").is_linux());
        assert!(platform("arm64_ventura").is_macos_before("sonoma"));
        assert!(!platform("arm64_sonoma").is_macos_before("sonoma"));
    }
}
