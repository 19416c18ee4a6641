//! The tool that compares every answer sees differences.

use crate::support::described::{Answered, assert_described};

fn judge(method: &str, path: &str, status: u16, body: &str) -> Result<(), String> {
    let (method, path, body) = (method.to_owned(), path.to_owned(), body.to_owned());
    let judging = std::panic::catch_unwind(move || {
        assert_described(&Answered {
            method: &method,
            path: &path,
            status,
            is_about_submission: false,
            body: body.as_bytes(),
        });
    });
    judging.map_err(|panic| panic.downcast_ref::<String>().cloned().unwrap_or_default())
}

#[test]
fn an_answer_that_differs_from_the_description_fails_the_test_that_sees_it() {
    let error = |code: &str| {
        format!(r#"{{"error":{{"code":"{code}","message":"m","type":"invalid_request_error"}}}}"#)
    };
    for (method, path, status, body) in [
        ("GET", "/livez", 200, r#"{"status":"live"}"#.to_owned()),
        (
            "GET",
            "/v1/tasks",
            200,
            r#"{"data":[],"next":null}"#.to_owned(),
        ),
        ("GET", "/v1/tasks/t", 404, error("task_not_found")),
        ("GET", "/v1/nothing", 404, error("not_found")),
        ("PUT", "/v1/tasks", 405, error("method_not_allowed")),
    ] {
        assert_eq!(judge(method, path, status, &body), Ok(()), "{path}");
    }
    for (what, method, path, status, body) in [
        (
            "a member that is not described",
            "GET",
            "/livez",
            200,
            r#"{"status":"live","x":1}"#.to_owned(),
        ),
        (
            "a member of another type",
            "GET",
            "/v1/tasks",
            200,
            r#"{"data":[],"next":7}"#.to_owned(),
        ),
        (
            "a task without our member",
            "GET",
            "/v1/tasks",
            200,
            r#"{"data":[{"id":"t"}],"next":null}"#.to_owned(),
        ),
        (
            "a status that is not described",
            "GET",
            "/livez",
            418,
            "{}".to_owned(),
        ),
        (
            "a code of another route",
            "GET",
            "/v1/quarantine/7",
            404,
            error("delivery_not_found"),
        ),
        (
            "a code that there is not",
            "GET",
            "/v1/tasks",
            400,
            error("bad_request"),
        ),
        (
            "a route that is not described",
            "GET",
            "/v1/nothing",
            200,
            "{}".to_owned(),
        ),
        ("no JSON", "GET", "/livez", 200, "{".to_owned()),
    ] {
        assert!(judge(method, path, status, &body).is_err(), "{what}");
    }
}
