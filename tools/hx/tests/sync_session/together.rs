//! Two machines that both set sync up first, at the same moment: they end in one vault, and each has what both had.
//!
//! It deliberately does not force a schedule: real processes race, over a folder and over a bucket, and every outcome must do.

use crate::world::{BUCKET, FOLDER, World};

/// So many races a store.
const ROUNDS: usize = 3;

#[test]
fn two_first_devices_agree_on_one_vault() {
    for store in [FOLDER, BUCKET] {
        for round in 0..ROUNDS {
            let world = World::empty();
            let (laptop, desktop) = (world.laptop(), world.desktop());
            laptop.types("typed on the laptop");
            desktop.types("typed on the desktop");
            let running = [laptop, desktop].map(|device| device.init(store).start());
            for init in running {
                init.wait().ok();
            }
            for device in [laptop, desktop] {
                device.hx("sync push").run().ok();
            }
            laptop.hx("sync pull").run().ok();
            desktop.hx("sync pull").run().ok();
            assert_eq!(laptop.history(), desktop.history(), "{store} {round}");
            assert_eq!(laptop.history().len(), 2, "{store} {round}");
            laptop.hx("sync verify").run().ok().shows("Sound");
        }
    }
}
