//! Shows that the scratch cluster answers, asks for passwords, comes back after a stop, and leaves nothing behind.

use super::*;
use std::net::TcpStream;

#[test]
fn each_database_is_its_own_and_errors_carry_the_servers_words() {
    let postgres = Postgres::shared();
    let (one, two) = (postgres.database(), postgres.database());
    one.sql("CREATE TABLE t (a text, b int); CREATE EXTENSION pg_trgm;");
    let awkward = copy_field(Some("tab\there \\ and\nline"));
    one.copy("t (a, b)", &format!("{awkward}\t1\n\\N\t2\n"));
    assert_eq!(
        one.sql("SELECT b FROM t WHERE a = E'tab\\there \\\\ and\\nline'"),
        "1\n"
    );
    assert_eq!(one.sql("SELECT b FROM t WHERE a IS NULL"), "2\n");
    let error = two
        .try_sql("SELECT * FROM t")
        .expect_err("no such table there");
    assert!(error.to_string().contains("does not exist"), "{error}");
    assert_eq!(one.sql("SELECT current_user"), format!("{OWNER}\n"));
}

#[test]
fn a_wrong_password_is_refused() {
    let postgres = Postgres::shared();
    let stranger = Database::new(
        postgres.programs.path("psql"),
        postgres.port,
        "postgres",
        OWNER,
        "wrong",
    );
    let error = stranger.try_sql("SELECT 1").expect_err("it is refused");
    assert!(error.to_string().contains("password"), "{error}");
}

#[test]
fn it_comes_back_with_its_data_and_then_goes_for_good() {
    let mut postgres = Postgres::start();
    let database = postgres.database();
    database.sql("CREATE TABLE kept AS SELECT 42 AS answer");
    postgres.stop();
    TcpStream::connect(postgres.address()).expect_err("it is stopped");
    postgres.start_again();
    assert_eq!(database.sql("SELECT answer FROM kept"), "42\n");
    let (address, folder) = (postgres.address(), postgres.folder.clone());
    assert!(folder.exists());
    drop(postgres);
    TcpStream::connect(address).expect_err("it is gone");
    assert!(!folder.exists(), "its folder is gone");
}
