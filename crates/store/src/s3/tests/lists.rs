//! Listings and deletions that say success and mean something else.

use super::responder::{Reply, Responder};
use super::{chain, open_at};
use crate::ErrorKind;
use bytes::Bytes;

#[tokio::test]
async fn a_listing_that_fails_or_lies_is_never_empty() {
    let page =
        |keys: &str, rest: &str| format!("<ListBucketResult>{keys}{rest}</ListBucketResult>");
    let contents = "<Contents><Key>a</Key><Size>1</Size><LastModified>2026-11-20T12:00:00.000Z</LastModified><ETag>e</ETag></Contents>";
    let cases = [
        (
            200,
            "<Error><Code>AccessDenied</Code><Message>m</Message></Error>".to_owned(),
            ErrorKind::Permission,
        ),
        (
            200,
            "<Error><Code>SlowDown</Code><Message>m</Message></Error>".to_owned(),
            ErrorKind::Throttled,
        ),
        (
            200,
            "<Error><Code>InternalError</Code><Message>m</Message></Error>".to_owned(),
            ErrorKind::Connection,
        ),
        (200, String::new(), ErrorKind::Corrupt),
        (
            200,
            "<html><body>Please log in</body></html>".to_owned(),
            ErrorKind::Corrupt,
        ),
        (
            200,
            page(contents, "").replace("</ListBucketResult>", ""),
            ErrorKind::Corrupt,
        ),
        (
            200,
            page(contents, "<IsTruncated>true</IsTruncated>"),
            ErrorKind::Corrupt,
        ),
        (
            200,
            page(contents, "<KeyCount>2</KeyCount>"),
            ErrorKind::Corrupt,
        ),
        (
            404,
            "<Error><Code>NoSuchBucket</Code></Error>".to_owned(),
            ErrorKind::NoBucket,
        ),
        (404, String::new(), ErrorKind::NoBucket),
    ];
    for (status, body, kind) in cases {
        let told = body.clone();
        let server =
            Responder::start(move |_, _| Reply::Answer(status, vec![], told.clone().into_bytes()))
                .await;
        let error = open_at(&server).await.list("").await.expect_err(&body);
        assert_eq!(error.kind(), kind, "{body}: {}", chain(&error));
    }
}

#[tokio::test]
async fn a_later_page_that_fails_fails_the_listing() {
    let contents = "<Contents><Key>a</Key><Size>1</Size><LastModified>2026-11-20T12:00:00.000Z</LastModified><ETag>e</ETag></Contents>";
    let first = format!(
        "<ListBucketResult>{contents}<IsTruncated>true</IsTruncated><NextContinuationToken>n</NextContinuationToken></ListBucketResult>"
    );
    let server =
        Responder::start(
            move |asked, _| match asked.target.contains("continuation-token") {
                false => Reply::ok(&first),
                true => Reply::error(403, "AccessDenied"),
            },
        )
        .await;
    let error = open_at(&server)
        .await
        .list("")
        .await
        .expect_err("the second page fails");
    assert_eq!(error.kind(), ErrorKind::Permission);
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn a_bulk_delete_that_leaves_objects_behind_fails() {
    let body = "<DeleteResult><Deleted><Key>a</Key></Deleted><Error><Key>b</Key><Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>";
    let server = Responder::start(move |_, _| Reply::ok(body)).await;
    let store = open_at(&server).await;
    let error = store
        .delete(&["a".into(), "b".into()])
        .await
        .expect_err("b is still there");
    assert_eq!(error.kind(), ErrorKind::Permission, "{}", chain(&error));
    assert_eq!(store.usage().requests(), 1);
    let server = Responder::start(|_, _| Reply::error(200, "AccessDenied")).await;
    let error = open_at(&server)
        .await
        .delete(&["a".into()])
        .await
        .expect_err("an error in a 200");
    assert_eq!(error.kind(), ErrorKind::Permission, "{}", chain(&error));
}

#[tokio::test]
async fn where_bulk_delete_is_missing_objects_go_one_by_one() {
    let server = Responder::start(|asked, _| {
        if asked.method == "POST" {
            Reply::error(501, "NotImplemented")
        } else {
            Reply::Answer(204, vec![], vec![])
        }
    })
    .await;
    let store = open_at(&server).await;
    store
        .delete(&["a".into(), "b".into()])
        .await
        .expect("deletes");
    let methods: Vec<String> = server
        .asked()
        .into_iter()
        .map(|asked| asked.method)
        .collect();
    assert_eq!(methods, ["POST", "DELETE", "DELETE"]);
}

#[tokio::test]
async fn a_success_that_carries_an_error_is_no_success() {
    let server =
        Responder::start(|_, _| Reply::error(200, "AccessDenied").with("ETag: \"1\"")).await;
    let error = open_at(&server)
        .await
        .put("key", Bytes::from_static(b"x"))
        .await
        .expect_err("an error in a 200");
    assert_eq!(error.kind(), ErrorKind::Permission, "{}", chain(&error));
}
