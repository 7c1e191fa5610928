//! Two databases over one target: what the one made and the other took over.

use super::*;

/// Everything but one run is of others.
struct AllBut(&'static str);

impl Kin for AllBut {
    fn is_own(&self, run_id: &str) -> bool {
        run_id == self.0
    }

    fn claim(&self, _: &RunHeader) -> Option<Claim> {
        Some(Claim::Keys)
    }

    fn claim_aside(&self, header: &RunHeader) -> Option<Claim> {
        self.claim(header)
    }

    fn name(&self, run_id: &str, _: Option<&RunHeader>) -> String {
        format!("the run {run_id}")
    }

    fn journals(&self) -> Vec<(String, PathBuf)> {
        Vec::new()
    }
}

fn others(target: &Store, own: &'static str) -> Arc<Others> {
    let mirror = Mirror {
        store: target.clone(),
        prefix: MIRROR.to_owned(),
    };
    Arc::new(Others::new(mirror, Arc::new(AllBut(own))))
}

/// A world with the same documents over the same target, and rows of its own.
fn clone_of(world: &World, n: usize) -> World {
    let clone = World::with(world.target.clone(), n);
    clone.fresh_journal();
    clone
}

async fn rollback_asking(world: &World) -> Report {
    let keepers = Keepers {
        of_target: Some(others(&world.target, "run-0")),
        of_source: None,
    };
    let parts = EngineParts {
        keepers,
        ..world.parts(Steps::all()).await
    };
    let mut engine = Engine::new(parts);
    let report = engine.rollback(RollbackOptions::default()).await;
    report.expect("rolls back")
}

/// Every row of the world that names an object leads to one.
async fn assert_reachable(world: &World, when: &str) {
    let objects = world.objects().await;
    for (id, path) in world.rows.all() {
        if let Some(key) = path.strip_prefix("s3://") {
            assert!(objects.contains_key(key), "{id} leads nowhere, {when}");
        }
    }
}

#[tokio::test]
async fn wherever_the_other_is_cut_off_its_rows_lead_somewhere() {
    let mut n_kept = 0;
    for step in 1.. {
        let staging = World::new(6);
        staging.run().await.expect("runs");
        let production = clone_of(&staging, 6);
        let cut = production.run_with(Steps::fail_at(step)).await;
        let report = rollback_asking(&staging).await;
        assert_reachable(&production, &format!("from step {step}")).await;
        let is_kept = |it: &&Exception| it.kind == ExceptionKind::ObjectKept;
        n_kept += report.exceptions.iter().filter(is_kept).count();
        production.run().await.expect("goes on");
        assert_reachable(&production, &format!("after step {step}")).await;
        if cut.is_ok() {
            break;
        }
    }
    assert!(n_kept > 6, "{n_kept}");
}

#[tokio::test]
async fn what_is_needed_no_more_goes_with_the_next_rollback() {
    let staging = World::new(6);
    staging.run().await.expect("runs");
    let production = clone_of(&staging, 6);
    production.run().await.expect("runs");
    let kept = rollback_asking(&staging).await;
    assert_eq!(kept.objects_removed, 0, "{kept:?}");
    assert_eq!(kept.reverted, 6);
    // Another look at the same list sees what became of the run since.
    let seen = others(&staging.target, "run-0");
    assert_eq!(seen.claimants().await.expect("reads").len(), 1);
    production.rollback().await.expect("rolls back");
    assert_eq!(seen.claimants().await.expect("reads"), []);
    let gone = rollback_asking(&staging).await;
    assert!(gone.is_clean(), "{gone:?}");
    assert!(staging.objects().await.is_empty());
}

#[tokio::test]
async fn a_look_costs_two_listings_and_reads_only_what_is_new() {
    let staging = World::new(3);
    staging.run().await.expect("runs");
    let seen = others(&staging.target, "run-1");
    seen.claimants().await.expect("reads");
    let before = staging.target.usage();
    for _ in 0..5 {
        seen.claimants().await.expect("reads");
    }
    let used = staging.target.usage() - before;
    // Of the copies, and of those that were set aside.
    assert_eq!((used.lists, used.gets), (10, 0), "{used:?}");
}
