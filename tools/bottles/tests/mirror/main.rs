//! The mirror as a whole, against the sample upstream over real HTTP: runs, crashes at every store operation, two runs at once, serving.

mod asleep;
mod browser;
mod bundle;
mod crash;
mod daemon;
mod dropping;
mod full;
mod gone;
mod keeping;
mod kill;
mod layouts;
mod line;
mod looking;
mod meeting;
mod mending;
mod notices;
mod planning;
mod program;
mod prune;
mod receiver;
mod replay;
mod runs;
mod serve;
mod shrinking;
mod sync;
mod world;
