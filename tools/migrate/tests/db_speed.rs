//! How fast paths are switched, and whether the rows stay where they are on their pages.
//!
//! What must hold: at least 2,000 rows a second, and more than half of the updates "heap only": with Readur's 24 indexes on
//! `documents`, five of them GIN, any other update writes to every one of them.
//! What it deliberately does not do: measure against others; `bench` does.

use migrate::db::{Change, Database, DatabaseOptions, Page, Which, open_database};
use migrate::mapping::Mapping;
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::postgres::PostgresOptions;
use testkit::readur;

const ROWS: usize = 12_000;

/// Reads all local rows and makes each a change to its key.
async fn all_changes(db: &Arc<dyn Database>, mapping: &Mapping) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = Page {
            table: &mapping.main,
            which: Which::Local,
            user: None,
            after: after.as_deref(),
            limit: 1000,
        };
        let rows = db.page(&page).await.expect("a page");
        let Some(last) = rows.last() else {
            return changes;
        };
        after = Some(last.key.clone());
        changes.extend(rows.into_iter().map(|row| Change {
            table: "documents".to_owned(),
            key_column: "id".to_owned(),
            column: "file_path".to_owned(),
            new: format!(
                "s3://documents/00000000-0000-0000-0000-000000000000/2024/05/{}.pdf",
                row.key
            ),
            key: row.key,
            old: row.path,
        }));
    }
}

#[tokio::test]
async fn rows_are_switched_fast_and_stay_on_their_pages() {
    // With fsync, as on a real server.
    let options = PostgresOptions {
        fsync: true,
        ..PostgresOptions::default()
    };
    let server = testkit::Postgres::with(options).expect("a server");
    let database = server.database();
    readur::install(&database);
    database.sql(&format!(
        "INSERT INTO documents (filename, original_filename, file_path, file_size, mime_type, ocr_text, ocr_status) \
         SELECT n || '.pdf', n || '.pdf', '/app/uploads/documents/' || gen_random_uuid() || '.pdf', n, 'application/pdf', \
         (SELECT string_agg(md5((n * 100 + w)::text), ' ') FROM generate_series(1, 12) w), 'completed' \
         FROM generate_series(1, {ROWS}) n"
    ));
    database.sql("ANALYZE documents");
    let mapping = Mapping::readur();
    let options = DatabaseOptions {
        timeout: Duration::from_secs(60),
        runner: "test".to_owned(),
    };
    let db = open_database(&database.url(), &options, &mapping)
        .await
        .expect("it opens");
    let _lock = db.lock().await.expect("the lock is free");
    let changes = all_changes(&db, &mapping).await;
    assert_eq!(changes.len(), ROWS);
    let started = Instant::now();
    for batch in changes.chunks(500) {
        db.switch(batch).await.expect("a switch");
    }
    let rate = ROWS as f64 / started.elapsed().as_secs_f64();
    let share = hot_share(&database);
    assert!(rate > 2000.0, "{rate:.0} rows a second");
    assert!(share > 50.0, "{share:.0} %");
}

/// Waits for the server's statistics to know all updates; returns the share of heap-only ones in percent.
fn hot_share(database: &testkit::Database) -> f64 {
    let sql =
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'documents'";
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let line = database.sql(sql);
        let mut numbers = line
            .trim()
            .split('|')
            .map(|number| number.parse::<f64>().expect("a number"));
        let (all, hot) = (numbers.next().expect("one"), numbers.next().expect("two"));
        if all >= ROWS as f64 {
            return 100.0 * hot / all;
        }
        assert!(Instant::now() < deadline, "the statistics stay at {all}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
