//! The engine's promises, one module each.

mod canary;
mod crash;
mod desk;
mod golden;
mod mean;
mod removal;
mod repair;
#[path = "../world/replica.rs"]
mod replica;
mod requests;
mod rotate;
mod tamper;
mod twins;
