//! Every failure that the troubleshooting guide names, provoked for real through the hx binary.
//!
//! What must hold for each: the exit code of the table, a message with its cause, a hint that helps, no secret in the
//! output, nothing half-configured after an init that failed, and the history as it was.
//!
//! It deliberately mocks nothing inside the program: servers, proxies, folders and limits of the system make the trouble.

mod bucket;
mod call;
mod conflicts;
mod credentials;
mod disk;
mod emptied;
mod forged;
mod local;
mod network;
mod objects;
mod permissions;
mod throttling;
mod urls;
mod world;
