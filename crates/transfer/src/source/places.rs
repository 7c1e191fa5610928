//! Directories below which files may be restored and removed, and read if only a journal names them.
//!
//! What must hold: a path that is let through names a file below one of them, by its letters and, unless links are trusted, by where the links
//! on its way lead. A path in a journal is no more to be trusted than the bucket that the journal may have come from.
//!
//! It deliberately does not keep anybody from changing the directories between the look and the deed: who can do that on this machine needs no
//! journal for it.

use std::path::{Component, Path, PathBuf};
use std::{fs, io};
use store::file::stays_below;

/// Some directories, and whether links in them are trusted.
#[derive(Clone, Debug)]
pub struct Places {
    roots: Vec<PathBuf>,
    trusts_links: bool,
}

impl Places {
    /// Names the directories. Where links are trusted, a link below one of them may lead out of it.
    #[must_use]
    pub fn new(roots: Vec<PathBuf>, trusts_links: bool) -> Places {
        Places {
            roots,
            trusts_links,
        }
    }

    /// Tells whether a path names a file below one of them.
    #[must_use]
    pub fn hold(&self, path: &Path) -> bool {
        self.roots.iter().any(|root| {
            let rest = path.strip_prefix(root);
            let is_below = rest.is_ok_and(stays_inside);
            is_below && (self.trusts_links || stays_below(root, path))
        })
    }

    /// Tells the same of a file that is read: if its name is a link, what that leads to must lie below one of them too.
    #[must_use]
    pub fn hold_all(&self, path: &Path) -> bool {
        let leads_below = || match fs::canonicalize(path) {
            Ok(real) => self.roots.iter().any(|root| {
                let real_root = fs::canonicalize(root);
                real_root.is_ok_and(|root| real.starts_with(root))
            }),
            Err(error) => error.kind() == io::ErrorKind::NotFound && !path.is_symlink(),
        };
        self.hold(path) && (self.trusts_links || leads_below())
    }
}

/// Tells whether a path that starts at a directory names something in it, and leaves it nowhere on its way: an application may write `a/../b`.
#[must_use]
pub fn stays_inside(rest: &Path) -> bool {
    let mut depth = 0_u32;
    for part in rest.components() {
        depth = match part {
            Component::Normal(_) => depth + 1,
            Component::CurDir => depth,
            Component::ParentDir if depth > 0 => depth - 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        };
    }
    depth > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_what_lies_below_is_held() {
        let dir = tempfile::tempdir().expect("scratch");
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("uploads/2026")).expect("makes");
        fs::create_dir(at("elsewhere")).expect("makes");
        symlink(at("elsewhere"), at("uploads/out")).expect("links");
        symlink("2026", at("uploads/in")).expect("links");
        symlink(at("nowhere"), at("uploads/dangling")).expect("links");
        symlink(at("elsewhere/file"), at("uploads/link")).expect("links");
        let strict = Places::new(vec![at("uploads"), at("gone")], false);
        let trusting = Places::new(vec![at("uploads")], true);
        for name in [
            "uploads/a",
            "uploads/./a",
            "uploads/2026/a",
            "uploads/new/a/b",
            "uploads/in/a",
            "uploads/link",
            "uploads/2026/../a",
            "uploads/gone/../a",
        ] {
            assert!(strict.hold(&at(name)), "{name}");
            assert!(trusting.hold(&at(name)), "{name}");
        }
        assert!(strict.hold(&at("gone/a/b")), "the disk was made anew");
        for name in [
            "uploads",
            "uploads/../a",
            "uploads/2026/../../a",
            "uploads/2026/../../uploads/a",
            "uploads/2026/..",
            "uploads-2/a",
            "elsewhere/a",
        ] {
            assert!(!strict.hold(&at(name)), "{name}");
            assert!(!trusting.hold(&at(name)), "{name}");
        }
        assert!(!strict.hold(Path::new("uploads/a")), "a relative path");
        fs::write(at("elsewhere/file"), b"of others").expect("writes");
        fs::write(at("uploads/2026/a"), b"own").expect("writes");
        symlink("2026/a", at("uploads/own")).expect("links");
        for name in ["uploads/2026/a", "uploads/own", "uploads/missing"] {
            assert!(strict.hold_all(&at(name)), "{name}");
        }
        for name in ["uploads/link", "elsewhere/file", "uploads/out/file"] {
            assert!(!strict.hold_all(&at(name)), "{name}");
        }
        assert!(trusting.hold_all(&at("uploads/link")));
        for name in [
            "uploads/out/a",
            "uploads/out/../a",
            "uploads/out/new/a",
            "uploads/dangling/a",
        ] {
            assert!(!strict.hold(&at(name)), "{name}");
            assert!(trusting.hold(&at(name)), "{name}");
        }
    }
}
