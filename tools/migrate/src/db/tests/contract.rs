//! Pages, compare-and-set, holders, counts and the lock, on both databases.

use super::*;

#[tokio::test]
async fn pages_cover_every_row_once_in_the_order_of_the_key() {
    everywhere(|fixture| async move {
        fixture.fill(257);
        (fixture.run)("INSERT INTO docs (id, path) SELECT id, 's3://x' FROM docs WHERE 1 = 0");
        let db = fixture.open().await;
        for limit in [1000, 50, 257, 1] {
            let mut seen = HashSet::new();
            let mut after: Option<String> = None;
            loop {
                let mapping = mapping();
                let page = Page {
                    table: &mapping.main,
                    which: Which::Local,
                    user: None,
                    after: after.as_deref(),
                    limit,
                };
                let rows = db.page(&page).await.expect("a page");
                let Some(last) = rows.last() else { break };
                assert!(rows.len() <= limit);
                after = Some(last.key.clone());
                for row in rows {
                    assert!(seen.insert(row.key.clone()), "{} twice", row.key);
                }
            }
            assert_eq!(seen.len(), 257, "{:?} by {limit}", fixture.keys);
        }
    })
    .await;
}

#[tokio::test]
async fn a_page_holds_what_was_asked_for_and_every_column() {
    everywhere(|fixture| async move {
        let owner = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff";
        let key = |n| quote(&fixture.keys.key(n));
        (fixture.run)(&format!(
            "INSERT INTO docs (id, path, owner, made, name, bytes, digest, kind) VALUES \
             ('{}', '/up/it''s \"ö\" 東.pdf', '{owner}', '2024-02-29T23:30:00-01:00', 'Ü.PDF', 12, 'ABCDEF', 'application/pdf'), \
             ('{}', 's3://docs/1.pdf', NULL, NULL, NULL, NULL, NULL, NULL), \
             ('{}', '', NULL, NULL, NULL, NULL, NULL, NULL)",
            key(0), key(1), key(2)
        ));
        let db = fixture.open().await;
        let mapping = mapping();
        let page = |which, user| Page { table: &mapping.main, which, user, after: None, limit: 10 };
        let local = db.page(&page(Which::Local, None)).await.expect("a page");
        assert_eq!(local.len(), 1);
        let row = &local[0];
        assert_eq!(row.key, fixture.keys.key(0));
        assert_eq!(row.path, "/up/it's \"ö\" 東.pdf");
        assert_eq!(row.user.as_deref(), Some(owner));
        assert_eq!(row.created, Some("2024-03-01T00:30:00Z".parse().expect("a time")));
        assert_eq!(row.filename.as_deref(), Some("Ü.PDF"));
        assert_eq!((row.size, row.sha256.as_deref()), (Some(12), Some("abcdef")));
        assert_eq!(row.mime.as_deref(), Some("application/pdf"));
        let stored = db.page(&page(Which::Stored, None)).await.expect("a page");
        assert_eq!(stored.len(), 1);
        assert_eq!(stored[0].created, None);
        assert_eq!(db.page(&page(Which::All, None)).await.expect("a page").len(), 2);
        assert_eq!(db.page(&page(Which::All, Some(owner))).await.expect("a page").len(), 1);
    })
    .await;
}

#[tokio::test]
async fn only_rows_that_hold_the_old_path_change_and_nothing_else_of_them() {
    everywhere(|fixture| async move {
        fixture.fill(4);
        let db = fixture.open().await;
        let keys = fixture.keys;
        let tricky = "s3://docs/it's \"ö\" 東 %s {} \\ $1.pdf";
        let changes = vec![
            change(keys, 3, "/up/3.pdf", tricky),
            change(keys, 1, "/up/other.pdf", "s3://docs/1.pdf"),
            change(keys, 99, "/up/99.pdf", "s3://docs/99.pdf"),
            change(keys, 0, "/up/0.pdf", "s3://docs/0.pdf"),
            change(keys, 2, "/up/2.pdf", "/up/2.pdf"),
        ];
        let peeked = db.peek(&changes).await.expect("a look");
        let first = db.switch(&changes).await.expect("a switch");
        let expected = vec![
            Switched::Done,
            Switched::Changed("/up/1.pdf".to_owned()),
            Switched::Gone,
            Switched::Done,
            Switched::AlreadyDone,
        ];
        assert_eq!(first, expected, "{keys:?}");
        assert_eq!(peeked, expected);
        let again = db.switch(&changes).await.expect("a switch");
        assert_eq!(again[0], Switched::AlreadyDone);
        assert_eq!(again[3], Switched::AlreadyDone);
        assert_eq!(fixture.path_of(3), tricky);
        assert_eq!(fixture.path_of(1), "/up/1.pdf");
        assert_eq!(
            (fixture.run)("SELECT CAST(count(*) AS TEXT) FROM docs WHERE touched <> 'never'")
                .trim(),
            "0"
        );
        let back: Vec<Change> = changes.iter().map(Change::reversed).collect();
        let undone = db.switch(&back).await.expect("a switch");
        assert_eq!(undone[0], Switched::Done);
        assert_eq!(fixture.path_of(3), "/up/3.pdf");
    })
    .await;
}

#[tokio::test]
async fn a_switch_that_fails_in_the_middle_changes_nothing() {
    everywhere(|fixture| async move {
        fixture.fill(3);
        let db = fixture.open().await;
        let mut changes = vec![change(fixture.keys, 0, "/up/0.pdf", "s3://docs/0.pdf")];
        changes.push(Change {
            table: "spare".to_owned(),
            column: "nothing".to_owned(),
            ..changes[0].clone()
        });
        let error = db
            .switch(&changes)
            .await
            .expect_err("there is no such column");
        assert!(!error.is_retryable(), "{error}");
        assert_eq!(fixture.path_of(0), "/up/0.pdf");
        assert_eq!(
            db.switch(&changes[..1])
                .await
                .expect("the session still works"),
            [Switched::Done]
        );
    })
    .await;
}

#[tokio::test]
async fn holders_and_counts_see_every_column() {
    everywhere(|fixture| async move {
        fixture.fill(3);
        let key = |n| quote(&fixture.keys.key(n));
        (fixture.run)(&format!(
            "INSERT INTO spare (id, path, copy) VALUES ('{}', '/up/0.pdf', NULL), ('{}', 's3://spare/1', '/up/0.pdf')",
            key(10), key(11)
        ));
        let db = fixture.open().await;
        let mapping = mapping();
        let paths = ["/up/0.pdf".to_owned(), "/up/nobody.pdf".to_owned()];
        let mut found = db.holders(&mapping.path_columns(), &paths).await.expect("holders");
        found.sort_by_key(|holder| (holder.table.clone(), holder.column.clone()));
        let seen: Vec<_> = found.iter().map(|h| (h.table.as_str(), h.column.as_str(), h.key.clone())).collect();
        assert_eq!(
            seen,
            [
                ("docs", "path", fixture.keys.key(0)),
                ("spare", "copy", fixture.keys.key(11)),
                ("spare", "path", fixture.keys.key(10))
            ]
        );
        let counts = db.counts().await.expect("counts");
        let numbers: Vec<_> = counts.iter().map(|c| (c.local, c.stored, c.empty, c.local_bytes)).collect();
        assert_eq!(numbers, [(3, 0, 0, 3), (1, 1, 0, 0), (1, 0, 1, 0)]);
    })
    .await;
}

#[tokio::test]
async fn a_second_runner_is_told_who_holds_the_lock() {
    for fixture in [Fixture::sqlite(Keys::Uuid), Fixture::postgres(Keys::Uuid)] {
        let first = fixture.open_as("migrate_to_s3 on alpha, process 42").await;
        let second = fixture.open_as("migrate_to_s3 on beta, process 43").await;
        let held = first.lock().await.expect("the lock is free");
        let error = second.lock().await.expect_err("the lock is taken");
        assert_eq!(error.kind(), DbErrorKind::Locked);
        assert!(
            error
                .to_string()
                .contains("migrate_to_s3 on alpha, process 42"),
            "{error}"
        );
        drop(held);
        let again = second.lock().await.expect("the lock is free again");
        fixture.fill(1);
        let done = second
            .switch(&[change(Keys::Uuid, 0, "/up/0.pdf", "s3://docs/0.pdf")])
            .await;
        assert_eq!(done.expect("the holder may switch"), [Switched::Done]);
        drop(again);
    }
}

#[tokio::test]
async fn a_database_without_the_documents_is_refused_and_missing_extras_are_named() {
    for fixture in [Fixture::sqlite(Keys::Uuid), Fixture::postgres(Keys::Uuid)] {
        (fixture.run)("DROP TABLE spare");
        (fixture.run)("ALTER TABLE docs DROP COLUMN made");
        let db = fixture.open().await;
        assert_eq!(db.info().missing_tables, ["spare"]);
        assert_eq!(db.info().missing_columns, ["docs.made"]);
        let mapping = mapping();
        let page = Page {
            table: &mapping.extra[0],
            which: Which::All,
            user: None,
            after: None,
            limit: 1,
        };
        assert!(db.page(&page).await.expect("a page").is_empty());
        (fixture.run)("DROP TABLE docs");
        let refused = open_database(&fixture.url, &options("test"), &mapping).await;
        let error = refused.err().expect("there are no documents");
        assert_eq!(error.kind(), DbErrorKind::Schema);
        assert!(error.to_string().contains("docs.id"), "{error}");
    }
}
