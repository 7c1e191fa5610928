//! The engine's promises, one module each.

mod absorb;
mod accept;
mod accepted;
mod begin;
mod canary;
mod counted;
mod crash;
mod desk;
mod emptied;
mod forced;
mod glance;
mod golden;
mod hidden;
mod images;
mod mean;
mod races;
mod relearnt;
mod removal;
mod repair;
#[path = "../world/replica.rs"]
mod replica;
mod requests;
mod retire;
mod review;
mod rotate;
mod spared;
mod stalled;
mod tamper;
mod twins;
mod unnamed;
