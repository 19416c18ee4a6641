//! Checks where tasks are kept: in a file or on a server.

use std::collections::HashSet;
use std::net::IpAddr;

use url::Url;

use crate::config::closest::closest;
use crate::config::findings::Found;
use crate::config::{Level, StoreConfig};
use crate::store::engine::postgres::address;

/// One connection writes, one listens, one reads.
const CONNECTIONS_MIN: u32 = 3;
/// A PostgreSQL server has a process for each; beyond this the number is a mistake.
const CONNECTIONS_MAX: u32 = 1000;

pub(super) fn store(found: &mut Found, store: &StoreConfig) {
    let (key, url) = ("store.url", &store.url);
    if store.is_postgres() {
        return postgres(found, store);
    }
    found.error_unless(
        store.password_file.is_none(),
        "store.password_file",
        "is for postgres:// only",
    );
    let (place, query) = match url.split_once('?') {
        Some((place, query)) => (place, Some(query)),
        None => (url.as_str(), None),
    };
    let file = place
        .strip_prefix("sqlite:")
        .map(|rest| rest.strip_prefix("//").unwrap_or(rest));
    let is_file = file.is_some_and(|file| !file.is_empty() && !file.contains(":memory:"));
    found.first_error_unless(
        is_file,
        key,
        "must be sqlite: and the path of a file, as in \"sqlite:data/receiver.db\", or postgres://USER@HOST/DATABASE",
    );
    // Paths are shown.
    found.first_error_unless(
        !url.strip_prefix("sqlite:").is_some_and(is_like_url),
        key,
        "looks like the URL of a server, and not like the path of a file: that is postgres://USER@HOST/DATABASE",
    );
    // The store would ignore them. Their values are not shown, as those of other URLs are not.
    if let Some(query) = query {
        let name = query.split(['&', '=']).next().unwrap_or_default();
        let message = if name.is_empty() {
            "has a '?' without a parameter; sqlite: takes none".to_owned()
        } else {
            format!("has the parameter {name:?}; sqlite: takes none")
        };
        found.first_error(key, message);
    }
}

/// Returns whether a path may be a URL with a password in it.
fn is_like_url(path: &str) -> bool {
    let has_password = path
        .rsplit_once('@')
        .is_some_and(|(before, _)| before.contains(':'));
    let authority = path
        .strip_prefix("//")
        .and_then(|rest| rest.split('/').next());
    has_password
        || path.contains("://")
        || path.starts_with("postgres")
            && path
                .trim_start_matches(|char: char| char.is_ascii_alphabetic())
                .starts_with(':')
        || authority.is_some_and(|authority| authority.contains('@'))
}

fn postgres(found: &mut Found, store: &StoreConfig) {
    let key = "store.url";
    let connections = store.max_connections;
    found.error_unless(
        (CONNECTIONS_MIN..=CONNECTIONS_MAX).contains(&connections),
        "store.max_connections",
        format!("must be from {CONNECTIONS_MIN} to {CONNECTIONS_MAX}, is {connections}"),
    );
    if let Some(refusal) = address::refusal(&store.url) {
        return found.add(Level::Error, key, refusal);
    }
    let Ok(url) = Url::parse(&store.url) else {
        return found.add(Level::Error, key, "must be postgres://USER@HOST/DATABASE");
    };
    parameters(found, &url);
    let option = |name| url.query_pairs().find(|(key, _)| key == name);
    let is_socket = option("host").is_some();
    let host = url.host_str().unwrap_or_default();
    let is_local = is_socket
        || host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse()
            .is_ok_and(|ip: IpAddr| ip.is_loopback());
    found.first_error_unless(
        url.has_host() || is_socket,
        key,
        "must name a host: postgres://USER@HOST/DATABASE",
    );
    found.first_error_unless(
        option("password").is_none(),
        key,
        "must not have a password after '?': it would be shown; use store.password_file",
    );
    found.error_unless(
        store.password_file.is_none() || url.password().is_none(),
        "store.password_file",
        "is set together with a password in store.url; keep one of them",
    );
    let is_verified =
        option("sslmode").is_some_and(|(_, mode)| mode.eq_ignore_ascii_case("verify-full"));
    found.warn_if(
        !is_verified && !is_local && !found.has_error(key),
        key,
        "does not check who the server is: with sslmode=verify-full and sslrootcert=FILE nobody can stand in for it",
    );
}

/// The driver ignores a parameter that it does not know, and with it what was to protect the
/// connection.
fn parameters(found: &mut Found, url: &Url) {
    let key = "store.url";
    let no_fragment = "must not have a fragment";
    found.first_error_unless(url.fragment().is_none(), key, no_fragment);
    let mut seen = HashSet::new();
    for (name, value) in url.query_pairs() {
        let Some(form) = form(&name) else {
            // Not the value: it may be a password.
            let advice = match closest(&name, KNOWN) {
                Some(known) => format!("; did you mean {known}?"),
                None => format!("; known are {}", KNOWN.join(", ")),
            };
            let message = format!("has the parameter {name:?}, which is not known{advice}");
            found.first_error(key, message);
            continue;
        };
        let message = format!("has the parameter {name:?} twice");
        found.first_error_unless(
            form == Form::Repeated || seen.insert(name.replace('-', "")),
            key,
            message,
        );
        if let Some(expected) = form.refusal(&value) {
            let message = format!("the parameter {name:?} must be {expected}");
            found.first_error(key, message);
        }
    }
}

/// The parameters that are suggested: each in one spelling, and those of `options[NAME]` as one.
const KNOWN: [&str; 11] = [
    "dbname",
    "host",
    "hostaddr",
    "options",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

/// The form of a parameter's value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Mode,
    Address,
    Port,
    Number,
    Text,
    /// Text that may be given in several pieces.
    Repeated,
}

/// Returns the form of a parameter that the driver knows; `None` for any other.
fn form(name: &str) -> Option<Form> {
    Some(match name {
        "sslmode" | "ssl-mode" => Form::Mode,
        "hostaddr" => Form::Address,
        "port" => Form::Port,
        "statement-cache-capacity" => Form::Number,
        "sslrootcert" | "ssl-root-cert" | "ssl-ca" | "sslcert" | "ssl-cert" | "sslkey"
        | "ssl-key" | "host" | "dbname" | "user" | "password" => Form::Text,
        "options" => Form::Repeated,
        _ if name.starts_with("options[") && name.ends_with(']') => Form::Text,
        _ => return None,
    })
}

impl Form {
    /// Returns the required form if `value` does not have it.
    fn refusal(self, value: &str) -> Option<&'static str> {
        const MODES: [&str; 6] = [
            "disable",
            "allow",
            "prefer",
            "require",
            "verify-ca",
            "verify-full",
        ];
        let (is_good, expected) = match self {
            Self::Mode => (
                MODES.iter().any(|mode| mode.eq_ignore_ascii_case(value)),
                "disable, allow, prefer, require, verify-ca or verify-full",
            ),
            Self::Address => (value.parse::<IpAddr>().is_ok(), "an IP address"),
            Self::Port => (value.parse::<u16>().is_ok(), "a port"),
            Self::Number => (value.parse::<usize>().is_ok(), "a number"),
            Self::Text => (!value.is_empty(), "some text"),
            Self::Repeated => return None,
        };
        (!is_good).then_some(expected)
    }
}
