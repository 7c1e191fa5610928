//! The commands that need no store, run as the real program in a home directory of their own.
//!
//! What must hold: every command is tried with right and with wrong input, and both streams and the exit code are looked at.
//!
//! What it deliberately does not do: test parsers, search and settings in depth. Their modules do.

mod altered;
mod bystanders;
mod damaged;
mod device;
mod exporting;
mod finding;
mod forgetting;
mod importing;
mod lying;
mod settings;
mod shells;
mod standing;
mod status;
