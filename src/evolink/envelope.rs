//! EvoLink's error envelope, `{"error": {"code", "message", "type", "param"}}`. It is parsed
//! leniently: in older documents `code` is an integer, and any member may be missing.

use serde::Deserialize;

use crate::domain::json::Fields;

/// EvoLink's code for a submit that may have been charged although the answer is an error.
pub const PAID_OUTCOME_UNKNOWN: &str = "paid_outcome_unknown";

/// The error that EvoLink reports in an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorEnvelope {
    /// An integer code is converted to its digits.
    pub code: Option<String>,
    pub message: Option<String>,
    pub error_type: Option<String>,
    pub param: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Code {
    Text(String),
    Number(i64),
}

impl ErrorEnvelope {
    /// Returns `None` if `body` contains no error.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let outer = Fields::parse(body).ok()?;
        if let Some(message) = outer.read::<String>("error") {
            return Some(Self {
                message: Some(message),
                ..Self::default()
            });
        }
        let error = outer.object("error")?;
        let code = error.read("code").map(|code| match code {
            Code::Text(text) => text,
            Code::Number(number) => number.to_string(),
        });
        Some(Self {
            code,
            message: error.read("message"),
            error_type: error.read("type"),
            param: error.read("param"),
        })
    }

    /// Whether `body` contains an error with this code.
    pub fn has_code(body: &[u8], code: &str) -> bool {
        Self::parse(body).is_some_and(|error| error.code.as_deref() == Some(code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_text_or_an_integer() {
        let code = |body: &str| ErrorEnvelope::parse(body.as_bytes()).and_then(|error| error.code);
        assert_eq!(
            code(r#"{"error":{"code":"unauthorized","message":"m","type":"t"}}"#).as_deref(),
            Some("unauthorized")
        );
        assert_eq!(code(r#"{"error":{"code":401}}"#).as_deref(), Some("401"));
        assert_eq!(code(r#"{"error":{"code":[]}}"#), None);
        assert_eq!(code(r#"{"error":"text"}"#), None);
        assert_eq!(code("<html>"), None);
    }

    #[test]
    fn every_member_is_optional() {
        assert_eq!(
            ErrorEnvelope::parse(br#"{"error":{}}"#),
            Some(ErrorEnvelope::default())
        );
        assert_eq!(ErrorEnvelope::parse(br#"{"error":null}"#), None);
        assert_eq!(ErrorEnvelope::parse(br#"{"id":"t"}"#), None);
    }
}
