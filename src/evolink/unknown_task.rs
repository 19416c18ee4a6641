//! Recognises EvoLink's own answer that it does not know a task.
//!
//! A gateway, a captive portal or a wrong base URL also answers 404 and 410. Three such answers
//! would make a task unresolved. So they count only if they have EvoLink's error envelope with one
//! of its codes.

use super::envelope::ErrorEnvelope;

/// EvoLink's code for an invalid task id, sent with status 400.
const INVALID_TASK_ID: &str = "invalid_task_id";

/// The prefix of EvoLink's codes about tasks: `task_not_found`, `task_expired`.
const OF_A_TASK: &str = "task_";

/// Whether `status` and `body` are EvoLink's answer for a task that it does not know.
pub fn is_unknown_task(status: u16, body: &[u8]) -> bool {
    if !matches!(status, 400 | 404 | 410) {
        return false;
    }
    let Some(error) = ErrorEnvelope::parse(body) else {
        return false;
    };
    let code = error.code.as_deref().unwrap_or_default();
    if status == 400 {
        return code == INVALID_TASK_ID;
    }
    // In older documents the code is the status as an integer. Gateways send that too, so the other
    // members of the envelope must be EvoLink's.
    let is_documented = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let is_old = code == status.to_string()
        && [&error.message, &error.error_type]
            .into_iter()
            .all(is_documented);
    is_old || code == INVALID_TASK_ID || code.starts_with(OF_A_TASK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_unknown_only_in_the_envelope_and_by_the_code_of_evolink() {
        let current =
            r#"{"error":{"code":"task_not_found","message":"m","type":"invalid_request_error"}}"#;
        let expired =
            r#"{"error":{"code":"task_expired","message":"m","type":"invalid_request_error"}}"#;
        let invalid = r#"{"error":{"code":"invalid_task_id","message":"m","param":"task_id"}}"#;
        let integer = r#"{"error":{"code":404,"message":"m","type":"not_found_error"}}"#;
        let integer_410 = r#"{"error":{"code":410,"message":"m","type":"not_found_error"}}"#;
        for (status, body) in [
            (404, current),
            (410, current),
            (404, r#"{"error":{"code":"task_not_found"}}"#),
            (404, expired),
            (410, expired),
            (400, invalid),
            (404, invalid),
            (404, integer),
            (410, integer_410),
        ] {
            assert!(is_unknown_task(status, body.as_bytes()), "{status} {body}");
        }
        // The code that EvoLink and other gateways send for a path that does not exist.
        let no_route =
            r#"{"error":{"code":"not_found","message":"m","type":"invalid_request_error"}}"#;
        let invalid_url = r#"{"error":{"code":"","message":"Invalid URL","type":"invalid_request_error","param":""}}"#;
        let google = r#"{"error":{"code":404,"message":"m","status":"NOT_FOUND"}}"#;
        let vercel = r#"{"error":{"code":"404","message":"m"}}"#;
        let azure = r#"{"error":{"code":"ResourceNotFound","message":"m"}}"#;
        for (status, body) in [
            (404, ""),
            (410, ""),
            (404, "{}"),
            (404, "<html>task_not_found</html>"),
            (404, r#"{"error":"task_not_found"}"#),
            (404, r#"{"code":"task_not_found","message":"m"}"#),
            (404, r#"{"message":"no Route matched with those values"}"#),
            (
                404,
                r#"{"error":{"code":null,"message":"m","type":"invalid_request_error"}}"#,
            ),
            (404, no_route),
            (404, invalid_url),
            (404, google),
            (404, vercel),
            (404, azure),
            (410, integer),
            (
                400,
                r#"{"error":{"code":"invalid_request","message":"m","type":"t"}}"#,
            ),
            (400, r#"{"error":{"code":400,"message":"m","type":"t"}}"#),
            (400, current),
            (403, current),
            (500, current),
            (200, current),
        ] {
            assert!(!is_unknown_task(status, body.as_bytes()), "{status} {body}");
        }
    }
}
