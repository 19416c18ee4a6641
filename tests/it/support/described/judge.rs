//! Compares an answer with what `/openapi.json` says about its route and status.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use evolink_receiver::http::internal::openapi::document;
use jsonschema::Validator;
use serde_json::{Value, json};

/// A JSON answer of the internal listener, and what was asked.
#[derive(Debug)]
pub struct Answered<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub status: u16,
    /// Whether it has `X-Submission-Id`: then EvoLink was asked, and the error may be EvoLink's.
    pub is_about_submission: bool,
    pub body: &'a [u8],
}

/// The pages of the dashboard, and what they load, begin with one of these. They are no API.
const PAGES: [&str; 7] = [
    "/assets/",
    "/fragments/",
    "/health",
    "/sign-",
    "/tasks/",
    "/trouble",
    "/try",
];

/// Panics unless the description has this answer.
pub fn assert_described(answered: &Answered<'_>) {
    let Answered { method, path, .. } = answered;
    let is_page = *path == "/" || PAGES.iter().any(|page| path.starts_with(page));
    // The answer 304 has no body.
    if is_page || answered.status == 304 {
        return;
    }
    let body: Value = match serde_json::from_slice(answered.body) {
        Ok(body) => body,
        // EvoLink's numbers are passed on, of whatever size. This parser has a bound.
        Err(error) if error.to_string().starts_with("number out of range") => return,
        Err(error) => panic!("{method} {path}: no JSON: {error}"),
    };
    let shown = || String::from_utf8_lossy(answered.body).into_owned();
    let Some(schema) = schema(answered) else {
        panic!(
            "{method} {path}: {} is not described: {}",
            answered.status,
            shown()
        );
    };
    let errors: Vec<String> = validator(&schema)
        .iter_errors(&body)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(
        errors.is_empty(),
        "{method} {path}: {} differs from the description: {errors:#?}\n{}",
        answered.status,
        shown()
    );
}

/// The schema of the answer, with a name of its own.
fn schema(answered: &Answered<'_>) -> Option<String> {
    let path = template(answered.path);
    let item = path.and_then(|path| document()["paths"].get(path));
    let method = match answered.method {
        "HEAD" => "get".to_owned(),
        method => method.to_lowercase(),
    };
    let Some(operation) = item.and_then(|item| item.get(&method)) else {
        // Before the router, 403 refuses a foreign host or page.
        return match (answered.status, item) {
            (404, None) => Some(pointer(&["components", "responses", "NotFound"])),
            (405, Some(_)) => Some(pointer(&["components", "responses", "MethodNotAllowed"])),
            (403 | 500, _) => Some(pointer(&[
                "paths",
                "/livez",
                "get",
                "responses",
                &answered.status.to_string(),
            ])),
            _ => None,
        };
    };
    let (exact, range) = (
        answered.status.to_string(),
        format!("{}XX", answered.status / 100),
    );
    let responses = operation["responses"].as_object()?;
    let status = [exact, range]
        .into_iter()
        .find(|status| responses.contains_key(status))?;
    let mut place = pointer(&["paths", path?, &method, "responses", &status]);
    // EvoLink was not asked, so it is not EvoLink's error.
    let is_submit = answered.path.ends_with("/generations");
    if is_submit && answered.status >= 400 && !answered.is_about_submission {
        let alternatives = format!("{place}/anyOf");
        if document().pointer(&alternatives).is_some() {
            place = format!("{alternatives}/0");
        } else if status.ends_with("XX") {
            return None;
        }
    }
    Some(place)
}

fn pointer(parts: &[&str]) -> String {
    let escaped = parts
        .iter()
        .map(|part| part.replace('~', "~0").replace('/', "~1"));
    let path: Vec<String> = escaped.collect();
    format!("/{}/content/application~1json/schema", path.join("/"))
}

/// The path of the description that `path` is an instance of. A literal segment goes before a
/// parameter.
fn template(path: &str) -> Option<&'static str> {
    let segments: Vec<&str> = path.split('/').collect();
    let paths = document()["paths"].as_object().unwrap().keys();
    let fits = |template: &&String| {
        let wanted: Vec<&str> = template.split('/').collect();
        wanted.len() == segments.len()
            && wanted.iter().zip(&segments).all(|(wanted, given)| {
                wanted == given || (wanted.starts_with('{') && !given.is_empty())
            })
    };
    let fitting = paths.filter(fits);
    fitting
        .min_by_key(|template| template.matches('{').count())
        .map(String::as_str)
}

/// The validator of the schema at a place of the description. Each is made once.
fn validator(place: &str) -> Arc<Validator> {
    static MADE: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(validator) = made.get(place) {
        return Arc::clone(validator);
    }
    let schema = document().pointer(place);
    let schema = schema.unwrap_or_else(|| panic!("{place}: no JSON is described"));
    // The references of the description are relative to its root.
    let schema =
        json!({"allOf": [schema], "components": {"schemas": document()["components"]["schemas"]}});
    let validator = Arc::new(jsonschema::draft202012::new(&schema).unwrap());
    made.insert(place.to_owned(), Arc::clone(&validator));
    validator
}
