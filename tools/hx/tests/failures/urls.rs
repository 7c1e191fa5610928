//! Store URLs that are wrong: cut by the shell, misspelt, of a kind nobody knows.

use crate::world::World;

/// The guide's line as a person types it into a shell, without quotes.
const UNQUOTED: &str = "hx sync init --store s3://hx-sync?endpoint=localhost:9000&path_style=true&access_key=minioadmin&secret_key=minioadmin";

#[test]
fn cut_at_an_unquoted_ampersand() {
    let world = World::empty();
    let laptop = world.laptop();
    let keys = [
        "AWS_ENDPOINT_URL",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
    ];
    let line = format!("{UNQUOTED}\nwait %1; echo \"ended with $?\"");
    laptop
        .shell(&line)
        .without(&keys)
        .run()
        .ok()
        .shows("ended with 2")
        .says("cut at its `&`")
        .says("hint: Quote it: hx sync init --store \"s3://hx-sync?endpoint=localhost:9000&path_style=true")
        .within(10);
    // The same with keys and a passphrase at hand: what was meant is still not what arrived.
    laptop
        .shell(&line)
        .env("HX_SYNC_PASSPHRASE", crate::world::PASSPHRASE)
        .run()
        .ok()
        .shows("ended with 2");
    assert!(world.proxy().requests().is_empty());
    assert!(laptop.configuration().is_empty());
}

#[test]
fn an_endpoint_alone_is_a_whole_url() {
    let world = World::empty();
    let laptop = world.laptop();
    let url = format!("s3://hx-test/hx?endpoint={}", world.proxy().address());
    let keys = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
    // Without keys it is the keys that are missing.
    laptop
        .init(&url)
        .without(&keys)
        .arg("--json")
        .run()
        .fails_in_json(13, "credentials");
    // Nor does it say anything that a whole script runs in the background, or that it was said that nothing is missing.
    for line in [
        format!("sh -c 'hx sync init --store \"{url}\"; echo \"ended with $?\"' & wait"),
        format!("(hx sync init --store '{url}'; echo \"ended with $?\") & wait"),
        format!("hx sync init --whole-url --store '{url}' & wait %1; echo \"ended with $?\""),
    ] {
        laptop
            .shell(&line)
            .without(&keys)
            .run()
            .ok()
            .shows("ended with 13");
    }
}

#[test]
fn a_parameter_that_is_misspelt() {
    let world = World::empty();
    let laptop = world.laptop();
    for (url, nearest) in [
        ("s3://bucket/hx?regoin=us-west-2", "region"),
        ("s3://bucket/hx?endpont=localhost:9000&region=x", "endpoint"),
        ("s3://bucket/hx?path-style=true", "path_style"),
        ("s3://bucket/hx?acces_key=a&secret_key=b", "access_key"),
    ] {
        let run = laptop.init(url).run().fails(2);
        assert!(run.err.contains(nearest), "{run}");
    }
    assert!(laptop.configuration().is_empty());
}

#[test]
fn values_and_kinds_that_cannot_be() {
    let world = World::empty();
    let laptop = world.laptop();
    for (url, named) in [
        ("s3://bucket/hx?path_style=perhaps", "path_style"),
        ("s4://bucket/hx", "s4"),
        ("s3://", "bucket"),
        ("s3://bucket/hx?access_key=AKIA", "secret_key"),
        ("ftp://host/folder", "ftp"),
        ("", "store"),
    ] {
        let run = laptop.init(url).run().fails(2);
        assert!(run.err.contains(named), "{url}: {run}");
    }
    laptop.init("gs://bucket/hx").run().fails(2).hints("s3://");
    assert!(laptop.configuration().is_empty());
    assert!(world.proxy().requests().is_empty());
}

#[test]
fn a_url_with_a_secret_is_masked_in_every_message() {
    let world = World::empty();
    let secret = testkit::s3::SECRET_KEY;
    let laptop = world.laptop();
    // Every run checks that no secret is printed.
    let url =
        format!("s3://no-such-bucket/hx?region=us-east-1&access_key=AKIAX&secret_key={secret}");
    laptop.init(&url).run().fails(13);
    laptop.init(&format!("{url}&regoin=x")).run().fails(2);
    // One that was pasted without its name, or has an `&` in it, or comes after one in place of the `?`.
    for url in [
        format!("s3://bucket/hx?{secret}"),
        format!("s3://bucket/hx?region=us-east-1&{secret}"),
        format!("{url}&{secret}"),
        format!("{url}&{secret}=="),
        format!("s3://bucket/hx&region=us-east-1&access_key=AKIAX&secret_key={secret}"),
    ] {
        laptop.init(&url).run().fails(2);
        laptop
            .hx("config validate")
            .env("HX_SYNC_STORE", &url)
            .run();
    }
    laptop
        .hx("sync diagnose")
        .env("HX_SYNC_STORE", &url)
        .run()
        .shows("s3://no-such-bucket");
    laptop
        .hx("config show")
        .env("HX_SYNC_STORE", &url)
        .run()
        .ok();
    laptop
        .hx("config validate")
        .env("HX_SYNC_STORE", &url)
        .run()
        .ok();
}
