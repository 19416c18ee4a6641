//! The description is that of this router, and of these errors.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;

use serde_json::Value;
use strum::VariantArray as _;

use super::{document, parts};
use crate::clock::Clock;
use crate::config::Scope;
use crate::domain::callback::KeyRing;
use crate::http::internal::access::Gate;
use crate::http::internal::access::session::{Sessions, Transport};
use crate::http::internal::error::Code;
use crate::http::internal::results::link::LinkGate;

/// Path and method of each route.
type Routes = BTreeSet<(String, String)>;

/// The routes of the router. It has no list of them, but it prints them.
fn routed() -> Routes {
    let sessions = Sessions {
        key_ring: Arc::new(KeyRing::parse(&KeyRing::generate().unwrap()).unwrap()),
        clock: Clock::System,
        transport: Transport::Http,
    };
    let gate = Gate::new(Vec::new(), sessions, false);
    let links = LinkGate {
        keys: gate.for_scope(Scope::Read),
        key_ring: None,
        clock: Clock::System,
    };
    let printed: &'static str = format!("{:?}", crate::http::internal::routes(&gate, links)).leak();
    let (printed, _) = printed.split_once("fallback_router:").unwrap();
    let (routes, paths) = printed.split_once("node: Node").unwrap();
    let by_id = |text: &'static str| {
        let entries = text.split("RouteId(").skip(1);
        entries.map(|entry| entry.split_once("): ").unwrap())
    };
    let methods: BTreeMap<&str, &str> = by_id(routes)
        .map(|(id, route)| (id, quoted(route.split("allow_header: ").nth(1).unwrap())))
        .collect();
    let mut found = Routes::new();
    for (id, path) in by_id(paths) {
        for method in methods[id].split(',') {
            // HEAD is answered wherever GET is, and is not described.
            if method != "HEAD" {
                found.insert((quoted(path).to_owned(), method.to_lowercase()));
            }
        }
    }
    found
}

/// Returns the text between the first two quotes.
fn quoted(text: &str) -> &str {
    text.split('"').nth(1).unwrap()
}

fn operations() -> impl Iterator<Item = (String, String, &'static Value)> {
    let paths = document()["paths"].as_object().unwrap();
    paths.iter().flat_map(|(path, item)| {
        let operations = item.as_object().unwrap();
        operations
            .iter()
            .map(|(method, operation)| (path.clone(), method.clone(), operation))
    })
}

#[test]
fn every_route_is_described_and_nothing_else() {
    let routed = routed();
    assert!(routed.len() > 30, "{routed:?}");
    let described: Routes = operations()
        .map(|(path, method, _)| (path, method))
        .collect();
    let missing: Vec<_> = routed.difference(&described).collect();
    let left_over: Vec<_> = described.difference(&routed).collect();
    assert!(missing.is_empty(), "not described: {missing:?}");
    assert!(left_over.is_empty(), "no such route: {left_over:?}");
}

/// The codes in the second column of the tables of docs/errors.md.
fn documented_codes() -> BTreeSet<String> {
    let text = fs::read_to_string("docs/errors.md").unwrap();
    let rows = text.lines().filter(|line| line.starts_with('|'));
    let codes = rows.filter_map(|row| row.split('|').nth(2));
    // What follows is the header or the member that tells two rows of one code apart.
    let codes = codes.filter_map(|cell| cell.split(" with").next()?.split("`param`").next());
    let quoted = codes.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let is_code = |text: &&str| {
        text.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    quoted.filter(is_code).map(str::to_owned).collect()
}

#[test]
fn every_error_code_is_in_the_document_and_in_the_description() {
    let codes: BTreeSet<String> = Code::VARIANTS
        .iter()
        .map(|code| code.into_str().to_owned())
        .collect();
    assert_eq!(documented_codes(), codes, "docs/errors.md");
    let listed = parts::read().errors;
    let listed: BTreeSet<String> = listed.keys().cloned().collect();
    assert_eq!(listed, codes, "errors.json");
    let used = document().to_string();
    let is_used = |code: &&String| used.contains(&format!("`{code}`"));
    // Its status is EvoLink's, so it is among the errors that are passed on.
    let unused: Vec<&String> = codes.iter().filter(|code| !is_used(code)).collect();
    assert_eq!(unused, ["evolink_error"], "no operation has them");
}

/// All references of a part of the description.
fn references(value: &Value, found: &mut BTreeMap<String, u32>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member.as_str().filter(|_| name == "$ref") {
                    Some(target) => *found.entry(target.to_owned()).or_default() += 1,
                    None => references(member, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_component_is_used() {
    let mut found = BTreeMap::new();
    references(document(), &mut found);
    for target in found.keys() {
        let target = target.strip_prefix('#').unwrap();
        assert!(document().pointer(target).is_some(), "{target}");
    }
    for kind in ["schemas", "parameters", "headers"] {
        for name in document()["components"][kind].as_object().unwrap().keys() {
            let target = format!("#/components/{kind}/{name}");
            assert!(found.contains_key(&target), "{target} is used nowhere");
        }
    }
}

#[test]
fn every_operation_has_its_own_id_and_what_people_need() {
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations() {
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id), "{id} is twice");
        assert!(operation["summary"].is_string(), "{method} {path}");
        for parameter in path.split('{').skip(1) {
            let name = parameter.split('}').next().unwrap();
            let parameters = operation["parameters"].as_array().unwrap();
            let is_it = |parameter: &Value| {
                let target = parameter["$ref"].as_str();
                let target = target.and_then(|target| document().pointer(&target[1..]));
                target.unwrap_or(parameter)["name"] == name
            };
            assert!(parameters.iter().any(is_it), "{method} {path}: {name}");
        }
    }
}
