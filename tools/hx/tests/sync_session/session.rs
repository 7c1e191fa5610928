//! The guide's session from the first import to the last check, on whatever store.

use crate::world::World;

/// Import, init, push; init on the second, pull, find; forget there, and it is gone here.
pub(crate) fn whole_session(world: &World, url: &str) {
    let (laptop, desktop) = (world.laptop(), world.desktop());
    let file = world.file(
        "history",
        ": 1700000000:0;docker run -it nginx\n: 1700000009:0;export TOKEN=hunter2\n",
    );
    laptop.hx("import --file").arg(&file).run().ok();
    let created = laptop
        .init(url)
        .run()
        .ok()
        .shows("Created vault")
        .says("Recovery phrase");
    assert_eq!(words(&created.err).len(), 24, "{created}");
    laptop.hx("sync status").run().ok().shows("2 records");
    laptop.hx("sync push").run().ok().shows("Pushed 2 records");
    laptop.hx("sync push").run().ok().shows("Nothing to push");

    let joined = desktop.init(url).run().ok().shows("Joined vault");
    assert!(!joined.err.contains("Recovery phrase"), "{joined}");
    desktop.hx("sync pull").run().ok().shows("Pulled 2 records");
    desktop
        .hx("find")
        .arg("docker run")
        .run()
        .ok()
        .shows("docker run -it nginx");
    assert_eq!(desktop.history(), laptop.history());

    desktop.hx("forget --match hunter2 --yes").run().ok();
    desktop.hx("sync push").run().ok();
    laptop.hx("sync pull").run().ok();
    assert_eq!(laptop.hx("find hunter2").run().code, Some(1));
    assert!(!laptop.has("export TOKEN=hunter2"));
    laptop.hx("sync push").run().ok();
    // Importing the same file again must not bring it back, nor may a full pull.
    laptop.hx("import --file").arg(&file).run().ok();
    desktop.hx("sync pull --full").run().ok();
    for device in [laptop, desktop] {
        assert!(!device.has("export TOKEN=hunter2") && device.has("docker run -it nginx"));
        device.hx("sync verify").run().ok().shows("Sound");
        device
            .hx("sync status --detailed")
            .run()
            .ok()
            .shows("nothing new");
    }
    desktop.hx("sync devices").run().ok().shows("laptop");
}

/// The words of the recovery phrase, which stand indented and alone.
pub(crate) fn words(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| line.starts_with("    "));
    lines
        .flat_map(str::split_whitespace)
        .map(str::to_owned)
        .collect()
}
