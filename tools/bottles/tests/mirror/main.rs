//! The mirror as a whole, against the sample upstream over real HTTP: runs, crashes at every store operation, two runs at once, serving.

mod bundle;
mod crash;
mod keeping;
mod kill;
mod layouts;
mod line;
mod meeting;
mod prune;
mod serve;
mod sync;
mod world;
