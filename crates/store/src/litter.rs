//! Knows the names that sync tools, browsers and desktops leave in folders.
//!
//! What must hold: no key that we write is taken for litter; whatever a sync tool makes of one of our objects on the way
//! (a part, a conflict copy, a kept old version) is.
//!
//! It deliberately removes nothing: those files belong to somebody else.

/// How our own temporary files begin.
pub(crate) const TEMPORARY: &str = ".syncline-tmp-";

/// Tells whether one part of a key is litter. Names are compared without regard to case: some file systems change it.
pub(crate) fn is_litter(name: &str) -> bool {
    let name = name.to_lowercase();
    // Dot names cover `.stversions`, `.stfolder`, `.syncthing.*.tmp`, `.dropbox*`, `.DS_Store`, and our temporary files.
    name.starts_with('.')
        || name.starts_with("~syncthing~")
        || name.starts_with("~$")
        || name.contains(".sync-conflict-")
        || name.contains("conflicted copy")
        || [
            ".tmp",
            ".temp",
            ".partial",
            ".part",
            ".crdownload",
            ".bak",
            "~",
        ]
        .iter()
        .any(|end| name.ends_with(end))
        || ["desktop.ini", "thumbs.db", "icon\r"].contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn litter_is_known_and_our_keys_are_not_litter() {
        let litter = [
            "a.sync-conflict-20260101-120000-ABCDEFG.seg",
            ".stversions",
            ".stfolder",
            "~syncthing~a.seg.tmp",
            ".syncthing.a.seg.tmp",
            "vault (Anna's conflicted copy 2026-01-01).json",
            ".dropbox.cache",
            "a.partial",
            "A.PARTIAL",
            "a.crdownload",
            "desktop.ini",
            ".DS_Store",
            "Thumbs.db",
            ".syncline-tmp-00",
            ".syncline-store",
        ];
        litter
            .iter()
            .for_each(|name| assert!(is_litter(name), "{name}"));
        let ours = [
            "vault.json",
            "manifests",
            "0000000001-ab12",
            "objects",
            "segments",
            "blobs",
            "0-99-abc",
            "probe",
            "7f",
        ];
        ours.iter()
            .for_each(|name| assert!(!is_litter(name), "{name}"));
    }
}
