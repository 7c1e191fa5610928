//! Tests of the command line: that it is sound, and that the book has all of it.

use clap::CommandFactory;

use super::args::{CommandLine, QuickstartArgs};

const BOOK: &str = include_str!("../../../../docs/migrate.md");

#[test]
fn the_command_line_is_sound() {
    super::command().debug_assert();
}

#[test]
fn the_book_names_every_flag() {
    let line = CommandLine::command();
    let quickstart = <QuickstartArgs as clap::Args>::augment_args(clap::Command::new("quickstart"));
    let flags = line.get_arguments().chain(quickstart.get_arguments());
    let missing: Vec<String> = flags
        .filter_map(|flag| flag.get_long())
        .map(|name| format!("--{name}"))
        .filter(|name| !BOOK.contains(name.as_str()))
        .collect();
    assert!(missing.is_empty(), "docs/migrate.md lacks {missing:?}");
}

#[test]
fn the_book_names_every_exit_code_that_there_is() {
    for code in [0, 1, 2, 3, 4, 10, 11, 13, 14, 15, 16, 17, 18, 130] {
        assert!(
            BOOK.contains(&format!("| {code} |")),
            "docs/migrate.md lacks {code}"
        );
    }
}
