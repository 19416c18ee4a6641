//! Base URLs as people write them. A slash or a `/v1` too many, or one too few, leads to no route.

/// The longest path that is looked at.
const PATH_BYTES_MAX: usize = 256;

/// The segments that follow `/v1` in our routes.
const FIRST: [&str; 14] = [
    "images",
    "videos",
    "audios",
    "tasks",
    "models",
    "credits",
    "catalog",
    "agent-estimates",
    "events",
    "quarantine",
    "deliveries",
    "endpoints",
    "archive",
    "status",
];

/// Returns the path that `path` most likely stands for, if it is another one.
pub fn meant_route(path: &str) -> Option<String> {
    if path.len() > PATH_BYTES_MAX {
        return None;
    }
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    let segments: Vec<&str> = segments.skip_while(|segment| *segment == "v1").collect();
    if !FIRST.contains(segments.first()?) {
        return None;
    }
    let meant = format!("/v1/{}", segments.join("/"));
    (meant != path).then_some(meant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_a_slash_or_a_version_too_many_or_too_few_is_recognised() {
        for path in [
            "//v1/tasks",
            "/v1/v1/tasks",
            "/tasks",
            "/v1//tasks",
            "/v1/tasks/",
            "//v1/v1//tasks",
        ] {
            assert_eq!(meant_route(path).as_deref(), Some("/v1/tasks"), "{path}");
        }
        for path in [
            "/",
            "/v1",
            "/v1/tasks",
            "/v2/tasks",
            "/admin",
            "",
            &"/tasks".repeat(99),
        ] {
            assert_eq!(meant_route(path), None, "{path}");
        }
    }
}
