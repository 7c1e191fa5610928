//! What every command works with: output, environment, settings, paths.
//!
//! What must hold: settings that are wrong stop a command before it does anything, but for the store's where the command needs none; warnings
//! are shown once.
//! What it deliberately does not do: open anything by itself.

mod interrupt;

use std::time::Duration;

use console::spec::Flags;
use console::{Env, Exit, Failure, Problem, Severity, Ui, Unasked, init_logging};
use store::Environment;

use self::interrupt::interruptible;
use crate::history::{History, HistoryErrorKind};
use crate::settings::{Paths, Settings};
use crate::sync::history_failure;

/// So long work in the background may take to clean up after a command.
const CLEAN_UP_MAX: Duration = Duration::from_millis(500);

/// Whether a command needs the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It works on this machine alone.
    Local,
    /// It may go to the store.
    Store,
}

/// What a command works with.
pub struct Context {
    /// Where it speaks.
    pub ui: Ui,
    /// The environment it was started in.
    pub env: Env,
    /// What is configured.
    pub settings: Settings,
    /// Where its files are.
    pub paths: Paths,
}

impl Context {
    /// Resolves settings and paths, and starts the log.
    ///
    /// # Errors
    /// If a setting is wrong.
    pub fn new(ui: Ui, env: Env, flags: &Flags, reach: Reach) -> Result<Self, Failure> {
        let paths = Paths::resolve(&env)?;
        let (settings, problems) = Settings::load(flags, &env, &paths);
        let (errors, warnings): (Vec<Problem>, Vec<Problem>) =
            problems.into_iter().partition(|problem| {
                let is_needless = reach == Reach::Local && is_of_the_store(problem);
                problem.severity == Severity::Error && !is_needless
            });
        if let Some(failure) = Problem::to_failure(&errors) {
            // What was typed on this command line is a wrong command line, not a wrong configuration.
            let is_typed = errors
                .iter()
                .all(|problem| problem.place.contains("(argument "));
            return Err(if is_typed {
                failure.with_exit(Exit::Usage)
            } else {
                failure
            });
        }
        for warning in warnings {
            ui.warn(warning);
        }
        // A second start within one process (tests) keeps the first log.
        let _ = init_logging(&settings.log_level.value, &env);
        Ok(Self {
            ui,
            env,
            settings,
            paths,
        })
    }

    /// The same for other files: a scratch device.
    #[must_use]
    pub fn elsewhere(&self, paths: Paths) -> Self {
        Self {
            ui: self.ui.clone(),
            env: self.env.clone(),
            settings: self.settings.clone(),
            paths,
        }
    }

    /// Opens the history for reading and writing, creating it if there is none.
    ///
    /// # Errors
    /// If the database cannot be opened.
    pub fn history(&self) -> Result<History, Failure> {
        self.paths.create()?;
        History::open(&self.paths.database()).map_err(|error| history_failure(&error))
    }

    /// Opens the history only for reading; none if there is none yet. It also works where nothing may be written.
    ///
    /// # Errors
    /// If the database cannot be opened.
    pub fn history_to_read(&self) -> Result<Option<History>, Failure> {
        match History::open_read_only(&self.paths.database()) {
            Ok(history) => Ok(Some(history)),
            Err(error) if error.kind() == HistoryErrorKind::NotFound => Ok(None),
            Err(error) => Err(history_failure(&error)),
        }
    }

    /// The environment as the store wants it.
    #[must_use]
    pub fn environment(&self) -> Environment {
        Environment::from(&self.env)
    }

    /// Asks before something is taken away for good that other devices have too. A clear yes, on the terminal or by `--yes`, goes on.
    ///
    /// # Errors
    /// [`Exit::Usage`] where nobody can be asked and there is no `--yes`; [`Exit::Failed`] if the person says no.
    pub fn consent(&self, question: &str) -> Result<(), Failure> {
        if self.ui.confirm(question, Unasked::No)? {
            return Ok(());
        }
        if self.ui.can_prompt() {
            return Err(declined());
        }
        Err(Failure::usage(
            "nothing was changed: this needs a yes, and there is no terminal to ask on",
        )
        .kind("no-terminal")
        .hint("Add `--yes` if you are sure."))
    }

    /// Asks before something is dropped that this machine alone has and that can be had again. Without a terminal the command line
    /// itself is the consent.
    ///
    /// # Errors
    /// [`Exit::Failed`] if the person says no.
    pub fn consent_on_terminal(&self, question: &str) -> Result<(), Failure> {
        if self.ui.confirm(question, Unasked::Yes)? {
            return Ok(());
        }
        Err(declined())
    }

    /// Runs a future to its end, or until the person interrupts it.
    ///
    /// # Errors
    /// The future's own, or [`console::Exit::Interrupted`].
    pub fn block_on<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        console::check_room_for_files()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| {
                Failure::wrap(
                    console::Exit::Failed,
                    "the asynchronous runtime could not start",
                    &error,
                )
            })?;
        let outcome = runtime.block_on(interruptible(work, self.ui.clone()));
        match &outcome {
            // The person waits no longer.
            Err(failure) if failure.exit() == Exit::Interrupted => runtime.shutdown_background(),
            // A write that a failure beside it made useless removes its unfinished file, if it is let.
            _ => runtime.shutdown_timeout(CLEAN_UP_MAX),
        }
        outcome
    }
}

/// Whether a problem is with the store's URL alone.
fn is_of_the_store(problem: &Problem) -> bool {
    problem.place.starts_with("sync.store (") || problem.place == "environment HX_SYNC_STORE"
}

fn declined() -> Failure {
    Failure::new(Exit::Failed, "nothing was changed, as you said no")
        .kind("declined")
        .hint("Run the command again, with `--yes` if you do not want to be asked.")
}
