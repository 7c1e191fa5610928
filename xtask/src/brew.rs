//! `cargo xtask brew --checkout DIR`: the real client installs from a mirror, as an ordinary user, in a network namespace that has
//! loopback and nothing else.
//!
//! What must hold: the client is the checkout's own code; only its public key is another one, because the sample upstream cannot sign
//! with Homebrew's. With `--record FILE` it writes down what the client asks, literally: `tools/bottles/tests/mirror/requests.jsonl` was
//! made so, and tests replay it where no client is. What a case expects is looked for in what the client did, not in what it said, where that can be.
//!
//! It deliberately changes nothing in the checkout: it works on a copy.

mod recorder;
mod site;

use crate::guides::world;
use crate::packages;
use crate::run::{self, Outcome};
use crate::{http, tools};
use recorder::Recorder;
use site::{Mirror, Server, Site};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// `nobody`: brew refuses to run as root.
const USER: &str = "65534";

/// The word by which this program calls itself inside of the namespace.
const INSIDE: &str = "--inside";

/// Runs all cases.
pub(crate) fn run(args: &[String]) -> Outcome {
    match args {
        [flag, dir] if flag == "--checkout" => prepare(Path::new(dir), None),
        [flag, dir, record, file] if flag == "--checkout" && record == "--record" => {
            prepare(Path::new(dir), Some(Path::new(file)))
        }
        [flag, scratch] if flag == INSIDE => cases(Path::new(scratch)),
        _ => Err("say where the client is: cargo xtask brew --checkout DIR [--record FILE] (a checkout of Homebrew/brew, of a version that the Ruby here is right for: 4.3.0 for 3.1, 4.4.0 for 3.3, 5.0.0 for 3.4)".to_owned()),
    }
}

fn prepare(checkout: &Path, record: Option<&Path>) -> Outcome {
    if !checkout.join("Library/Homebrew/brew.sh").is_file() {
        return Err(format!(
            "{} is no checkout of Homebrew/brew",
            checkout.display()
        ));
    }
    if !packages::works(Command::new("ruby").arg("--version")) {
        packages::install("Ruby", [&["ruby"]; 4])?;
    }
    // Here is the network that it may have to be installed from.
    tools::moto()?;
    run::command("cargo", &["build", "-p", "bottles"])?;
    let scratch = tempfile::tempdir().map_err(|error| format!("no scratch directory: {error}"))?;
    let place = scratch.path();
    run::status(
        Command::new("cp")
            .arg("-a")
            .arg(checkout)
            .arg(place.join("brew")),
    )?;
    let program = run::target_dir()?.join("debug/homebrew-sync");
    fs::copy(&program, place.join("homebrew-sync"))
        .map_err(|error| format!("{}: {error}", program.display()))?;
    fs::create_dir(place.join("home")).map_err(|error| error.to_string())?;
    let key = run::root().join("tools/bottles/src/sample/public.pem");
    fs::copy(&key, place.join("brew/Library/Homebrew/api/homebrew-1.pem"))
        .map_err(|error| format!("{}: {error}", key.display()))?;
    run::status(
        Command::new("chown")
            .arg("-R")
            .arg(USER)
            .args([place.join("brew"), place.join("home")]),
    )?;
    run::status(Command::new("chmod").arg("755").arg(place))?;
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    run::status(
        Command::new("unshare")
            .args(["--net", "--pid", "--fork", "--kill-child"])
            .arg(own)
            .args(["brew", INSIDE])
            .arg(place),
    )?;
    let Some(file) = record else {
        return Ok(());
    };
    fs::copy(place.join(REQUESTS), file)
        .map(drop)
        .map_err(|error| format!("{}: {error}", file.display()))
}

fn cases(scratch: &Path) -> Outcome {
    run::status(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    let mirror = Mirror::in_folder(scratch)?;
    mirror.sync(&["--formula", "wget", "--formula", "gtk+"], false)?;
    let server = mirror.serve()?;
    let mut site = Site::new(&mirror, server.url())?;
    installs(&mut site, "")?;

    let (is_ok, text) = site.brew(&["install", "tree"])?;
    let misses = run::output(&mut mirror.tool(&["misses"]))?;
    site.expect(
        "a formula that is not mirrored fails, and is among the misses",
        !is_ok && !site.keg("tree/2.1.1") && misses.contains("/tree/"),
        &format!("{text}\n{misses}"),
    );
    generations(&mut site)?;
    recorded(&mut site, &server.url(), scratch)?;
    drop(server);
    elsewhere(&mut site, scratch)?;

    site.forget(INSTALLED)?;
    let touched = mirror.tamper("wget")?;
    let server = mirror.serve()?;
    site.turn_to(&mirror, server.url(), &[])?;
    let (is_ok, text) = site.brew(&["install", "wget"])?;
    site.expect(
        "a bottle that was tampered with is refused",
        touched == 1 && !is_ok && !site.keg("wget/1.24.5"),
        &text,
    );
    site.end()
}

/// All that `installs` brings.
const INSTALLED: &[&str] = &[
    "wget",
    "openssl@3",
    "ca-certificates",
    "gtk+",
    "jq",
    "oniguruma",
];

/// What must install from any mirror that holds the sample, however it is served.
fn installs(site: &mut Site, how: &str) -> Outcome {
    let (is_ok, text) = site.brew(&["install", "wget"])?;
    site.expect(
        &format!("a formula with dependencies, one of them with @ in its name{how}"),
        is_ok
            && site.runs("wget", "1.24.5")
            && site.keg("openssl@3/3.3.0")
            && site.keg("ca-certificates/2024-03-11"),
        &text,
    );
    let (is_ok, text) = site.brew(&["install", "gtk+"])?;
    site.expect(
        &format!("a name with +, a revision, a dependency with a rebuild{how}"),
        is_ok && site.keg("gtk+/2.24.33_1") && site.keg("oniguruma/6.9.9"),
        &text,
    );
    Ok(())
}

/// Where what the client asked is written down, below the scratch directory.
const REQUESTS: &str = "requests.jsonl";

/// What the client asks in the registry's layout, when its API is old, and in the flat layout.
fn recorded(site: &mut Site, url: &str, scratch: &Path) -> Outcome {
    let recorder = Recorder::in_front_of(url)?;
    let folder = site.mirror.clone();
    site.turn_to(&folder, recorder.url(), INSTALLED)?;
    // Its key is another one, and it says so.
    let client = site.version().trim_end_matches("-dirty").to_owned();
    let mut lines = Vec::new();
    let (is_ok, text) = site.brew(&["install", "wget", "gtk+"])?;
    lines.extend(recorder.take(&client, "registry"));
    site.expect("while what it asks is written down", is_ok, &text);
    site.forget(INSTALLED)?;
    site.age_api()?;
    recorder.take(&client, "");
    let (is_ok, text) = site.brew(&["install", "wget"])?;
    lines.extend(recorder.take(&client, "old API"));
    site.expect("the same with an API that has grown old", is_ok, &text);
    site.forget(INSTALLED)?;
    recorder.take(&client, "");
    let flat = format!("{}/flat", recorder.url());
    let (is_ok, text) = site.brew_with(
        &["install", "wget", "gtk+"],
        &[("HOMEBREW_BOTTLE_DOMAIN", flat)],
    )?;
    lines.extend(recorder.take(&client, "flat"));
    site.expect("the same in the flat layout", is_ok, &text);
    fs::write(scratch.join(REQUESTS), lines.join("\n") + "\n")
        .map_err(|error| error.to_string())?;
    site.turn_to(&folder, url.to_owned(), INSTALLED)
}

/// The same from a web server that knows nothing of mirrors, and from a bucket.
fn elsewhere(site: &mut Site, scratch: &Path) -> Outcome {
    let python = tools::moto()?;
    let folder = site.mirror.clone();
    let mut plain = Command::new(&python);
    let serving = ["-u", "-m", "http.server", "--bind", "127.0.0.1", "0"];
    plain
        .args(serving)
        .current_dir(scratch.join("mirror"))
        .stderr(Stdio::null());
    let plain = site::start(plain)?;
    // "Serving HTTP on 127.0.0.1 port 8000 (http://127.0.0.1:8000/) ..."
    let url = plain.1.split(['(', ')']).nth(1).unwrap_or_default();
    site.turn_to(&folder, url.trim_end_matches('/').to_owned(), INSTALLED)?;
    installs(site, ", from a plain web server")?;
    drop(plain);

    let mut moto = Command::new(python);
    moto.arg("-u")
        .arg(run::root().join("crates/testkit/src/start_moto.py"))
        .stderr(Stdio::piped());
    let (moto, line) = world::start(moto, " * Running on http://")?;
    let moto = Server(moto, line);
    let address = moto.1.trim_end_matches('/');
    let (status, _) = http::ask(address, "PUT", "/bottles", b"")?;
    if status != 200 {
        return Err(format!("making a bucket gives {status}"));
    }
    let bucket = Mirror::in_bucket(scratch, address);
    bucket.sync(&["--formula", "wget", "--formula", "gtk+"], false)?;
    let server = bucket.serve()?;
    site.turn_to(&bucket, server.url(), INSTALLED)?;
    installs(site, ", from a bucket")
}

/// The mirror goes on to another generation, and back.
fn generations(site: &mut Site) -> Outcome {
    // The client reads the API when it begins; by the time that it fetches, the mirror is a generation on.
    site.forget(&["gtk+", "jq", "oniguruma"])?;
    site.mirror.sync(&[], true)?;
    let (is_ok, text) = site.brew(&["install", "jq"])?;
    site.expect(
        "a client that holds the old API installs the old bottle from the new generation",
        is_ok && site.keg("jq/1.7.1"),
        &text,
    );
    site.forget(&["jq", "oniguruma"])?;
    site.age_api()?;
    let (is_ok, text) = site.brew(&["install", "jq"])?;
    site.expect(
        "a client whose API has grown old refreshes it by itself and installs the new bottle",
        is_ok && site.keg("jq/1.8.0"),
        &text,
    );

    site.forget(&["jq", "oniguruma"])?;
    run::output(&mut site.mirror.tool(&["rollback"]))?;
    site.wait_for_generation(1)?;
    site.age_api()?;
    let (is_ok, text) = site.brew(&["install", "jq"])?;
    site.expect(
        "after a rollback a client installs what was before",
        is_ok && site.keg("jq/1.7.1"),
        &text,
    );
    Ok(())
}
