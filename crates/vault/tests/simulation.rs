//! Simulated devices on a faulty store: a few hundred seeds at every test run (`cargo xtask sim` runs any number).

mod world;

#[test]
fn three_hundred_seeds_keep_every_promise() {
    let mut crashes = 0;
    let mut conflicts = 0;
    for seed in 0..300 {
        let outcome = world::run(seed).unwrap_or_else(|broken| panic!("{broken}"));
        crashes += outcome.crashes;
        conflicts += outcome.conflicts;
    }
    assert!(
        crashes > 100 && conflicts > 20,
        "the world was too kind: {crashes} crashes, {conflicts} conflicts"
    );
}

#[test]
fn a_seed_is_one_run() {
    for seed in [3, 4, 5] {
        assert_eq!(world::run(seed), world::run(seed));
    }
}
