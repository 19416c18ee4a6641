//! Query parameters that several lists share (rule B13). Each list parses its own query, parameter
//! by parameter, so the answer names the first bad one.

use std::borrow::Cow;
use std::collections::HashSet;

use super::error::ApiError;

/// The decoded name and value of a parameter.
type Parameter<'a> = (Cow<'a, str>, Cow<'a, str>);

/// The parameters of a query, in order. Those whose names are in `lists` may be repeated.
///
/// # Errors
/// 400 if another parameter is repeated: it is not clear which of its values counts.
pub fn parameters<'a>(query: &'a str, lists: &[&str]) -> Result<Vec<Parameter<'a>>, ApiError> {
    let mut seen = HashSet::new();
    let parameters = url::form_urlencoded::parse(query.as_bytes());
    let checked = parameters.map(|(name, value)| {
        let is_list = lists.contains(&name.as_ref());
        if is_list || seen.insert(name.clone()) {
            Ok((name, value))
        } else {
            let name = shown(&name);
            let message = format!("`{name}` must not be repeated");
            Err(ApiError::invalid(name, message))
        }
    });
    checked.collect()
}

/// Rows on a page: the default, and the maximum.
pub const LIMIT_DEFAULT: u32 = 50;
const LIMIT_MAX: u32 = 200;

pub fn parse_limit(text: &str) -> Result<u32, ApiError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let limit = if digits {
        text.parse().unwrap_or(LIMIT_MAX)
    } else {
        0
    };
    match limit {
        0 => Err(ApiError::invalid(
            "limit",
            "`limit` must be a whole number from 1 on; above 200 it counts as 200",
        )),
        limit => Ok(limit.min(LIMIT_MAX)),
    }
}

/// Parses a number that we issued. Only our own spelling of it is accepted.
pub fn parse_number(text: &str) -> Option<i64> {
    let is_ours = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_ours)
}

/// Returns the `cursor` that a list has parsed.
///
/// # Errors
/// 400 if it could not be parsed.
pub fn cursor<C>(parsed: Option<C>) -> Result<C, ApiError> {
    let message = "`cursor` must be the `next` of the page before";
    parsed.ok_or_else(|| ApiError::invalid("cursor", message))
}

/// Returns the `task` that a list has parsed.
///
/// # Errors
/// 400 if it could not be parsed.
pub fn task<T>(parsed: Option<T>) -> Result<T, ApiError> {
    let message = "`task` must be a task id or a submission id";
    parsed.ok_or_else(|| ApiError::invalid("task", message))
}

pub fn unknown_parameter(name: &str, known: &str) -> ApiError {
    let name = shown(name);
    let message = format!("unknown parameter `{name}`: want {known}");
    ApiError::invalid(name, message)
}

/// The beginning of a parameter's name, for a message.
fn shown(name: &str) -> String {
    let visible = name.chars().filter(|character| !character.is_control());
    visible.take(64).collect()
}
