//! Simulated devices on a faulty store: some seeds at every test run (`cargo xtask sim` runs any number).

mod world;

use std::ops::Range;
use std::thread;

use world::Pausing;

/// So many threads, each with as many seeds.
const THREADS: u64 = 4;
const SEEDS: u64 = 60;
/// Among these seeds one must show that devices do not wait long enough. About one in a few hundred does; they begin shortly before one that did when
/// this was written.
const SEEDS_OF_HASTE: Range<u64> = 710..1710;

#[test]
fn some_seeds_keep_every_promise() {
    let run = |thread: u64| {
        let seeds = thread * SEEDS..(thread + 1) * SEEDS;
        let outcomes = seeds.map(|seed| {
            world::run(seed, Pausing::AsDesigned).unwrap_or_else(|broken| panic!("{broken}"))
        });
        outcomes.collect::<Vec<_>>()
    };
    let outcomes: Vec<world::Outcome> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(move || run(thread)))
            .collect();
        let ended = threads
            .into_iter()
            .map(|thread| thread.join().expect("every seed keeps every promise"));
        ended.flatten().collect()
    });
    let sum = |of: fn(&world::Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    let (crashes, conflicts) = (
        sum(|outcome| outcome.crashes),
        sum(|outcome| outcome.conflicts),
    );
    let (crowds, removals) = (
        sum(|outcome| outcome.crowds),
        sum(|outcome| outcome.removals),
    );
    let retired = sum(|outcome| outcome.retired);
    let damages = sum(|outcome| outcome.damages);
    assert!(damages > 10, "hardly anything was damaged: {damages}");
    let (rotations, additions) = (
        sum(|outcome| outcome.rotations),
        sum(|outcome| outcome.additions),
    );
    let refused = sum(|outcome| outcome.refused);
    assert!(
        rotations > 60 && additions > 60 && refused > 100,
        "nobody raced for the keys: {rotations} rotations, {additions} passphrases added, {refused} refused"
    );
    assert!(
        crashes > 100 && conflicts > 50 && crowds > 500 && removals > 20 && retired > 100,
        "the world was too kind: {crashes} crashes, {conflicts} conflicts, {crowds} crowds, {removals} takeovers, {retired} lines retired"
    );
}

#[test]
fn a_seed_is_one_run() {
    for seed in 3..9 {
        assert_eq!(
            world::run(seed, Pausing::AsDesigned),
            world::run(seed, Pausing::AsDesigned)
        );
    }
}

#[test]
fn a_pause_that_is_too_short_is_found_out() {
    let broken = SEEDS_OF_HASTE.filter_map(|seed| world::run(seed, Pausing::TooShort).err());
    let mut found = broken.filter(|broken| broken.contains("was acknowledged and does not"));
    assert!(
        found.next().is_some(),
        "nothing that was acknowledged was ever written over: the world does not look"
    );
}
