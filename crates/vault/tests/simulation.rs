//! Simulated devices on a faulty store: some seeds at every test run (`cargo xtask sim` runs any number).

mod world;

use std::thread;

/// So many threads, each with as many seeds.
const THREADS: u64 = 4;
const SEEDS: u64 = 40;

#[test]
fn some_seeds_keep_every_promise() {
    let run = |thread: u64| {
        let seeds = thread * SEEDS..(thread + 1) * SEEDS;
        let outcomes =
            seeds.map(|seed| world::run(seed).unwrap_or_else(|broken| panic!("{broken}")));
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
    assert!(
        crashes > 100 && conflicts > 50 && crowds > 500 && removals > 20 && retired > 100,
        "the world was too kind: {crashes} crashes, {conflicts} conflicts, {crowds} crowds, {removals} takeovers, {retired} lines retired"
    );
}

#[test]
fn a_seed_is_one_run() {
    for seed in [3, 4, 5] {
        assert_eq!(world::run(seed), world::run(seed));
    }
}
