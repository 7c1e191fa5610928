//! The table of measurements: what, ours, theirs, ratio, bar, and whether it was met.
//!
//! What must hold: a missed bar is marked in its own line and counted.

/// Lines printed so far, as far as they matter at the end.
#[derive(Debug, Default)]
pub struct Table {
    missed: u32,
}

impl Table {
    /// Prints the names of the columns.
    pub fn head(&self, ours: &str, theirs: &str) {
        println!("{:<60} {ours:>13} {theirs:>12} {:>10}  bar", "", "ratio");
    }

    /// Prints a comparison.
    pub fn row(
        &mut self,
        what: &str,
        ours: String,
        theirs: &str,
        ratio: String,
        holds: bool,
        bar: &str,
    ) {
        self.missed += u32::from(!holds);
        let mark = if holds { "" } else { "   MISSED" };
        println!("{what:<60} {ours:>13} {theirs:>12} {ratio:>10}  {bar}{mark}");
    }

    /// Prints a number of ours that has no counterpart.
    pub fn note(&mut self, what: &str, ours: String, holds: bool, bar: &str) {
        self.row(what, ours, "", String::new(), holds, bar);
    }

    /// How many bars were missed.
    pub fn missed(&self) -> u32 {
        self.missed
    }
}
