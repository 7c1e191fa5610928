//! One session of two devices, and what a third sees in the end, which is the same on every store.

use std::collections::BTreeSet;

use store::{Environment, Store, StoreUrl, Tuning};
use vault::VaultError;

use crate::desk::{Desk, GRACE_MS, keys, vault_file};

pub(crate) async fn open(url: &str) -> Store {
    let url: StoreUrl = url.parse().unwrap_or_else(|error| panic!("{url}: {error}"));
    let environment = Environment::default();
    Store::open(&url, &Tuning::default(), &environment)
        .await
        .expect("the store opens")
}

/// What was spent on one request after another.
fn requests(desk: &Desk) -> u64 {
    desk.vault.store().usage().requests()
}

/// Push, pull, forget, merge, verify, damage, repair; returns what a newcomer sees in the end.
pub(crate) async fn session(
    one: Store,
    two: Store,
    newcomer: Store,
) -> Result<BTreeSet<u64>, VaultError> {
    one.put("vault.json", vault_file(&keys()).to_bytes().into())
        .await
        .expect("the store takes it");
    let (mut one, mut two) = (Desk::new(1, one), Desk::new(2, two));
    one.add(0..500);
    two.add(1000..1010);
    one.push().await?;
    two.pull().await?;
    two.push().await?;
    one.pull().await?;
    let before = requests(&one);
    one.pull().await?;
    assert_eq!(requests(&one) - before, 1, "an idle pull is one request");
    for n in 0..40 {
        one.add(600 + n..601 + n);
        let before = requests(&one);
        one.push().await?;
        let spent = requests(&one) - before;
        assert!(spent <= 3 || n == 31, "push {n} took {spent} requests");
    }
    assert!(one.own().live.len() < 10, "small segments are merged");
    two.forget(7);
    two.push().await?;
    one.pull().await?;
    one.push().await?;
    one.days_pass(GRACE_MS / (24 * 3600 * 1000) + 1);
    one.forget(8);
    one.push().await?;
    one.days_pass(GRACE_MS / (24 * 3600 * 1000) + 1);
    one.push().await?;
    let verified = two.verify().await?;
    assert!(verified.is_sound(), "{:?}", verified.problems);
    two.pull().await?;
    let verified = two.verify().await?;
    assert_eq!(verified.forgotten_left, 0, "{:?}", verified.problems);

    let own = one.own();
    let lost = own.live[0].entry.key(own.node);
    one.vault
        .store()
        .delete(&[lost])
        .await
        .expect("the store deletes");
    assert!(
        !two.verify().await?.is_sound(),
        "a deleted segment is missed"
    );
    one.repair().await?;
    let mut newcomer = Desk::new(3, newcomer);
    let report = newcomer.pull().await?;
    assert_eq!(report.problems, []);
    assert!(newcomer.verify().await?.is_sound());
    for desk in [&mut one, &mut two] {
        desk.pull().await?;
        assert_eq!(desk.kept(), newcomer.kept());
    }
    Ok(newcomer.kept())
}

pub(crate) fn expected() -> BTreeSet<u64> {
    (0..500)
        .chain(600..640)
        .chain(1000..1010)
        .filter(|n| ![7, 8].contains(n))
        .collect()
}

pub(crate) async fn session_at(url: &str) -> BTreeSet<u64> {
    let outcome = session(open(url).await, open(url).await, open(url).await).await;
    outcome.unwrap_or_else(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        panic!("{error}: {cause:?}")
    })
}
