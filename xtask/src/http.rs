//! Requests to the local S3 server of the guides, without a client library.
//!
//! Moto wants a signature and does not look at it, so a fixed one does. Only the set-ups use this,
//! to make buckets and to break what lies in them; what is tested goes through `hx`.

use crate::run::Outcome;
use std::io::{Read, Write};
use std::net::TcpStream;

const UNCHECKED: &str = "AWS4-HMAC-SHA256 Credential=AKIAGUIDESGUIDES0000/20260101/us-east-1/s3/aws4_request, \
                         SignedHeaders=host, Signature=0";

/// Sends one request and returns the status and the body.
pub(crate) fn ask(
    address: &str,
    method: &str,
    target: &str,
    body: &[u8],
) -> Outcome<(u16, Vec<u8>)> {
    let run = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(address)?;
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {address}\r\nAuthorization: {UNCHECKED}\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    };
    let answer = run().map_err(|error| format!("{method} {target} at {address}: {error}"))?;
    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .ok_or("an answer without a head")?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or("an answer without a status")?;
    Ok((status, answer[end + 4..].to_vec()))
}

/// The keys of a bucket that begin with a prefix.
pub(crate) fn keys(address: &str, bucket: &str, prefix: &str) -> Outcome<Vec<String>> {
    let (status, body) = ask(
        address,
        "GET",
        &format!("/{bucket}?list-type=2&prefix={prefix}"),
        b"",
    )?;
    if status != 200 {
        return Err(format!("listing {bucket} gives {status}"));
    }
    let text = String::from_utf8_lossy(&body).into_owned();
    let keys = text
        .split("<Key>")
        .skip(1)
        .filter_map(|rest| rest.split("</Key>").next());
    Ok(keys.map(str::to_owned).collect())
}

/// `xtask s3 ADDRESS list|get|put|delete BUCKET [KEY-OR-PREFIX]`, for shell scripts; `put` reads its input.
pub(crate) fn s3_tool(args: &[String]) -> Outcome {
    let [address, verb, bucket, rest @ ..] = args else {
        return Err("usage: xtask s3 ADDRESS list|get|put|delete BUCKET [KEY]".into());
    };
    let key = rest.first().map_or("", String::as_str);
    let target = format!("/{bucket}/{key}");
    let answer = match verb.as_str() {
        "list" => {
            keys(address, bucket, key)?
                .iter()
                .for_each(|key| println!("{key}"));
            return Ok(());
        }
        "get" => ask(address, "GET", &target, b"")?,
        "delete" => ask(address, "DELETE", &target, b"")?,
        "put" => {
            let mut body = Vec::new();
            std::io::stdin()
                .read_to_end(&mut body)
                .map_err(|error| format!("standard input: {error}"))?;
            ask(address, "PUT", &target, &body)?
        }
        _ => return Err(format!("{verb} is unknown")),
    };
    if !(200..300).contains(&answer.0) {
        return Err(format!("{verb} {target} gives {}", answer.0));
    }
    std::io::stdout()
        .write_all(&answer.1)
        .map_err(|error| format!("standard output: {error}"))
}
