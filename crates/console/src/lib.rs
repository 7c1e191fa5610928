//! What every tool shows a person, and where it takes its settings from.
//!
//! This is the only crate that reads the process environment, knows whether a terminal is there, and writes to
//! stdout and stderr. Engines below it return values and errors; tools above it decide what to say; this crate
//! decides how it looks.
//!
//! What must hold:
//! - stdout carries data and nothing else; every other word goes to stderr.
//! - No secret reaches either of them: what is rendered here passes through [`redact`].
//! - What comes from outside acts on no terminal: warnings, errors, hints, tables and the log show control characters, see [`visible`].
//! - A person is asked only where a person is: see [`Ui::can_prompt`].
//! - The exit code and the message of a failure come from one value, [`Failure`].
//!
//! It deliberately does not parse command lines (the tools do, with `clap`) and knows no tool's domain.

mod config_edit;
mod config_file;
pub mod diagnosis;
mod env;
pub mod exit;
mod failure;
pub mod human;
mod limits;
mod logging;
pub mod parse;
mod progress;
mod progress_file;
mod redact;
mod setting;
pub mod spec;
mod table;
mod ui;
mod visible;

pub use config_edit::{EditError, set_key};
pub use config_file::ConfigFile;
pub use diagnosis::{Check, Diagnosis, Outcome};
pub use env::Env;
pub use exit::Exit;
pub use failure::{Failure, FailureExt, without_panic};
pub use limits::{check_room_for_files, outlive_size_limit};
pub use logging::{LogLevelError, init_logging, init_watched_logging};
pub use progress::Progress;
pub use progress_file::{ProgressFile, ProgressState};
pub use redact::{redact, redact_home};
pub use setting::{Origin, Problem, Setting, Severity, nearest};
pub use table::Table;
pub use ui::{Captured, ColorChoice, Ui, UiOptions, Unasked};
pub use visible::{visible, visible_json, visible_line};
