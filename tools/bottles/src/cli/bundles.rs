//! `homebrew-sync bundle`: keys, export, import.

use super::args::{BundleCommand, BundleExportArgs, BundleImportArgs};
use super::mirror::Place;
use super::recording::{Recorded, Recording};
use super::{failures, signals, sync_run};
use crate::bundle::{
    self, BundleError, ExportOptions, ImportOptions, Imported, SigningKey, TrustedKey,
};
use crate::runs::Trigger;
use crate::sync::SyncReport;
use crate::sync::fetch::FetchOptions;
use console::{Env, Exit, Failure, Ui, human};
use std::error::Error;
use std::sync::Arc;
use transfer::{Retry, Silent, StopSignal};

pub(super) async fn run(
    command: &BundleCommand,
    place: &Place,
    ui: &Ui,
    env: &Env,
) -> Result<Exit, Failure> {
    match command {
        BundleCommand::Keygen { out } => {
            SigningKey::create(out).map_err(|error| {
                let hint = "name another file with --out: no key is written over";
                failures::hinted(failure(&error), hint)
            })?;
            ui.out(format!(
                "The private key is {}; keep it on the side that exports.",
                out.display()
            ));
            ui.out(format!("The public key is {}.pub; carry it to the other side once, by a way that you trust.", out.display()));
            Ok(Exit::Ok)
        }
        BundleCommand::Export(args) => export(args, place, ui, env).await,
        BundleCommand::Import(args) => import(args, place, ui, env).await,
    }
}

async fn export(
    args: &BundleExportArgs,
    place: &Place,
    ui: &Ui,
    env: &Env,
) -> Result<Exit, Failure> {
    let store = place.open(env).await?;
    let key = SigningKey::read(&args.key).map_err(|error| {
        let hint =
            "--key names the private key; `homebrew-sync bundle keygen --out FILE` makes one";
        failures::hinted(failure(&error), hint)
    })?;
    let options = ExportOptions {
        since: args.since.as_deref(),
        dir: &args.out,
        split: args.split,
        key: &key,
        replaces: args.replace,
    };
    let made = bundle::export(&store, options).await.map_err(|error| {
        let hint = "name a directory that can be written with --out DIR";
        failures::hinted(failure(&error), hint)
    })?;
    if ui.is_json() {
        ui.json(&made);
        return Ok(Exit::Ok);
    }
    ui.out(format!(
        "Wrote {} of generation {} to {}: {} in {}.",
        human::count(made.objects, "object"),
        made.generation,
        args.out.display(),
        human::bytes(made.bytes),
        human::count(made.parts, "part"),
    ));
    if made.parts_kept > 0 {
        ui.status(format!(
            "{} had been written before.",
            human::count(made.parts_kept, "part")
        ));
    }
    Ok(Exit::Ok)
}

async fn import(
    args: &BundleImportArgs,
    place: &Place,
    ui: &Ui,
    env: &Env,
) -> Result<Exit, Failure> {
    let keys = args.trust.iter().map(|path| {
        TrustedKey::read(path).map_err(|error| {
            let hint = "--trust names the public key of the side that exports: the FILE.pub that `homebrew-sync bundle keygen` made there";
            failures::hinted(failure(&error), hint)
        })
    });
    let trusted = keys.collect::<Result<Vec<_>, _>>()?;
    let stop = StopSignal::new();
    let _listening = signals::listen(ui, &stop)?;
    let store = place.open(env).await?;
    let begin = || -> Result<Recording, Failure> {
        let now = sync_run::now(env)?;
        let name = store.describe();
        Ok(Recording::begin(
            &name,
            place,
            env,
            now,
            Trigger::Import,
            ui,
        ))
    };
    let recording = match args.dry_run {
        true => None,
        false => Some(begin()?),
    };
    let options = ImportOptions {
        dir: &args.dir,
        trusted: &trusted,
        again: args.again,
        other_mirror: args.other_mirror,
        dry_run: args.dry_run,
        fetching: FetchOptions {
            concurrency: 8,
            retry: Retry::default(),
            state_dir: place.state_dir.clone(),
            observer: Arc::new(Silent),
            stop,
        },
    };
    let taken = bundle::import(&store, options).await;
    let taken = taken.map_err(|error| {
        failures::hinted(
            failure(&error),
            "see whether the bundle's medium can be read",
        )
    });
    if let Ok(taken) = &taken {
        tell_import(taken, args.dry_run, ui);
    }
    let report = taken.map(|taken| report_of(&taken));
    let recorded = match recording {
        Some(recording) => recording.end(Some(&store), &report, 0, ui).await,
        None => Recorded::default(),
    };
    Ok(recorded.exit(report)?.err().unwrap_or(Exit::Ok))
}

fn tell_import(taken: &Imported, dry_run: bool, ui: &Ui) {
    for warning in &taken.warnings {
        ui.warn(warning);
    }
    if ui.is_json() {
        return ui.json(taken);
    }
    match (taken.already_there, dry_run) {
        (true, false) if taken.stored > 0 => ui.out(format!(
            "Generation {} is the current one already: {} of {} that were missing or damaged came from the bundle.",
            taken.generation,
            human::count(taken.stored, "bottle"),
            human::bytes(taken.bytes),
        )),
        (true, _) => ui.out(format!(
            "Generation {} is the current one already.",
            taken.generation
        )),
        (false, true) => ui.out(format!(
            "The bundle is whole, signed and fits: it would bring generation {}.",
            taken.generation
        )),
        (false, false) => ui.out(format!(
            "Generation {} is the current one now: {} of {} came from the bundle, {} were here.",
            taken.generation,
            human::count(taken.stored, "bottle"),
            human::bytes(taken.bytes),
            human::number(taken.kept),
        )),
    }
}

/// Says what an import did as a run does.
fn report_of(taken: &Imported) -> SyncReport {
    let published = Some(taken.generation.clone()).filter(|_| !taken.already_there);
    SyncReport {
        bottles: taken.bottles,
        bytes: taken.bottle_bytes,
        fetched: taken.stored,
        fetched_bytes: taken.bytes,
        published,
        nothing_new: taken.already_there,
        ..SyncReport::default()
    }
}

fn failure(error: &BundleError) -> Failure {
    match error {
        BundleError::Store(error) => failures::of_store(error),
        BundleError::Log(error) => failures::of_log(error),
        BundleError::Fetch(error) => failures::of_sync(error),
        BundleError::File { error, path } => Failure::io("read or write", path, error),
        _ => {
            let (code, hint) = code_and_hint(error);
            Failure::new(code, error)
                .with_causes(error.source())
                .hint(hint)
        }
    }
}

/// What is told by a code and a hint of its own.
fn code_and_hint(error: &BundleError) -> (Exit, &'static str) {
    match error {
        BundleError::Store(_)
        | BundleError::Log(_)
        | BundleError::Fetch(_)
        | BundleError::File { .. } => (Exit::Failed, "see the cause"),
        BundleError::Nothing => (Exit::NoStore, "run `homebrew-sync sync` first"),
        BundleError::NoSuchGeneration(_) => (
            Exit::Failed,
            "`homebrew-sync generations` lists those that are there; without --since everything is carried",
        ),
        BundleError::SeveralGenerations(_) => (
            Exit::Failed,
            "write the whole name of the one that is meant after --since",
        ),
        BundleError::Taken { .. } => (
            Exit::Conflict,
            "nothing was written; name another directory with --out DIR, or add --replace to write over that bundle",
        ),
        BundleError::DamagedHere { .. } => (
            Exit::Corrupt,
            "run `homebrew-sync scrub`, remove what is damaged, then `homebrew-sync sync --check`",
        ),
        BundleError::ForeignSignature => (
            Exit::WrongKey,
            "name the other side's public key with --trust FILE; do not take the bundle in if it is another's",
        ),
        BundleError::Key { .. } => (
            Exit::WrongKey,
            "`homebrew-sync bundle keygen --out FILE` makes a key, and FILE.pub beside it",
        ),
        BundleError::Form(_) => (
            Exit::Corrupt,
            "copy the bundle from its source once more; if it stays, make it anew",
        ),
        BundleError::Part { file, .. } if file.starts_with(bundle::INDEX) => (
            Exit::Corrupt,
            "see whether this is the bundle's directory: bundle.json, bundle.json.sig and the parts belong together; if it is, copy them from their source once more",
        ),
        BundleError::Part { .. } => (
            Exit::Corrupt,
            "copy that part from its source once more, then import again: what is stored stays",
        ),
        BundleError::NotStored { .. } => (
            Exit::Partial,
            "see the cause, then import again: what is stored stays",
        ),
        BundleError::Stopped => (
            Exit::Interrupted,
            "import again to go on: what is stored stays",
        ),
        BundleError::Downgrade { .. } => (
            Exit::Conflict,
            "to go back to an earlier generation on purpose, use `homebrew-sync rollback N` there",
        ),
        BundleError::TakenBefore { .. } => (
            Exit::Conflict,
            "carry a later generation; to take this one in although it was gone back from, add --again",
        ),
        BundleError::OtherMirror { .. } => (
            Exit::Conflict,
            "see that the bundle is of the right mirror; if this side is to follow that one from now on, or the mirror was made anew there, add --other-mirror",
        ),
        BundleError::Gap { .. } => (
            Exit::Conflict,
            "export with --since and the number that `homebrew-sync generations` shows here, or without --since",
        ),
    }
}
