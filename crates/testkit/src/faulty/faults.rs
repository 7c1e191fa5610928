//! What may go wrong in a simulated store, and how often.
//!
//! Rates are in thousandths and integers, so that a seed decides the same on every machine.
//! Only what the design claims to survive is listed: a fault nobody promised to survive would
//! make the simulator fail for no reason.

/// How a store treats a conditional write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Conditional {
    /// Create-if-absent and update-if-matching do what they say.
    Honest,
    /// The condition is ignored and the object overwritten, without an error.
    Ignored,
    /// The request is refused as not supported.
    Refused,
}

/// The rates of one simulation, in thousandths of the operations they apply to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Faults {
    /// The operation fails and nothing happened.
    pub error_before: u32,
    /// The operation happened and the answer was lost: the caller sees a timeout.
    pub error_after: u32,
    /// A listing shows the store as it was some operations ago.
    pub stale_list: u32,
    /// A listing breaks off after some entries, with an error.
    pub cut_list: u32,
    /// A new object reaches the other devices' listings and reads late, each on its own.
    pub late_arrival: u32,
    /// A removal reaches the other devices late.
    pub late_removal: u32,
    /// One bit of what a read returns is flipped; the stored object is intact.
    pub corrupt_read: u32,
    /// A read ends before its announced length.
    pub cut_read: u32,
    /// The greatest age of a stale listing, in operations.
    pub stale_ticks_max: u64,
    /// The greatest delay of a late arrival or removal, in operations.
    pub late_ticks_max: u64,
    /// What conditional writes do.
    pub conditional: Conditional,
}

impl Faults {
    /// A store without a fault.
    pub fn none() -> Self {
        Faults {
            error_before: 0,
            error_after: 0,
            stale_list: 0,
            cut_list: 0,
            late_arrival: 0,
            late_removal: 0,
            corrupt_read: 0,
            cut_read: 0,
            stale_ticks_max: 0,
            late_ticks_max: 0,
            conditional: Conditional::Honest,
        }
    }

    /// A bad day: some requests fail, the rest is as it should be.
    pub fn mild() -> Self {
        Faults {
            error_before: 20,
            error_after: 20,
            cut_list: 10,
            ..Faults::none()
        }
    }

    /// Everything at once, often; conditions are ignored.
    pub fn harsh() -> Self {
        Faults {
            error_before: 60,
            error_after: 60,
            stale_list: 150,
            cut_list: 50,
            late_arrival: 300,
            late_removal: 300,
            corrupt_read: 10,
            cut_read: 20,
            stale_ticks_max: 60,
            late_ticks_max: 80,
            conditional: Conditional::Ignored,
        }
    }

    /// A folder that a sync tool serves: no errors, but everything arrives late and in any order.
    pub fn synced_folder() -> Self {
        Faults {
            late_arrival: 800,
            late_removal: 800,
            late_ticks_max: 200,
            conditional: Conditional::Ignored,
            ..Faults::none()
        }
    }
}
