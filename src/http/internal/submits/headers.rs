//! The headers of a submit that an app may send.

use http::{HeaderMap, HeaderName};

use crate::domain::ids::is_reference;
use crate::http::internal::error::ApiError;

static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

static CLIENT_REFERENCE: HeaderName = HeaderName::from_static("x-client-reference");

/// Reads `Idempotency-Key`: one header of 16 to 96 of `[A-Za-z0-9._-]` (rule B10).
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let mut values = headers.get_all(&IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let key = value
        .to_str()
        .ok()
        .map(unquoted)
        .filter(|key| (16..=96).contains(&key.len()) && key.bytes().all(allowed));
    match (key, values.next()) {
        (Some(key), None) => Ok(Some(key)),
        _ => {
            let message = "`Idempotency-Key` must be one header of 16 to 96 of [A-Za-z0-9._-], with or without quotes";
            Err(ApiError::invalid("Idempotency-Key", message))
        }
    }
}

/// Reads `X-Client-Reference`: one header with what the app calls the task.
pub fn client_reference(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut values = headers.get_all(&CLIENT_REFERENCE).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let reference = std::str::from_utf8(value.as_bytes()).ok();
    match (reference.filter(|text| is_reference(text)), values.next()) {
        (Some(reference), None) => Ok(Some(reference.to_owned())),
        _ => {
            let message = "`X-Client-Reference` must be one header of 1 to 128 characters, none of them a control character";
            Err(ApiError::invalid("X-Client-Reference", message))
        }
    }
}

/// The IETF's draft of the header has the key in quotes. Both forms are the same key.
fn unquoted(key: &str) -> &str {
    let inside = key.strip_prefix('"').and_then(|key| key.strip_suffix('"'));
    inside.unwrap_or(key)
}
