//! The real program against a real PostgreSQL with Readur's tables and a real S3 server.
//!
//! What must hold for each test: what a person sees (exit code, words), and what is on the disk, in the tables and in the bucket.
//!
//! It deliberately mocks nothing inside the program: servers, proxies and files make the trouble.

mod bent;
mod clones;
mod commands;
mod crash;
mod cut;
mod damaged;
mod defects;
mod directions;
mod disks;
mod failures;
mod flags;
mod guards;
mod mounts;
mod newest;
mod order;
mod places;
mod random;
mod restored;
mod snapshots;
mod spelled;
mod stack;
mod state;
mod stores;
mod told;
mod traps;
mod twins;
mod verify;
mod world;
