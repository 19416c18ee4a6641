//! What the description adds to each operation, so that `document/` need not repeat it:
//!
//! - `x-errors` names the codes that an operation may answer with. Each status becomes a response
//!   whose `code` is one of them.
//! - `x-evolink-errors` names the ranges of statuses that EvoLink's own errors are passed on with.
//! - Every operation may answer 403 and 500, and 401 if it needs a key.
//! - Every response has `X-Request-Id`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::parts::Parts;
use crate::http::internal::error::Code;

const EVERYWHERE: [Code; 2] = [Code::PermissionDenied, Code::InternalError];

/// The answers to requests that are no operation.
const NO_OPERATION: [(&str, Code); 2] = [
    ("NotFound", Code::NotFound),
    ("MethodNotAllowed", Code::MethodNotAllowed),
];

/// Builds the whole description.
pub fn document(parts: Parts) -> Value {
    let Parts {
        mut document,
        errors,
    } = parts;
    for operation in operations(&mut document["paths"]) {
        expand(operation, &errors);
    }
    let others = NO_OPERATION.map(|(name, code)| {
        let (_, response) = response(&[code.into_str()], &errors, &[]);
        (name.to_owned(), response)
    });
    document["components"]["responses"] = Value::Object(others.into_iter().collect());
    document
}

fn operations(paths: &mut Value) -> impl Iterator<Item = &mut Map<String, Value>> {
    let items = paths.as_object_mut().into_iter().flat_map(Map::values_mut);
    let methods = items.filter_map(Value::as_object_mut);
    let methods = methods.flat_map(Map::values_mut);
    methods.filter_map(Value::as_object_mut)
}

fn expand(operation: &mut Map<String, Value>, errors: &Map<String, Value>) {
    let needs_key = has_items(operation.get("security"));
    let mut codes = texts(operation.remove("x-errors").as_ref());
    codes.extend(EVERYWHERE.map(|code| code.into_str().to_owned()));
    codes.extend(needs_key.then(|| Code::Unauthorized.into_str().to_owned()));
    let passed_on = texts(operation.remove("x-evolink-errors").as_ref());
    let mut responses: BTreeMap<String, Value> = BTreeMap::new();
    for (status, codes) in by_status(&codes, errors) {
        let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
        let range = format!("{}XX", &status[..1]);
        let from_evolink: &[_] = if passed_on.contains(&range) {
            &["EvolinkError"]
        } else {
            &[]
        };
        let (status, response) = response(&codes, errors, from_evolink);
        responses.insert(status, response);
    }
    for range in passed_on {
        responses.insert(range, passed_on_response());
    }
    let Some(Value::Object(written)) = operation.get_mut("responses") else {
        unreachable!("every operation has responses");
    };
    for (status, response) in written.iter_mut() {
        let earlier = responses.insert(status.clone(), response.take());
        assert!(earlier.is_none(), "{status} is written and has error codes");
    }
    *written = responses.into_iter().map(with_request_id).collect();
}

/// The codes of an operation by their status. A code without a status of its own has EvoLink's.
fn by_status(codes: &[String], errors: &Map<String, Value>) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for code in codes {
        let error = errors.get(code).expect("errors.json has every code");
        if let Some(status) = error["status"].as_u64() {
            all.entry(status.to_string())
                .or_default()
                .push(code.clone());
        }
    }
    all
}

/// A response with one of `codes`, which have the same status.
fn response(codes: &[&str], errors: &Map<String, Value>, others: &[&str]) -> (String, Value) {
    let status = errors[codes[0]]["status"].to_string();
    let meanings = codes.iter().map(|code| {
        let meaning = errors[*code]["meaning"].as_str().unwrap_or_default();
        format!("- `{code}`: {meaning}")
    });
    let ours = json!({"allOf": [
        {"$ref": "#/components/schemas/Error"},
        {"properties": {"error": {"properties": {"code": {"enum": codes}}}}},
    ]});
    let others = others
        .iter()
        .map(|name| json!({"$ref": format!("#/components/schemas/{name}")}));
    let schemas: Vec<Value> = std::iter::once(ours).chain(others).collect();
    let schema = match &schemas[..] {
        [one] => one.clone(),
        several => json!({"anyOf": several}),
    };
    let mut headers = Map::new();
    let by_status: &[&str] = match &*status {
        "401" => &["WWW-Authenticate"],
        "409" | "429" | "503" => &["Retry-After", "X-Submission-Id"],
        "500" | "502" | "504" => &["X-Should-Retry", "X-Submission-Id"],
        _ => &[],
    };
    for name in by_status {
        headers.insert((*name).to_owned(), header(name));
    }
    let response = json!({
        "description": meanings.collect::<Vec<_>>().join("\n"),
        "headers": headers,
        "content": {"application/json": {"schema": schema}},
    });
    (status, response)
}

fn passed_on_response() -> Value {
    json!({
        "description": "EvoLink's own error, passed on with its status.",
        "headers": {"Retry-After": header("Retry-After"), "X-Submission-Id": header("X-Submission-Id")},
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/EvolinkError"}}},
    })
}

fn with_request_id((status, mut response): (String, Value)) -> (String, Value) {
    response["headers"]["X-Request-Id"] = header("X-Request-Id");
    (status, response)
}

fn header(name: &str) -> Value {
    json!({"$ref": format!("#/components/headers/{name}")})
}

fn has_items(value: Option<&Value>) -> bool {
    value
        .and_then(Value::as_array)
        .is_some_and(|items| !items.is_empty())
}

fn texts(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array);
    let texts = items.into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}
