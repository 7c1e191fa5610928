//! The one JSON document that a command writes with `--json`.
//!
//! What must hold: whatever a command gives, and however it fails, the bytes are one valid document.
//!
//! It deliberately keeps the result as bytes: a search of a million hits need not be a tree in memory as well.

use serde_json::{Map, Value};

use crate::failure::Failure;

/// What was given before, with what is given now.
pub(super) fn joined(before: Option<Vec<u8>>, now: Vec<u8>) -> Vec<u8> {
    let Some(before) = before else { return now };
    match (object(&before), object(&now)) {
        (Some(mut all), Some(more)) => {
            all.extend(more);
            pretty(&Value::Object(all))
        }
        _ => now,
    }
}

/// The result with the failure beside it, under `error`.
pub(super) fn with_failure(result: Option<Vec<u8>>, failure: &Failure) -> Vec<u8> {
    let mut all = match result {
        None => Map::new(),
        Some(bytes) => object(&bytes).unwrap_or_else(|| {
            let value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
            Map::from_iter([("result".to_owned(), value)])
        }),
    };
    if let Value::Object(error) = failure.to_json() {
        all.extend(error);
    }
    pretty(&Value::Object(all))
}

fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(bytes).ok()
}

fn pretty(value: &Value) -> Vec<u8> {
    format!("{value:#}").into_bytes()
}
