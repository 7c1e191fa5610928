//! Writes the golden vault of this version into a folder: `cargo run -p vault --example golden -- FOLDER`. Done once a format version;
//! `tests/engine/golden.rs` reads what came of it for ever.

#[path = "../tests/engine/desk.rs"]
#[allow(dead_code, reason = "this program uses a part of it")]
mod desk;
#[path = "../tests/world/replica.rs"]
#[allow(dead_code, reason = "this program uses a part of it")]
mod replica;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use store::Store;
use testkit::{Faults, FaultyStore};
use vault::{KdfCost, Secret, Vault, VaultError, VaultFile};

use desk::{Desk, keys, wait};

/// The phrase of 32 bytes zero, from the published test vectors of BIP-39.
const PHRASE_WORDS: [&str; 2] = ["abandon", "art"];

fn main() {
    let folder = PathBuf::from(std::env::args().nth(1).expect("a folder to write to"));
    let store = FaultyStore::new(1, Faults::none());
    wait(fill(&store)).expect("a perfect store");
    for (key, object) in store.objects() {
        let path = folder.join(key);
        fs::create_dir_all(path.parent().expect("below the folder")).expect("creates");
        fs::write(path, object).expect("writes");
    }
}

async fn fill(store: &FaultyStore) -> Result<(), VaultError> {
    let phrase = [vec![PHRASE_WORDS[0]; 23], vec![PHRASE_WORDS[1]]]
        .concat()
        .join(" ");
    let secrets = [
        Secret::Passphrase("golden".into()),
        Secret::RecoveryPhrase(phrase),
    ];
    let secrets: Vec<&Secret> = secrets.iter().collect();
    let file = VaultFile::build(&keys(), "sim", 1, &secrets, KdfCost::CHEAP_FOR_TESTS)?;
    store.put_raw("vault.json", file.to_bytes());
    let (mut one, mut two) = (Desk::at(1, store), Desk::at(2, store));
    two.options.compression = None;
    one.add(0..40);
    one.push().await?;
    two.add(100..105);
    two.pull().await?;
    two.push().await?;
    // The second epoch.
    let rotated = keys().rotated();
    let file = VaultFile::build(&rotated, "sim", 2, &secrets, KdfCost::CHEAP_FOR_TESTS)?;
    store.put_raw("vault.json", file.to_bytes());
    for desk in [&mut one, &mut two] {
        desk.vault = Vault::new(
            Store::from_object_store(Arc::new(store.clone()), ""),
            rotated.clone(),
        );
    }
    one.vault.mark_epoch().await?;
    one.pull().await?;
    one.forget(3);
    one.add(40..42);
    one.push().await?;
    two.pull().await?;
    // A third device came and was taken over.
    let mut gone = Desk::with_keys(
        3,
        Store::from_object_store(Arc::new(store.clone()), ""),
        rotated,
    );
    gone.add(200..203);
    gone.push().await?;
    two.remove(gone.own().node).await?;
    Ok(())
}
