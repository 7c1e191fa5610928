//! What only a server can do to us: refuse, vanish, hold rows, be slow.

use super::*;
use testkit::postgres::PostgresOptions;

fn quick(seconds: u64) -> DatabaseOptions {
    DatabaseOptions {
        timeout: Duration::from_secs(seconds),
        runner: "test".to_owned(),
    }
}

async fn error_of(url: &str, options: &DatabaseOptions) -> DbError {
    open_database(url, options, &mapping())
        .await
        .err()
        .expect("it cannot be opened")
}

#[tokio::test]
async fn refusals_have_kinds_and_no_passwords() {
    let fixture = Fixture::postgres(Keys::Uuid);
    let good = fixture.url.clone();
    let (start, _) = good.rsplit_once('/').expect("a URL has slashes");
    let cases = [
        (
            good.replace("readur-for-tests", "wr0ng-secret"),
            DbErrorKind::Authentication,
        ),
        (format!("{start}/no_such_database"), DbErrorKind::Schema),
        (
            "postgres://u:wr0ng-secret@127.0.0.1:1/x".to_owned(),
            DbErrorKind::Connection,
        ),
        (
            "mysql://u:wr0ng-secret@host/x".to_owned(),
            DbErrorKind::Unsupported,
        ),
        (
            format!("{good}?sslmode=sometimes"),
            DbErrorKind::Unsupported,
        ),
        (format!("{good}?sslmode=require"), DbErrorKind::Connection),
    ];
    for (url, kind) in cases {
        let error = error_of(&url, &quick(10)).await;
        assert_eq!(
            error.kind(),
            kind,
            "{url}: {error} / {}",
            error.source_text()
        );
        let told = format!("{error} {} {error:?}", error.source_text());
        assert!(!told.contains("wr0ng-secret"), "{told}");
    }
    for mode in ["sslmode=disable", "ssl-mode=prefer"] {
        let url = format!("{good}?{mode}&application_name=x&statement-cache-capacity=100");
        open_database(&url, &quick(10), &mapping())
            .await
            .expect("plain text is allowed");
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up_in_time() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!(
        "postgres://u:p@{}/x",
        silent.local_addr().expect("an address")
    );
    let started = Instant::now();
    let error = error_of(&url, &quick(1)).await;
    assert_eq!(error.kind(), DbErrorKind::Timeout, "{error}");
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(error.remedy().contains("DATABASE_TIMEOUT"), "{error}");
}

#[tokio::test]
async fn a_row_that_another_session_holds_ends_in_a_timeout_and_nothing_is_half_done() {
    let fixture = Fixture::postgres(Keys::Integer);
    fixture.fill(2);
    let db = open_database(&fixture.url, &quick(1), &mapping())
        .await
        .expect("it opens");
    let (blocker, connection) = tokio_postgres::connect(&fixture.url, tokio_postgres::NoTls)
        .await
        .expect("a session");
    let session = tokio::spawn(connection);
    blocker
        .batch_execute("BEGIN; SELECT * FROM docs WHERE id = 1 FOR UPDATE")
        .await
        .expect("a lock");
    let changes = [
        change(Keys::Integer, 0, "/up/0.pdf", "s3://docs/0.pdf"),
        change(Keys::Integer, 1, "/up/1.pdf", "s3://docs/1.pdf"),
    ];
    let error = db.switch(&changes).await.expect_err("the row is held");
    assert_eq!(
        error.kind(),
        DbErrorKind::Timeout,
        "{error}: {}",
        error.source_text()
    );
    assert_eq!(fixture.path_of(0), "/up/0.pdf");
    blocker
        .batch_execute("UPDATE docs SET path = '/up/new.pdf' WHERE id = 1; COMMIT")
        .await
        .expect("a commit");
    let answers = db.switch(&changes).await.expect("the row is free");
    assert_eq!(
        answers,
        [Switched::Done, Switched::Changed("/up/new.pdf".to_owned())]
    );
    drop(blocker);
    session
        .await
        .expect("the session ends")
        .expect("it ends well");
}

#[tokio::test]
async fn a_change_made_while_we_wait_for_the_row_wins() {
    let fixture = Fixture::postgres(Keys::Integer);
    fixture.fill(1);
    let db = fixture.open().await;
    let (other, connection) = tokio_postgres::connect(&fixture.url, tokio_postgres::NoTls)
        .await
        .expect("a session");
    let session = tokio::spawn(connection);
    other
        .batch_execute("BEGIN; UPDATE docs SET path = '/up/new.pdf' WHERE id = 0")
        .await
        .expect("an update");
    let waiting = tokio::spawn(async move {
        db.switch(&[change(Keys::Integer, 0, "/up/0.pdf", "s3://docs/0.pdf")])
            .await
    });
    let deadline = Instant::now() + Duration::from_secs(20);
    let blocked = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    while other
        .query_one(blocked, &[])
        .await
        .expect("an answer")
        .get::<_, i64>(0)
        == 0
    {
        assert!(Instant::now() < deadline, "the switch never waited");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    other.batch_execute("COMMIT").await.expect("a commit");
    let answers = waiting.await.expect("it ends").expect("a switch");
    assert_eq!(answers, [Switched::Changed("/up/new.pdf".to_owned())]);
    drop(other);
    session
        .await
        .expect("the session ends")
        .expect("it ends well");
}

#[tokio::test]
async fn a_server_that_vanishes_is_an_error_and_the_next_try_finds_all_or_nothing() {
    let mut server = testkit::Postgres::with(PostgresOptions::default()).expect("a server");
    let database = server.database();
    database.sql("CREATE TABLE docs (id bigint PRIMARY KEY, path text); CREATE TABLE spare (id bigint PRIMARY KEY, path text, copy text)");
    database.sql("INSERT INTO docs SELECT n, '/up/' || n || '.pdf' FROM generate_series(0, 999) n");
    let db = open_database(&database.url(), &quick(10), &mapping())
        .await
        .expect("it opens");
    let _lock = db.lock().await.expect("the lock is free");
    let changes: Vec<Change> = (0..1000)
        .map(|n| {
            change(
                Keys::Integer,
                n,
                &format!("/up/{n}.pdf"),
                &format!("s3://docs/{n}.pdf"),
            )
        })
        .collect();
    server.stop();
    let error = db.switch(&changes).await.expect_err("there is no server");
    assert_eq!(
        error.kind(),
        DbErrorKind::Connection,
        "{error}: {}",
        error.source_text()
    );
    assert!(error.is_retryable());
    server.start_again();
    let left = database.sql("SELECT count(*) FROM docs WHERE path LIKE 's3:%'");
    assert_eq!(left.trim(), "0");
    let answers = db.switch(&changes).await.expect("the server is back");
    assert!(answers.iter().all(|answer| *answer == Switched::Done));
    // The new session holds the lock again.
    let second = open_database(&database.url(), &quick(10), &mapping())
        .await
        .expect("it opens");
    assert_eq!(
        second.lock().await.expect_err("it is taken").kind(),
        DbErrorKind::Locked
    );
}

#[tokio::test]
async fn an_sqlite_file_that_another_process_writes_to_is_waited_for_and_then_given_up() {
    let fixture = Fixture::sqlite(Keys::Integer);
    fixture.fill(1);
    let db = open_database(&fixture.url, &quick(1), &mapping())
        .await
        .expect("it opens");
    let path = fixture.url.trim_start_matches("sqlite:").to_owned();
    let other = rusqlite::Connection::open(path).expect("it opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    let changes = [change(Keys::Integer, 0, "/up/0.pdf", "s3://docs/0.pdf")];
    let error = db.switch(&changes).await.expect_err("it is held");
    assert_eq!(error.kind(), DbErrorKind::Contention, "{error}");
    other.execute_batch("ROLLBACK").expect("it ends");
    let answers = db.switch(&changes).await.expect("it is free");
    assert_eq!(answers, [Switched::Done]);
}

#[tokio::test]
async fn the_lock_outlives_no_session_and_no_session_outlives_a_limit_of_the_server() {
    let fixture = Fixture::postgres(Keys::Integer);
    fixture.fill(1);
    let db = fixture.open().await;
    let held = db.lock().await.expect("the lock is free");
    let (admin, connection) = tokio_postgres::connect(&fixture.url, tokio_postgres::NoTls)
        .await
        .expect("a session");
    let session = tokio::spawn(connection);
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' \
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let ended: i64 = admin.query_one(end, &[]).await.expect("it ends").get(0);
    assert_eq!(ended, 1);
    let rival = fixture.open_as("rival").await;
    let theirs = rival.lock().await.expect("the lock is free");
    let changes = [change(Keys::Integer, 0, "/up/0.pdf", "s3://docs/0.pdf")];
    // The first call may meet the dead session; no call may get through while another runner has the lock.
    for _ in 0..2 {
        let error = db.switch(&changes).await.expect_err("the lock is lost");
        assert!(
            matches!(error.kind(), DbErrorKind::Connection | DbErrorKind::Locked),
            "{error}"
        );
    }
    assert_eq!(fixture.path_of(0), "/up/0.pdf");
    drop((theirs, rival));
    let answers = db.switch(&changes).await.expect("the lock is ours again");
    assert_eq!(answers, [Switched::Done]);
    drop((held, admin));
    session
        .await
        .expect("the session ends")
        .expect("it ends well");
}
