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
fn the_book_and_the_help_say_the_same_of_every_exit_code() {
    let help = super::command().render_long_help().to_string();
    for (exit, meaning) in super::exits::MEANINGS {
        let code = exit.code();
        let row = format!("| {code} | {meaning} |");
        assert!(BOOK.contains(&row), "docs/migrate.md lacks {row}");
        assert!(help.contains(&meaning.replace('`', "")), "{code}");
    }
    assert!(
        !help.contains("passphrase"),
        "those are another tool's words"
    );
}
