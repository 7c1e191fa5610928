//! Golden vaults: what a released version wrote stays readable. See `examples/golden.rs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use store::Store;
use testkit::{Faults, FaultyStore};
use vault::{ProblemKind, Secret, Vault};

use crate::desk::{Desk, wait};

/// Puts every file below `folder` into the store under its path.
fn load(root: &Path, folder: &Path, store: &FaultyStore) {
    for entry in
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
    {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            load(root, &path, store);
            continue;
        }
        let below = path.strip_prefix(root).expect("below the root");
        let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
        store.put_raw(&parts.join("/"), fs::read(&path).expect("reads"));
    }
}

#[test]
fn version_1() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1");
    let store = FaultyStore::new(1, Faults::none());
    load(&root, &root, &store);
    let inner = || Store::from_object_store(Arc::new(store.clone()), "");
    let file = wait(Vault::read_file(&inner()))
        .expect("reads")
        .expect("is there");
    assert_eq!(
        (file.version, file.epoch, file.domain.as_str()),
        (1, 2, "sim")
    );

    let phrase = format!("{}art", "abandon ".repeat(23));
    for secret in [Secret::from_input("golden"), Secret::from_input(&phrase)] {
        let keys = file.unlock(&secret).expect("opens");
        let mut reader = Desk::with_keys(9, inner(), keys);
        let report = wait(reader.pull()).expect("reads");
        assert_eq!(report.problems, []);
        let expected = (0..42)
            .filter(|n| *n != 3)
            .chain(100..105)
            .chain(200..203)
            .collect();
        assert_eq!(reader.kept(), expected);
        let verified = wait(reader.verify()).expect("reads");
        let others: Vec<_> = verified
            .problems
            .iter()
            .filter(|problem| !matches!(problem.kind, ProblemKind::Orphan | ProblemKind::Forgotten))
            .collect();
        assert!(others.is_empty(), "{others:?}");
        assert_eq!((verified.devices, verified.records), (2, 50));
    }
}
