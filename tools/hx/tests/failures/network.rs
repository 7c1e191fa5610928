//! "Connection refused", "timeout", "TLS handshake failed", names that do not resolve, and proxies in between.

use std::net::{Ipv4Addr, TcpListener};

use testkit::{Action, Rule, S3Options, S3Server, ScriptedProxy};

use crate::world::{BUCKET, World};

/// An address where nobody listens: the port was ours a moment ago.
fn nobody() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    format!("http://{}", listener.local_addr().expect("it is bound"))
}

#[test]
fn refused() {
    let world = World::on_s3();
    let laptop = world.laptop();
    let before = laptop.history();
    let endpoint = nobody();
    laptop
        .hx("sync push")
        .env("AWS_ENDPOINT_URL", &endpoint)
        .run()
        .fails(14)
        .says("hx sync push failed")
        .because("connection refused")
        .hints("endpoint");
    laptop
        .hx("sync push --json")
        .env("AWS_ENDPOINT_URL", &endpoint)
        .run()
        .fails_in_json(14, "connection");
    assert_eq!(laptop.history(), before);
    laptop
        .hx("find cargo")
        .run()
        .ok()
        .shows("cargo build --release");
    let shown = laptop
        .hx("sync status --verbose")
        .env("AWS_ENDPOINT_URL", &endpoint)
        .run();
    assert!(
        shown.out.contains("unreachable") && shown.out.contains("(connection)"),
        "{shown}"
    );
}

#[test]
fn refused_at_init() {
    let world = World::empty();
    let laptop = world.laptop();
    laptop
        .init("s3://bucket/hx?region=us-east-1&path_style=true")
        .env("AWS_ENDPOINT_URL", nobody())
        .run()
        .fails(14)
        .because("connection refused")
        .says("nothing was configured");
    assert!(laptop.configuration().is_empty());
    laptop.hx("sync push").run().fails(10);
}

#[test]
fn somebody_listens_and_never_answers() {
    let world = World::on_s3();
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let endpoint = format!("http://{}", silent.local_addr().expect("it is bound"));
    let laptop = world.laptop();
    let asked = |words: &str| {
        laptop
            .hx(words)
            .env("AWS_ENDPOINT_URL", &endpoint)
            .env("HX_SYNC_TIMEOUT", "200ms")
    };
    asked("sync push")
        .run()
        .fails(14)
        .because("timeout waiting for response")
        .hints("timeout")
        .within(15);
    asked("sync pull --json").run().fails_in_json(14, "timeout");
}

#[test]
fn the_total_time_is_bounded_too() {
    let world = World::on_s3();
    world.proxy().add(Rule::new(Action::Stall));
    world
        .laptop()
        .hx("sync pull")
        .env("HX_SYNC_MAX_RETRIES", "100")
        .env("HX_SYNC_TOTAL_TIMEOUT", "500ms")
        .run()
        .fails(14)
        .because("timeout")
        .within(15);
}

#[test]
fn a_connection_that_breaks_once_is_made_again() {
    let world = World::on_s3();
    world.proxy().add(Rule::new(Action::DropBefore).times(1));
    world.laptop().hx("sync pull").run().ok();
}

#[test]
fn a_server_that_fails_for_good() {
    let world = World::on_s3();
    world.proxy().add(Rule::s3_error(
        500,
        "InternalError",
        "We encountered an internal error.",
    ));
    world
        .laptop()
        .hx("sync pull")
        .run()
        .fails(14)
        .because("500")
        .hints("server");
    assert_eq!(
        world.proxy().requests().len(),
        2,
        "one retry, as HX_SYNC_MAX_RETRIES says"
    );
}

#[test]
fn a_name_that_does_not_resolve() {
    // A label this long is refused by the resolver itself, so nobody on the network is asked.
    let name = format!("http://{}.invalid", "a".repeat(70));
    let world = World::on_s3();
    world
        .laptop()
        .hx("sync pull")
        .env("AWS_ENDPOINT_URL", name)
        .run()
        .fails(14)
        .because("resolve")
        .hints("spelling");
}

#[test]
fn a_certificate_of_an_unknown_authority_and_both_variables_that_cure_it() {
    let world = World::on_s3();
    let tls = ScriptedProxy::with_tls(world.server().address());
    let laptop = world.laptop();
    let over_tls = |words: &str| laptop.hx(words).env("AWS_ENDPOINT_URL", tls.endpoint());
    over_tls("sync pull")
        .run()
        .fails(14)
        .because("TLS handshake failed")
        .because("certificate signed by unknown authority")
        .hints("AWS_CA_BUNDLE");
    over_tls("sync pull --json").run().fails_in_json(14, "tls");
    assert!(
        tls.requests().is_empty(),
        "nothing may be sent to a server that is not trusted"
    );
    for variable in ["AWS_CA_BUNDLE", "SSL_CERT_FILE"] {
        over_tls("sync pull")
            .env(variable, tls.ca_pem_path())
            .run()
            .ok();
    }
    over_tls("sync pull")
        .env("AWS_CA_BUNDLE", world.home().join("not-there.crt"))
        .run()
        .fails(14)
        .because("not-there.crt");
    assert_eq!(tls.requests().len(), 2);
}

#[test]
fn an_inspecting_proxy_in_front_of_aws_and_what_disable_ssl_means() {
    let world = World::empty();
    let host = "s3.us-east-1.amazonaws.com";
    let server = S3Server::with(S3Options {
        domain: Some(host.into()),
        ..S3Options::default()
    })
    .expect("a server");
    let proxy = ScriptedProxy::in_front_of(server.address());
    let laptop = world.laptop();
    let through = |name: &str| {
        let url = "s3://bucket/hx?region=us-east-1";
        laptop
            .init(url)
            .without(&["AWS_ENDPOINT_URL"])
            .env(name, proxy.endpoint())
    };
    through("HTTPS_PROXY")
        .run()
        .fails(14)
        .because("unknown authority")
        .hints("AWS_CA_BUNDLE");
    assert!(laptop.configuration().is_empty());
    through("HTTPS_PROXY")
        .env("AWS_CA_BUNDLE", proxy.ca_pem_path())
        .run()
        .ok();
    assert!(
        proxy
            .requests()
            .iter()
            .all(|seen| seen.host.starts_with("bucket.s3.us-east-1.amazonaws.com"))
    );
    proxy.forget_requests();
    laptop
        .hx("sync push")
        .without(&["AWS_ENDPOINT_URL"])
        .env("HTTP_PROXY", proxy.endpoint())
        .env("AWS_DISABLE_SSL", "true")
        .run()
        .ok();
    assert!(
        !proxy.requests().is_empty(),
        "plain HTTP went through the plain proxy"
    );
}

#[test]
fn a_proxy_that_is_down_and_no_proxy() {
    let world = World::on_s3();
    let laptop = world.laptop();
    let through = |words: &str| laptop.hx(words).env("HTTP_PROXY", nobody());
    through("sync pull")
        .run()
        .fails(14)
        .because("connection refused");
    through("sync pull")
        .env("NO_PROXY", "localhost,127.0.0.1")
        .run()
        .ok();
}

#[test]
fn the_certificate_is_checked_whatever_disable_ssl_says() {
    let world = World::empty();
    let tls = ScriptedProxy::with_tls(world.server().address());
    world
        .laptop()
        .init(BUCKET)
        .env("AWS_ENDPOINT_URL", tls.endpoint())
        .env("AWS_DISABLE_SSL", "true")
        .run()
        .fails(14)
        .because("unknown authority");
    assert!(tls.requests().is_empty());
}
