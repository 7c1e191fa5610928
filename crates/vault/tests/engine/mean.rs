//! Mean stores: the engine uses no condition, so what a store makes of conditions cannot matter.

use testkit::{Conditional, Faults, FaultyStore};

use crate::desk::{Desk, keys, vault_file, wait};

#[test]
fn what_a_store_makes_of_conditions_does_not_matter() {
    let mut traces = vec![];
    for conditional in [
        Conditional::Honest,
        Conditional::Ignored,
        Conditional::Refused,
    ] {
        let store = FaultyStore::new(
            1,
            Faults {
                conditional,
                ..Faults::none()
            },
        );
        store.put_raw("vault.json", vault_file(&keys()).to_bytes());
        let (mut one, mut two) = (Desk::at(1, &store), Desk::at(2, &store));
        one.add(0..20);
        wait(async {
            one.push().await?;
            two.pull().await?;
            two.add(30..40);
            two.forget(5);
            two.push().await?;
            one.pull().await?;
            one.push().await?;
            one.repair().await
        })
        .expect("no operation is refused");
        assert_eq!(one.kept(), two.kept());
        let digests: Vec<_> = store
            .objects()
            .into_iter()
            .filter(|(key, _)| key != "vault.json")
            .collect();
        traces.push((store.trace(), digests));
    }
    assert_eq!(traces[0], traces[1]);
    assert_eq!(traces[0], traces[2]);
}
