//! The mirror as a whole, against the sample upstream over real HTTP: runs, crashes at every store operation, two runs at once, serving.

mod crash;
mod line;
mod prune;
mod serve;
mod sync;
mod world;
