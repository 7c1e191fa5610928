//! What is asked of a bucket beyond its objects: permissions, lifecycle rules, old versions.

use super::responder::{Reply, Responder};
use super::{bare, open, open_at, quick};
use crate::{PermissionOutcome, check_permissions};

const EMPTY_PAGE: &str =
    "<ListBucketResult><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>";

#[tokio::test]
async fn missing_permissions_are_told_apart() {
    let server = Responder::start(|asked, _| {
        match (asked.method.as_str(), asked.target.contains("list-type")) {
            ("PUT", _) => Reply::ok(""),
            ("GET", true) => Reply::ok(EMPTY_PAGE),
            ("GET", false) if asked.target.contains("location") => {
                Reply::error(501, "NotImplemented")
            }
            _ => Reply::error(403, "AccessDenied"),
        }
    })
    .await;
    let url = server.url("bucket").parse().expect("parses");
    let checks = check_permissions(&url, &quick(), &bare()).await;
    let outcomes: Vec<_> = checks
        .iter()
        .map(|check| (check.action, check.outcome))
        .collect();
    use PermissionOutcome as Outcome;
    let expected = [
        ("s3:GetObject", Outcome::Denied),
        ("s3:PutObject", Outcome::Allowed),
        ("s3:DeleteObject", Outcome::Denied),
        ("s3:ListBucket", Outcome::Allowed),
        ("s3:GetBucketLocation", Outcome::NotApplicable),
    ];
    assert_eq!(outcomes, expected);
}

#[tokio::test]
async fn rules_that_move_our_objects_away_are_found() {
    let body = r#"<LifecycleConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
        <Rule><ID>all</ID><Filter><Prefix></Prefix></Filter><Status>Enabled</Status>
          <Transition><Days>30</Days><StorageClass>STANDARD_IA</StorageClass></Transition>
          <Transition><Days>90</Days><StorageClass>GLACIER</StorageClass></Transition></Rule>
        <Rule><ID>other</ID><Filter><Prefix>logs/</Prefix></Filter><Status>Enabled</Status>
          <Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition></Rule>
        <Rule><ID>off</ID><Prefix>hx</Prefix><Status>Disabled</Status><Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition></Rule>
        <Rule><ID>ours</ID><Filter><And><Prefix>hx/</Prefix></And></Filter><Status>Enabled</Status>
          <Transition><Days>7</Days><StorageClass>DEEP_ARCHIVE</StorageClass></Transition></Rule>
    </LifecycleConfiguration>"#;
    let server = Responder::start(move |asked, _| {
        if asked.target.contains("lifecycle") {
            Reply::ok(body)
        } else {
            Reply::error(400, "Bad")
        }
    })
    .await;
    let store = open(
        &server.url("bucket").replace("bucket?", "bucket/hx?"),
        &quick(),
        &bare(),
    )
    .await
    .expect("opens");
    let rules = store.cold_storage_rules().await.expect("reads");
    let found: Vec<_> = rules
        .iter()
        .map(|rule| (rule.id.as_str(), rule.days, rule.storage_class.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            ("all", Some(90), "GLACIER"),
            ("ours", Some(7), "DEEP_ARCHIVE")
        ]
    );
    let none = Responder::start(|_, _| Reply::error(404, "NoSuchLifecycleConfiguration")).await;
    assert_eq!(
        open_at(&none)
            .await
            .cold_storage_rules()
            .await
            .expect("there are none"),
        []
    );
}

#[tokio::test]
async fn old_versions_are_counted_over_all_pages() {
    let server = Responder::start(|asked, _| {
        let version = |latest: bool| format!("<Version><Key>k</Key><VersionId>v</VersionId><IsLatest>{latest}</IsLatest></Version>");
        let marker = "<DeleteMarker><Key>k</Key><VersionId>d</VersionId><IsLatest>false</IsLatest></DeleteMarker>";
        let rest = match asked.target.contains("key-marker") {
            false => "<IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker><NextVersionIdMarker>v</NextVersionIdMarker>",
            true => "<IsTruncated>false</IsTruncated>",
        };
        Reply::ok(&format!("<ListVersionsResult><Name>b</Name>{rest}{}{}{marker}</ListVersionsResult>", version(true), version(false)))
    })
    .await;
    assert_eq!(
        open_at(&server)
            .await
            .old_versions("")
            .await
            .expect("counts"),
        4
    );
}
