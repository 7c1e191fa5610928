//! Where random bytes come from: the operating system, or, so that a simulation can repeat a run exactly, whatever it names.
//!
//! What must hold: nobody gets anything but the operating system's without naming it. What it deliberately does not do: stretch or mix.

use std::fmt;
use std::sync::Arc;

type Fill = dyn Fn(&mut [u8]) + Send + Sync;

/// A source of random bytes for keys and the ways in that wrap them.
#[derive(Clone, Default)]
pub struct Entropy(Option<Arc<Fill>>);

impl Entropy {
    /// The operating system's generator.
    pub fn system() -> Self {
        Self(None)
    }

    /// Whatever `fill` writes. For simulations only: keys made of it are as secret as it is.
    pub fn simulated(fill: impl Fn(&mut [u8]) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(fill)))
    }

    /// So many bytes.
    ///
    /// # Panics
    /// If the operating system has no randomness to give; nothing may be encrypted then.
    pub(crate) fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        match &self.0 {
            Some(fill) => fill(&mut bytes),
            None => {
                getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
            }
        }
        bytes
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Some(_) => "Entropy(simulated)",
            None => "Entropy(system)",
        })
    }
}
