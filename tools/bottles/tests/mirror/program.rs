//! The real program as a process, in an environment of its own.

use crate::world::World;
use assert_cmd::Command;

/// The program with a home and nothing else.
pub fn program(world: &World) -> Command {
    let mut command = Command::cargo_bin("homebrew-sync").expect("it is built");
    command
        .env_clear()
        .env("HOME", world.state.path())
        .env("PATH", "/usr/bin:/bin");
    command
}

/// Runs it to its end: the code, and what it said on stdout and stderr.
pub async fn run(command: Command) -> (i32, String, String) {
    let mut command = command;
    let output = tokio::task::spawn_blocking(move || command.output().expect("it runs"))
        .await
        .expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().unwrap_or(-1),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// A sync of the sample into a folder of the world.
pub fn sync(world: &World, arguments: &[&str]) -> Command {
    let mut command = program(world);
    let mirror = world.state.path().join("mirror");
    std::fs::create_dir_all(&mirror).expect("a directory");
    let key = world.state.path().join("key.pem");
    std::fs::write(&key, bottles::sample::PUBLIC_KEY).expect("a file");
    command
        .env("HOMEBREW_SYNC_STORE", mirror)
        .env("HOMEBREW_SYNC_API_KEY", key)
        .env("HOMEBREW_SYNC_API", world.server.api())
        .env("HOMEBREW_SYNC_REGISTRY", world.server.registry())
        .arg("sync")
        .args(arguments);
    command
}
