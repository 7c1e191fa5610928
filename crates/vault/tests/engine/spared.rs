//! A push that is spared after a pull would have done nothing: three devices do what devices do, in many orders, and wherever one is told
//! that it need not push, a copy of it pushes all the same.

use vault::{PullMode, PushMode, PushReport, ResetMode};

use crate::desk::{Desk, perfect_store, wait};

const SEEDS: u64 = 150;
const STEPS: usize = 40;

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % n
    }
}

/// One thing that a device does. What fails here (a conflict, say) is part of the story.
fn act(desks: &mut [Desk], who: usize, dice: &mut Dice, next: &mut u64) {
    let other = desks[(who + 1) % desks.len()].replica.clone();
    let desk = &mut desks[who];
    match dice.below(14) {
        0..4 => {
            desk.add(*next..*next + 1);
            *next += 1;
        }
        4 => desk.forget(dice.below(*next + 1)),
        5..8 => drop(wait(desk.push())),
        8 => drop(wait(desk.push_as(PushMode::Force))),
        9 => drop(wait(desk.pull_as(PullMode::Force))),
        10 => desk.days_pass(8),
        11 => desk.reset(ResetMode::NewIdentity),
        12 => desk.reset(ResetMode::LocalOnly),
        // A machine is cloned: two write under one identity from now on.
        _ => desk.replica = other,
    }
}

#[test]
fn a_push_that_is_spared_would_have_done_nothing() {
    let mut spared = 0;
    for seed in 0..SEEDS {
        let store = perfect_store();
        let mut desks: Vec<Desk> = (1..4).map(|number| Desk::at(number, &store)).collect();
        let (mut dice, mut next) = (Dice(seed), 0);
        for step in 0..STEPS {
            let who = dice.below(3) as usize;
            act(&mut desks, who, &mut dice, &mut next);
            let is_clean = |report: vault::PullReport| {
                report
                    .problems
                    .iter()
                    .all(|problem| !problem.kind.is_serious())
            };
            if !wait(desks[who].pull()).is_ok_and(is_clean) || !desks[who].has_nothing_to_push() {
                continue;
            }
            let objects = store.objects();
            let mut copy = desks[who].clone();
            let report = wait(copy.push());
            let what = format!("seed {seed}, step {step}, device {who}");
            assert_eq!(report.ok(), Some(PushReport::default()), "{what}");
            assert_eq!(store.objects(), objects, "{what}");
            spared += 1;
        }
    }
    assert!(spared > 300, "{spared}");
}
