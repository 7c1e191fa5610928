//! Flags that do not go together, and that clap cannot refuse: it lets go of what a flag needs as soon as another action is asked for.
//!
//! What must hold: a flag that a command would not obey is refused before anything is done. What narrows a command must never be taken for granted by
//! the person and passed over by the program.
//!
//! What it deliberately does not do: refuse what only says how fast something is done.

use console::Failure;

use super::args::{ActionArgs, CommandLine};

/// A flag, whether it is typed, whether the command obeys it, and what to do instead.
type Rule = (&'static str, bool, bool, &'static str);

/// Fails if a flag is typed that the command would not obey.
///
/// # Errors
/// Of usage.
pub fn check(line: &CommandLine) -> Result<(), Failure> {
    let action = &line.action;
    let what = named(action);
    for (flag, is_typed, is_obeyed, hint) in rules(line).into_iter().chain(for_migrations(line)) {
        if is_typed && !is_obeyed {
            return Err(Failure::usage(format!("{flag} does not go with {what}"))
                .kind("flags")
                .hint(format!("nothing was done; {hint}")));
        }
    }
    if action.force_rollback && action.state_file.is_none() {
        return Err(Failure::usage("--force-rollback needs the name of the run: --state-file FILE")
            .kind("no-state-file")
            .hint("nothing was done; `--status` lists the runs. Without force, --rollback takes the newest run of this database"));
    }
    Ok(())
}

/// Every flag that only some commands obey, but for those of a migration.
fn rules(line: &CommandLine) -> [Rule; 9] {
    let (action, run) = (&line.action, &line.run);
    let is_undoing = action.rollback.is_some() || action.force_rollback;
    // A dry run stands for a migration, unless it is one of a removal.
    let migrates = migrates(action);
    let same_database = action.delete_source
        || is_undoing
        || action.verify_state
        || (migrates && run.resume_from.is_some());
    [
        (
            "--same-database",
            action.same_database,
            same_database,
            "it goes with a run that is named: --rollback FILE, --resume-from FILE, or --state-file FILE",
        ),
        (
            "--application-moved",
            action.application_moved,
            action.delete_source,
            "it goes with --delete-source; a rollback takes --remove-copies",
        ),
        (
            "--older-than",
            action.older_than.is_some(),
            action.delete_source,
            "it goes with --delete-source",
        ),
        (
            "--remove-copies",
            action.remove_copies,
            is_undoing,
            "it goes with --rollback after --direction s3-to-s3",
        ),
        (
            "--files-gone",
            action.files_gone,
            is_undoing || action.delete_source,
            "it goes with --rollback and --delete-source",
        ),
        (
            "--no-hash",
            action.no_hash,
            action.audit_files,
            "it goes with --audit-files",
        ),
        (
            "--hash",
            action.hash,
            action.audit_files,
            "it goes with --audit-files",
        ),
        (
            "--sample-size",
            action.sample_size.is_some(),
            action.verify_state,
            "it goes with --verify-state",
        ),
        (
            "--full",
            action.full,
            action.verify_state,
            "it goes with --verify-state",
        ),
    ]
}

/// Every flag that only a migration and its dry run obey.
fn for_migrations(line: &CommandLine) -> [Rule; 5] {
    let (action, run) = (&line.action, &line.run);
    let is_undoing = action.rollback.is_some() || action.force_rollback;
    let migrates = migrates(action);
    let narrow = "leave it out: a run is taken as a whole, and the run of one user is only theirs (a migration with --user-id begins one)";
    let whole = "leave it out: everything is looked at, or what --sample-size N says";
    let narrowing = match is_undoing || action.delete_source {
        true => narrow,
        false => whole,
    };
    let to_go_on = match is_undoing {
        true => {
            "leave it out: a rollback that was interrupted goes on when the same command is started again"
        }
        false => "it goes with a migration",
    };
    let is_named = run.resume_from.is_some();
    [
        ("--resume", run.resume, migrates, to_go_on),
        ("--resume-from", is_named, migrates, to_go_on),
        ("--fresh-start", run.fresh_start, migrates, to_go_on),
        ("--user-id", run.user_id.is_some(), migrates, narrowing),
        ("--limit", run.limit.is_some(), migrates, narrowing),
    ]
}

/// Tells whether a migration is asked for, or a dry run of one.
fn migrates(action: &ActionArgs) -> bool {
    let is_other = action.audit_files
        || action.verify_state
        || action.rollback.is_some()
        || action.force_rollback
        || action.rollback_status
        || action.status
        || action.test_storage
        || action.delete_source;
    !is_other
}

/// Names the command to a person.
fn named(action: &ActionArgs) -> &'static str {
    let all = [
        (action.delete_source, "--delete-source"),
        (action.audit_files, "--audit-files"),
        (action.verify_state, "--verify-state"),
        (action.rollback.is_some(), "--rollback"),
        (action.force_rollback, "--force-rollback"),
        (action.rollback_status, "--rollback-status"),
        (action.status, "--status"),
        (action.test_storage, "--test-storage"),
        (action.dry_run, "--dry-run"),
    ];
    let asked = all.into_iter().find(|(is_asked, _)| *is_asked);
    asked.map_or("a migration", |(_, name)| name)
}
