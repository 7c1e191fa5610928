//! `hx sync test-connection` and `hx sync test-permissions`.
//!
//! What must hold: the store is really written to, read, listed and deleted from; nothing is left in it.
//! What it deliberately does not do: need a vault: both work as soon as a store is configured.

use console::{Exit, Failure, Table};
use serde_json::json;
use store::{
    PermissionCheck, PermissionOutcome, Store, StoreKind, StoreUrl, check_permissions,
    check_round_trip, policy_json,
};

use crate::cli::Context;
use crate::settings::credentials;
use crate::sync::{Link, Past, history_failure};

/// The store that sync uses, or would use.
///
/// # Errors
/// If none is configured.
pub(super) fn configured_store(context: &Context) -> Result<StoreUrl, Failure> {
    let past = match context.history_to_read()? {
        Some(history) => Past::read(&history).map_err(|error| history_failure(&error))?,
        None => Past::default(),
    };
    if let Some(membership) = past.membership {
        return Link::url(&membership, &context.settings, &context.paths);
    }
    match context.settings.store_url() {
        Ok(Some(url)) => {
            context.paths.refuse_own(&url.value)?;
            credentials::attach(&context.paths, url.value)
        }
        Ok(None) => Err(Failure::new(Exit::NoStore, "no store is configured")
            .hint("Run `hx sync init --store URL`.")),
        Err(problem) => Err(Failure::config(problem.what).hint(problem.remedy)),
    }
}

/// Runs `hx sync test-connection`.
///
/// # Errors
/// The store's.
pub fn connection(context: &Context) -> Result<Exit, Failure> {
    let url = configured_store(context)?;
    let (trip, described) = context.block_on(async {
        let store = Store::open(&url, &context.settings.tuning(), &context.environment())
            .await
            .map_err(Failure::from)?;
        let trip = check_round_trip(&store).await.map_err(Failure::from)?;
        Ok((trip, store.describe()))
    })?;
    let ui = &context.ui;
    if ui.is_json() {
        ui.json(&json!({ "store": described, "round_trip": trip }));
        return Ok(Exit::Ok);
    }
    ui.out(format!("{described} works."));
    let mut table = Table::new(["operation", "took"]);
    for (operation, took_ms) in [
        ("put", trip.put_ms),
        ("get", trip.get_ms),
        ("list", trip.list_ms),
        ("delete", trip.delete_ms),
    ] {
        table.row([operation.to_owned(), format!("{took_ms:.1} ms")]);
    }
    ui.out(table.render());
    Ok(Exit::Ok)
}

/// Runs `hx sync test-permissions`.
///
/// # Errors
/// [`Exit::Denied`] if one is missing; the policy is printed then.
pub fn permissions(context: &Context) -> Result<Exit, Failure> {
    let url = configured_store(context)?;
    let mut checks = context.block_on(async {
        Ok(check_permissions(&url, &context.settings.tuning(), &context.environment()).await)
    })?;
    if url.kind() == StoreKind::Folder {
        checks.retain(|check| check.outcome != PermissionOutcome::NotApplicable);
        for check in &mut checks {
            check.action = in_a_folder(check.action);
        }
    }
    let ui = &context.ui;
    let missing: Vec<&PermissionCheck> = checks
        .iter()
        .filter(|check| {
            matches!(
                check.outcome,
                PermissionOutcome::Denied | PermissionOutcome::Unknown
            )
        })
        .collect();
    let policy = url.bucket().map(policy_json);
    if ui.is_json() {
        let rows: Vec<_> = checks.iter().map(|check| json!({ "action": check.action, "outcome": word(check.outcome), "error": check.error.as_ref().map(ToString::to_string) })).collect();
        ui.json(&json!({ "store": url.to_string(), "permissions": rows, "policy": policy }));
    } else {
        let mut table = Table::new(["action", "outcome", "why"]);
        for check in &checks {
            table.row([
                check.action.to_owned(),
                word(check.outcome).to_owned(),
                check
                    .error
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
            ]);
        }
        ui.out(table.render());
    }
    let Some(worst) = missing.first() else {
        return Ok(Exit::Ok);
    };
    if let (false, Some(policy)) = (ui.is_json(), &policy) {
        ui.out("\nThe policy that sync needs:\n");
        ui.out(policy);
    }
    let denied: Vec<&str> = missing
        .iter()
        .filter(|check| check.outcome == PermissionOutcome::Denied)
        .map(|check| check.action)
        .collect();
    if denied.is_empty() {
        let failure = worst.error.as_ref().map_or_else(
            || Failure::new(Exit::Failed, "the permissions could not be tried"),
            Failure::from,
        );
        return Err(failure.context("the permissions could not be tried"));
    }
    let hint = match url.kind() {
        StoreKind::Folder => "Check who owns the folder and its permissions, then run this again.",
        _ => "Attach the policy above to the user or role, then run this again.",
    };
    let failure = Failure::new(Exit::Denied, format!("not allowed: {}", denied.join(", ")));
    Err(failure.kind("permission").hint(hint))
}

/// What an action is where no policy grants it.
fn in_a_folder(action: &'static str) -> &'static str {
    match action {
        "s3:GetObject" => "read files",
        "s3:PutObject" => "write files",
        "s3:DeleteObject" => "remove files",
        "s3:ListBucket" => "list the folder",
        other => other,
    }
}

fn word(outcome: PermissionOutcome) -> &'static str {
    match outcome {
        PermissionOutcome::Allowed => "allowed",
        PermissionOutcome::Denied => "denied",
        PermissionOutcome::Unknown => "unknown",
        PermissionOutcome::NotApplicable => "not needed here",
    }
}
