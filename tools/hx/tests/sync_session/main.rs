//! Whole sessions with the real binary: two devices over a folder and over a bucket, and everything people do to them.
//!
//! What must hold: what one device has, the other finds; what was forgotten is gone everywhere; no way through the commands
//! loses a command; nothing in between holds what was typed.
//!
//! It deliberately leaves failures of stores, networks and settings to the tests in `failures`.

mod canary;
mod cut_off;
mod devices;
mod interrupted;
mod journey;
mod json;
mod session;
mod stores;
mod switch;
mod syncthing;
mod together;

#[path = "../failures/call.rs"]
mod call;
#[path = "../failures/world.rs"]
mod world;
