//! A plan and a ledger over one table, of which only one may use it at a time: as with one connection to a database.

use super::*;
use tokio::sync::{Mutex, Notify};

/// So long a run may take before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(20);

/// What both wait for.
#[derive(Default)]
struct Table {
    in_use: Mutex<()>,
    is_locked: Notify,
    is_stored: Notify,
}

struct Clerk {
    rows: Rows,
    table: Arc<Table>,
}

#[async_trait]
impl Ledger for Clerk {
    async fn commit(&self, items: &[Item]) -> Result<Vec<Outcome>, LedgerError> {
        if items[0].id == "document-0" {
            self.table.is_locked.notified().await;
        }
        let _table = self.table.in_use.lock().await;
        self.rows.commit(items).await
    }

    async fn revert(&self, items: &[Item]) -> Result<Vec<Outcome>, LedgerError> {
        self.rows.revert(items).await
    }

    async fn standing(&self, items: &[Item]) -> Result<Vec<Standing>, LedgerError> {
        self.rows.standing(items).await
    }

    async fn is_switched(&self, items: &[Item]) -> Result<Vec<bool>, LedgerError> {
        self.rows.is_switched(items).await
    }
}

struct Watch(Arc<Table>);

impl Observer for Watch {
    fn event(&self, event: Event) {
        // By now so many batches are on their way that no further item is wanted.
        if matches!(event, Event::Stored { item, .. } if item == "document-3") {
            self.0.is_stored.notify_one();
        }
    }
}

#[tokio::test]
async fn a_plan_in_the_middle_of_a_query_does_not_keep_the_ledger_waiting() {
    let mut world = World::new(8);
    world.limits.batch = 1;
    let table = Arc::new(Table::default());
    let mut parts = world.parts(Steps::all()).await;
    parts.ledger = Arc::new(Clerk {
        rows: world.rows.clone(),
        table: table.clone(),
    });
    parts.observer = Arc::new(Watch(table.clone()));
    let rows = world.plan().into_iter();
    let plan = stream::unfold((rows, table), |(mut rows, table)| async move {
        let row = rows.next()?;
        if row.id == "document-4" {
            let _table = table.in_use.lock().await;
            table.is_locked.notify_one();
            table.is_stored.notified().await;
        }
        Some((Ok(row), (rows, table)))
    });
    let mut engine = Engine::new(parts);
    let run = tokio::time::timeout(PATIENCE, engine.run(plan.boxed()));
    let report = run.await.expect("it is not stuck").expect("runs");
    assert_eq!(report.committed, 8);
}
