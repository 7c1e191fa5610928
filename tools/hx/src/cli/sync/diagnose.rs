//! `hx sync diagnose`: every check, each with what to do.
//!
//! What must hold: one failing check does not keep the others from running; the report is safe to paste in public.
//! What it deliberately does not do: repair.

use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use clap::Args;
use console::{Check, Diagnosis, Exit, Failure, human};
use store::{Store, StoreKind, StoreUrl, Verdict, probe};
use vault::Look;

use super::status;
use super::test::configured_store;
use crate::cli::Context;
use crate::history::History;
use crate::settings::credentials;
use crate::sync::{KeyFile, Link, Past, failure_of, hidden_failure, history_failure};

/// Arguments of `hx sync diagnose`.
#[derive(Debug, Args)]
pub struct DiagnoseArgs {
    /// Show paths with the home directory as it is (it is `~` otherwise)
    #[arg(long)]
    full_paths: bool,
}

/// Runs `hx sync diagnose`.
///
/// # Errors
/// None of its own: failing checks decide the exit code.
pub fn run(args: &DiagnoseArgs, context: &Context) -> Result<Exit, Failure> {
    let mut diagnosis = Diagnosis::new();
    if let (false, Some(home)) = (args.full_paths, context.env.get("HOME")) {
        diagnosis = diagnosis.hiding_home(home);
    }
    diagnosis.add(Check::pass("hx", env!("CARGO_PKG_VERSION")));
    diagnosis.add(Check::timed(|| database(context)));
    diagnosis.add(Check::timed(|| private_files(context)));
    diagnosis.add(Check::timed(cryptography));
    match configured_store(context) {
        Err(failure) => diagnosis.add(Check::failed("store configured", &failure)),
        Ok(url) => {
            diagnosis.add(Check::pass("store configured", &url));
            remote(context, &url, &mut diagnosis);
        }
    }
    diagnosis.add(last_error(context));
    Ok(diagnosis.show(&context.ui))
}

fn database(context: &Context) -> Check {
    let path = context.paths.database();
    if !path.exists() {
        return Check::warn(
            "database",
            format!("{} does not exist yet", path.display()),
            "Run `hx import` or `hx sync pull`.",
        );
    }
    let checked = History::open_read_only(&path)
        .and_then(|history| Ok((history.counts()?, history.health()?)));
    match checked {
        Err(error) => Check::failed("database", &history_failure(&error)),
        Ok((_, health)) if !health.problems.is_empty() => Check::fail(
            "database",
            health.problems.join("; "),
            "Move the file away (keep it), run `hx sync init` and `hx sync pull`, then `hx import --file` with a backup.",
        ),
        Ok((counts, health)) => Check::pass(
            "database",
            format!(
                "{}, {}, journal {}",
                human::count(counts.events, "event"),
                human::bytes(health.bytes),
                health.journal
            ),
        ),
    }
}

fn private_files(context: &Context) -> Check {
    let exposed = |path: &std::path::Path| {
        std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
    };
    let keys = context.paths.keys_dir();
    if credentials::is_exposed(&context.paths) || exposed(&keys) {
        return Check::fail(
            "private files",
            format!("others can read {}", keys.display()),
            format!("chmod -R go-rwx {}", keys.display()),
        );
    }
    Check::pass("private files", "readable by you only")
}

fn cryptography() -> Check {
    let tests = vault::self_test();
    let failed: Vec<&str> = tests
        .iter()
        .filter(|test| !test.passed)
        .map(|test| test.name)
        .collect();
    if failed.is_empty() {
        Check::pass("cryptography", format!("{} self-tests passed", tests.len()))
    } else {
        Check::fail(
            "cryptography",
            failed.join("; "),
            "Do not sync with this program: its build is broken. Install it again.",
        )
    }
}

fn remote(context: &Context, url: &StoreUrl, diagnosis: &mut Diagnosis) {
    let opened = context.block_on(async {
        Store::open(url, &context.settings.tuning(), &context.environment())
            .await
            .map_err(Failure::from)
    });
    let store = match opened {
        Ok(store) => store,
        Err(failure) => return diagnosis.add(Check::failed("store reachable", &failure)),
    };
    let Ok(report) = context.block_on(async { Ok::<_, Failure>(probe(&store).await) }) else {
        return;
    };
    for step in &report.steps {
        let check = match &step.error {
            None => Check::pass(format!("store: {}", step.name), &step.detail),
            Some(error) => Check::failed(format!("store: {}", step.name), &Failure::from(error)),
        };
        diagnosis.add(check.taking(step.took));
    }
    if !report.is_usable() {
        return;
    }
    if report.capabilities.conditional_create != Verdict::Works {
        diagnosis.add(Check::pass(
            "store: conditional writes",
            "not honest here; sync does not need them",
        ));
    }
    lifecycle(context, &store, diagnosis);
    vault_file(context, diagnosis);
    published(context, url.kind(), diagnosis);
}

/// Whether the store shows what was published, by this device above all: where it does not, the next sync stops.
fn published(context: &Context, kind: StoreKind, diagnosis: &mut Diagnosis) {
    let begun = Instant::now();
    let looked = (|| {
        let Some(mut history) = context.history_to_read()? else {
            return Ok(None);
        };
        let past = Past::read(&history).map_err(|error| history_failure(&error))?;
        let Some(membership) = past.membership else {
            return Ok(None);
        };
        status::glance(context, &mut history, &membership, Look::Listing).map(Some)
    })();
    let trouble = match looked {
        // What is wrong with the vault as a whole was said above.
        Ok(None | Some(Err(_))) | Err(_) => return,
        Ok(Some(Ok(glance))) => {
            let conflict = glance.conflict.as_ref().map(failure_of);
            conflict.or_else(|| hidden_failure(&glance.hidden, kind))
        }
    };
    let check = match trouble {
        Some(failure) => Check::failed("published", &failure),
        None => Check::pass(
            "published",
            "the store shows all that was seen of every device",
        ),
    };
    diagnosis.add(check.taking(begun.elapsed()));
}

fn lifecycle(context: &Context, store: &Store, diagnosis: &mut Diagnosis) {
    let begun = Instant::now();
    let rules = context.block_on(async { store.cold_storage_rules().await.map_err(Failure::from) });
    let check = match rules {
        // Not being allowed to read the rules, or a server without any, is no fault of the sync.
        Err(failure) => Check::warn(
            "lifecycle rules",
            failure.message(),
            "Not needed for syncing. To check them, allow s3:GetLifecycleConfiguration.",
        ),
        Ok(rules) if rules.is_empty() => {
            Check::pass("lifecycle rules", "none moves the vault into cold storage")
        }
        Ok(rules) => {
            let named: Vec<String> = rules
                .iter()
                .map(|rule| {
                    let after = rule.days.map_or_else(
                        || "at a date".to_owned(),
                        |days| format!("after {days} days"),
                    );
                    format!(
                        "`{}` moves \"{}\" to {} {after}",
                        rule.id, rule.prefix, rule.storage_class
                    )
                })
                .collect();
            Check::warn(
                "lifecycle rules",
                named.join("; "),
                "Exclude this prefix from the rule: archived objects must be restored before they can be read.",
            )
        }
    };
    diagnosis.add(check.taking(begun.elapsed()));
}

fn vault_file(context: &Context, diagnosis: &mut Diagnosis) {
    let begun = Instant::now();
    let checked = (|| {
        let Some(history) = context.history_to_read()? else {
            return Ok(None);
        };
        let past = Past::read(&history).map_err(|error| history_failure(&error))?;
        if past.membership.is_none() {
            return Ok(None);
        }
        context.block_on(async {
            let link = Link::open(
                &history,
                &context.settings,
                &context.paths,
                &context.environment(),
            )
            .await?;
            let file = link
                .vault
                .check_file()
                .await
                .map_err(|error| failure_of(&error))?;
            Ok(Some((
                file,
                KeyFile::of(&context.paths, link.membership.vault),
            )))
        })
    })();
    let check = match checked {
        Err(failure) => Check::failed("vault", &failure),
        Ok(None) => Check::warn(
            "vault",
            "this machine has not joined one",
            "Run `hx sync init --store URL`.",
        ),
        Ok(Some((file, _))) => Check::pass(
            "vault",
            format!(
                "{}, epoch {}, {}, this device has the key",
                file.vault,
                file.epoch,
                human::count(file.slots.len() as u64, "slot")
            ),
        ),
    };
    diagnosis.add(check.taking(begun.elapsed()));
}

fn last_error(context: &Context) -> Check {
    let past = History::open_read_only(&context.paths.database())
        .ok()
        .and_then(|history| Past::read(&history).ok())
        .unwrap_or_default();
    match past.last_error() {
        None => Check::pass(
            "last sync",
            if past.last().is_some() {
                "succeeded"
            } else {
                "none yet"
            },
        ),
        Some((sync, error)) => Check::warn(
            "last sync",
            format!(
                "{} failed ({}): {}",
                sync.command, error.kind, error.message
            ),
            &error.remedy,
        ),
    }
}
