//! What is told of a run before and while it fetches, and a plan that only looks.

use crate::world::{FIRST, World};
use bottles::sample::{Sample, formulae};
use bottles::sync;
use std::sync::{Arc, Mutex};
use store::{Environment, Store, Tuning};
use testkit::S3Server;
use transfer::{Event, Observer, StopSignal};

#[tokio::test]
async fn a_plan_asks_a_bucket_about_what_a_run_that_died_left_and_writes_nothing() {
    let server = S3Server::start();
    let url = server.store_url("bucket", "mirror");
    let url = url.parse().expect("a URL");
    let open = async || {
        let opened = Store::open(&url, &Tuning::default(), &Environment::default()).await;
        opened.expect("it opens")
    };
    let mut sample = Sample::embedded();
    sample.registry.retain(|key, _| !key.contains("/tree/"));
    let world = World {
        store: open().await,
        ..World::small(sample).await
    };
    let left = world.sync(&["jq", "tree"], FIRST).await;
    assert!(left.published.is_none() && left.fetched == 2, "{left:?}");
    world.server.replace(Sample::embedded());
    let looking = World {
        store: open().await,
        ..world
    };
    let mut options = looking.options(&["jq", "tree"], FIRST + 1);
    options.dry_run = true;
    let report = looking.run(&options).await.expect("it is planned");
    assert_eq!((report.missing, report.bottles), (1, 3));
    let usage = looking.store.usage();
    assert_eq!(
        (usage.puts, usage.deletes, usage.other),
        (0, 0, 0),
        "{usage:?}"
    );
}

/// Keeps what it is told.
#[derive(Default)]
struct Told(Mutex<Vec<Event>>);

impl Observer for Told {
    fn event(&self, event: Event) {
        self.0.lock().expect("nobody panicked").push(event);
    }
}

#[tokio::test]
async fn what_is_to_be_fetched_is_told_once_and_in_all_however_much_it_is() {
    const MANY: usize = 1100;
    let mut like = formulae();
    like.retain(|formula| formula.name == "tree");
    let many = (0..MANY).map(|number| {
        let mut formula = like[0].clone();
        formula.name = format!("tree{number}");
        formula.tags = vec!["x86_64_linux".to_owned()];
        formula.filling = 64;
        formula
    });
    let world = World::small(Sample::of(&many.collect::<Vec<_>>())).await;
    let mut options = world.options(&[], FIRST);
    options.selection.all = true;
    options.concurrency = 16;
    let told = Arc::new(Told::default());
    let (upstream, observer) = (world.upstream(), told.clone());
    let outcome = sync::run(
        &world.store,
        &upstream,
        &options,
        observer,
        StopSignal::new(),
    )
    .await;
    let report = outcome.expect("the run ends");
    assert_eq!(report.fetched, MANY as u64);
    let told = told.0.lock().expect("nobody panicked");
    let planned = told.iter().filter_map(|event| match event {
        Event::Planned { items, bytes } => Some((*items, *bytes)),
        _ => None,
    });
    let planned: Vec<(u64, u64)> = planned.collect();
    assert_eq!(planned, [(MANY as u64, report.fetched_bytes)]);
    let stored = told
        .iter()
        .filter(|event| matches!(event, Event::Stored { .. }));
    assert_eq!(stored.count(), MANY);
}
