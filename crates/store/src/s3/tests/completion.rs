//! What becomes of an upload in parts whose completion takes long, or whose answer is lost.

use super::{bare, chain, open, quick};
use crate::{Attributes, ErrorKind, Multipart, Store, StoreError, Tuning};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use testkit::proxy::http::Message;
use testkit::proxy::s3_error;
use testkit::{Action, Gate, Rule, S3Server, ScriptedProxy};

/// An upload of one part, through a proxy to a real server.
struct World {
    server: S3Server,
    proxy: ScriptedProxy,
    store: Store,
    upload: Multipart,
}

impl World {
    async fn with(tuning: Tuning) -> World {
        let server = S3Server::start();
        let proxy = ScriptedProxy::in_front_of(server.address());
        let store = open(&proxy.store_url("bucket", "p"), &tuning, &bare()).await;
        let store = store.expect("opens");
        let upload = store.multipart("large", &Attributes::default()).await;
        let upload = upload.expect("begins");
        let part = upload.put_part(0, Bytes::from_static(b"part"), None).await;
        part.expect("is sent");
        proxy.forget_requests();
        World {
            server,
            proxy,
            store,
            upload,
        }
    }

    /// One whose server may take no longer than a moment for anything.
    async fn hasty() -> World {
        World::with(hasty()).await
    }

    fn script(&self, action: Action) -> Rule {
        Rule::new(action).method("POST").target("uploadId=")
    }

    fn asked(&self) -> usize {
        let seen = self.proxy.requests();
        let asked = seen.iter().filter(|seen| seen.method == "POST");
        asked.count()
    }

    fn is_there(&self) -> bool {
        self.server.root().join("bucket/p/large").exists()
    }

    async fn fails(&self) -> StoreError {
        self.upload.complete().await.expect_err("it is not there")
    }
}

fn hasty() -> Tuning {
    Tuning {
        complete_timeout: Duration::from_secs(1),
        ..quick()
    }
}

fn no_such_upload() -> Action {
    Action::Respond(s3_error(
        404,
        "NoSuchUpload",
        "The specified upload does not exist.",
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_may_take_longer_for_it_than_for_anything_else() {
    let patient = Tuning {
        complete_timeout: Duration::from_secs(60),
        max_retries: 1,
        ..quick()
    };
    let world = World::with(patient).await;
    let gate = Gate::closed();
    world.proxy.add(world.script(Action::Late(gate.clone())));
    world.proxy.add(Rule::new(Action::Stall).target("silent"));
    let others = async {
        // Each of its attempts lasts as long as any other request may, and both began after the completion.
        let error = world.store.get("silent").await.expect_err("stalls");
        assert_eq!(error.kind(), ErrorKind::Timeout);
        gate.open();
    };
    let (completed, ()) = tokio::join!(world.upload.complete(), others);
    let written = completed.expect("is waited for");
    assert!(!written.in_doubt && world.is_there());
    assert_eq!(world.asked(), 1, "{:?}", world.proxy.requests());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_was_made_is_found_when_the_answer_is_lost() {
    let lost = [Action::Late(Gate::closed()), Action::DropAfter];
    let mut garbage = Message::answer(200, "text/html", "<html>please log in</html>");
    garbage.set_header("connection", "keep-alive");
    let edit = move |answer: &mut Message| *answer = garbage.clone();
    for action in lost.into_iter().chain([Action::Edit(Arc::new(edit))]) {
        let name = format!("{action:?}");
        let world = World::hasty().await;
        world.proxy.add(world.script(action).times(1));
        let written = world.upload.complete().await;
        let written = written.unwrap_or_else(|error| panic!("{name}: {}", chain(&error)));
        assert!(written.in_doubt && world.is_there(), "{name}");
        assert_eq!(world.asked(), 1, "it is looked for first: {name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_after_a_lost_answer_is_no_verdict_while_the_server_may_be_at_work() {
    for refusal in [
        no_such_upload(),
        Action::Respond(s3_error(403, "AccessDenied", "no")),
    ] {
        let world = World::with(Tuning {
            complete_timeout: Duration::from_secs(30),
            ..quick()
        })
        .await;
        // A proxy loses patience; the server goes on, forgets the upload, and is done after the third look.
        let gone = s3_error(504, "GatewayTimeout", "the server takes too long");
        world
            .proxy
            .add(world.script(Action::Respond(gone)).times(1));
        world.proxy.add(world.script(refusal));
        let target = world.server.root().join("bucket/p/large");
        let done = move |_: &mut Message| {
            std::fs::create_dir_all(target.parent().expect("a folder")).expect("is made");
            std::fs::write(&target, "part").expect("is made");
        };
        let looks = Rule::new(Action::Edit(Arc::new(done))).method("HEAD");
        world.proxy.add(looks.skip(2).times(1));
        let written = world.upload.complete().await.expect("is there in the end");
        assert!(written.in_doubt);
        assert_eq!(world.asked(), 2, "who refuses is not asked again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_appears_is_a_timeout_and_not_what_the_repetition_was_answered() {
    let world = World::hasty().await;
    let late = s3_error(504, "GatewayTimeout", "the server takes too long");
    world
        .proxy
        .add(world.script(Action::Respond(late)).times(1));
    world.proxy.add(world.script(no_such_upload()));
    let error = world.fails().await;
    assert_eq!(error.kind(), ErrorKind::Timeout, "{}", chain(&error));
    assert!(error.to_string().contains("did not say"), "{error}");
    assert!(error.remedy().contains("load balancer"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_another_length_is_not_taken_for_it() {
    let world = World::hasty().await;
    let older = world.store.put("large", Bytes::from_static(b"older")).await;
    older.expect("puts");
    world.proxy.forget_requests();
    world.proxy.add(world.script(Action::DropBefore).times(1));
    world.proxy.add(world.script(no_such_upload()));
    let error = world.fails().await;
    assert_eq!(error.kind(), ErrorKind::Connection, "{}", chain(&error));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_at_once_is_one() {
    let world = World::hasty().await;
    let refusal = Action::Respond(s3_error(403, "AccessDenied", "no"));
    world.proxy.add(world.script(refusal));
    let error = world.fails().await;
    assert_eq!(error.kind(), ErrorKind::Permission, "{}", chain(&error));
    assert_eq!(world.proxy.requests().len(), 1, "and nobody looks");
    world.proxy.clear();
    world
        .proxy
        .add(world.script(Action::Respond(s3_error(503, "SlowDown", "slower"))));
    let error = world.fails().await;
    assert_eq!(error.kind(), ErrorKind::Throttled, "{}", chain(&error));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_kept_alive_by_blanks_is_one() {
    let head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
    let blanks = " \n".repeat(5000);
    let made = "<CompleteMultipartUploadResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><ETag>\"1\"</ETag></CompleteMultipartUploadResult>";
    let failed = "<Error><Code>InternalError</Code><Message>no</Message></Error>";
    let world = World::hasty().await;
    for body in [failed, made] {
        let answer = Message::answer(200, "application/xml", format!("{head}{blanks}{body}"));
        world
            .proxy
            .add(world.script(Action::Respond(answer)).times(1));
    }
    let written = world.upload.complete().await.expect("the second is good");
    assert_eq!(written.e_tag.as_deref(), Some("\"1\""));
    assert_eq!(world.asked(), 2);
}
