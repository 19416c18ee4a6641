//! The files of `document/`, and how they make one description.

use serde_json::{Map, Value, json};

const INFO: &str = include_str!("document/info.json");
const ERRORS: &str = include_str!("document/errors.json");
const HEADERS: &str = include_str!("document/headers.json");
const PARAMETERS: &str = include_str!("document/parameters.json");
const WEBHOOKS: &str = include_str!("document/webhooks.json");

/// The paths, in the order in which the page shows them.
const PATHS: [&str; 9] = [
    include_str!("document/paths/submits.json"),
    include_str!("document/paths/tasks.json"),
    include_str!("document/paths/results.json"),
    include_str!("document/paths/events.json"),
    include_str!("document/paths/evolink.json"),
    include_str!("document/paths/catalog.json"),
    include_str!("document/paths/quarantine.json"),
    include_str!("document/paths/deliveries.json"),
    include_str!("document/paths/operations.json"),
];

const SCHEMAS: [&str; 6] = [
    include_str!("document/schemas/tasks.json"),
    include_str!("document/schemas/events.json"),
    include_str!("document/schemas/errors.json"),
    include_str!("document/schemas/quarantine.json"),
    include_str!("document/schemas/deliveries.json"),
    include_str!("document/schemas/status.json"),
];

/// The parts of the description, before anything is added to them.
pub struct Parts {
    /// The description without the errors of its operations.
    pub document: Value,
    /// Each error code with its status and its meaning.
    pub errors: Map<String, Value>,
}

/// Reads the files. Texts that are lists of lines become one line each.
pub fn read() -> Parts {
    let mut document = parse(INFO);
    document["info"]["version"] = json!(env!("CARGO_PKG_VERSION"));
    document["paths"] = merged(&PATHS);
    document["webhooks"] = parse(WEBHOOKS);
    let components = &mut document["components"];
    components["headers"] = parse(HEADERS);
    components["parameters"] = parse(PARAMETERS);
    components["schemas"] = merged(&SCHEMAS);
    let Value::Object(errors) = parse(ERRORS) else {
        unreachable!("errors.json is an object");
    };
    Parts { document, errors }
}

fn parse(text: &str) -> Value {
    let mut value = serde_json::from_str(text).expect("a file of the description is JSON");
    join_lines(&mut value);
    value
}

fn merged(files: &[&str]) -> Value {
    let mut all = Map::new();
    for file in files {
        let Value::Object(members) = parse(file) else {
            unreachable!("a file of the description is an object");
        };
        all.extend(members);
    }
    Value::Object(all)
}

fn join_lines(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let lines = member.as_array().filter(|_| is_text(name));
                if let Some(lines) = lines {
                    let lines: Vec<&str> = lines.iter().filter_map(Value::as_str).collect();
                    *member = json!(lines.join(" "));
                } else {
                    join_lines(member);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(join_lines),
        _ => {}
    }
}

fn is_text(name: &str) -> bool {
    matches!(name, "description" | "meaning")
}
