//! The relations that must hold between keys, and what is odd though allowed. Pure: no file is opened here.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use url::Url;

use super::check_name;
use super::findings::Found;
use super::hosts::{self, Ports};
use super::secret::API_KEY_MISSING;
use super::{
    ApiKey, Archive, ByteSize, Config, Evolink, Forward, Internal, Level, Public, Quarantine,
    StoreConfig, TlsMode,
};

/// EvoLink's bound on `callback_url`.
const CALLBACK_URL_CHARS_MAX: usize = 2048;
/// Key id, submission id or label, MAC and the dots between: no callback token is longer.
const CALLBACK_TOKEN_CHARS_MAX: usize = 160;
/// EvoLink hangs up at 10 s; later answers are for nobody. It is also how long the whole stop may take.
const ANSWER_TIMEOUT_MAX: Duration = Duration::from_secs(9);

/// What comes after the drain has the rest of the promised 10 s.
const DRAIN_TIMEOUT_MAX: Duration = Duration::from_secs(8);

/// All that is known of one callback URL is looked at with each batch that adds to it.
const QUARANTINE_ENTRIES_PER_TOKEN_MAX: usize = 1000;
/// The longest head that the public listener takes.
const HEAD_BYTES_MAX: u64 = 16 * 1024;
const DAY: Duration = Duration::from_hours(24);

/// Calls a second. Beyond this it is no limit.
const RATE_MAX: u32 = 1000;

/// In the order of the sections.
pub(super) fn check(found: &mut Found, config: &Config) {
    base_url(found, &config.public.base_url);
    public(found, &config.public);
    tls(found, &config.public);
    listeners(found, config);
    api_keys(found, &config.internal.api_keys);
    evolink(found, &config.evolink);
    store(found, &config.store);
    times(found, config);
    quarantine(found, config);
    archive(found, &config.archive);
    forward(found, &config.forward);
}

fn base_url(found: &mut Found, url: &Url) {
    let key = "public.base_url";
    let bare = url.query().is_none() && url.fragment().is_none();
    found.error_unless(
        url.scheme() == "https",
        key,
        "must be https, the only scheme that EvoLink calls; with a proxy in front, this is the proxy's address",
    );
    found.error_unless(bare, key, "must not have a query or a fragment");
    let path = url.path().strip_suffix('/').unwrap_or(url.path());
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let mut segments = path.split('/').skip(1);
    found.error_unless(
        segments.all(|segment| !segment.is_empty() && segment.bytes().all(is_plain)),
        key,
        "the path must consist of segments of letters, digits, '-', '.', '_' and '~'",
    );
    let rest = "/callbacks/".len() + CALLBACK_TOKEN_CHARS_MAX;
    let chars_max = CALLBACK_URL_CHARS_MAX - rest;
    let chars = url.as_str().trim_end_matches('/').len();
    let message = format!(
        "must have at most {chars_max} characters, has {chars}: EvoLink takes callback URLs of at most {CALLBACK_URL_CHARS_MAX}"
    );
    found.error_unless(chars <= chars_max, key, message);
    found.warn_if(
        hosts::is_internal(url),
        key,
        "is an internal address, which EvoLink refuses to call; good only with the simulator",
    );
    found.warn_if(
        url.host_str() == Some("hooks.example.com"),
        key,
        "is still the example's; EvoLink's callbacks will not arrive here",
    );
}

fn public(found: &mut Found, public: &Public) {
    let (least, most) = (ByteSize::kib(1), ByteSize::kib(16 * 1024));
    found.error_unless(
        (least..=most).contains(&public.max_body),
        "public.max_body",
        format!("must be from {least} to {most}, is {}", public.max_body),
    );
    for (key, connections) in [
        ("public.max_connections", public.max_connections),
        (
            "public.max_connections_per_address",
            public.max_connections_per_address,
        ),
    ] {
        found.error_unless(connections > 0, key, "must be at least 1");
    }
    for (key, timeout) in [
        ("public.handshake_timeout", public.handshake_timeout),
        ("public.header_timeout", public.header_timeout),
        ("public.body_timeout", public.body_timeout),
    ] {
        found.error_unless(!timeout.is_zero(), key, "must be more than 0");
    }
    for (key, timeout, max) in [
        (
            "public.request_timeout",
            public.request_timeout,
            ANSWER_TIMEOUT_MAX,
        ),
        (
            "public.drain_timeout",
            public.drain_timeout,
            DRAIN_TIMEOUT_MAX,
        ),
    ] {
        found.within(key, timeout, Duration::from_millis(1), max);
    }
    found.warn_if(
        public.drain_timeout < public.request_timeout,
        "public.drain_timeout",
        "is less than public.request_timeout, so a stop may cut a callback short",
    );
}

fn tls(found: &mut Found, public: &Public) {
    match public.tls.mode {
        TlsMode::Files => {
            for (key, file) in [
                ("public.tls.cert_file", &public.tls.cert_file),
                ("public.tls.key_file", &public.tls.key_file),
            ] {
                let message = "missing: public.tls.mode \"files\" needs it";
                found.error_unless(file.is_some(), key, message);
            }
        }
        TlsMode::Acme => found.add(
            Level::Error,
            "public.tls.mode",
            "\"acme\" is not in this version; use files, self-signed or off",
        ),
        TlsMode::SelfSigned => found.add(
            Level::Warning,
            "public.tls.mode",
            "\"self-signed\" is for trials: EvoLink has no reason to trust the certificate",
        ),
        TlsMode::Off => {}
    }
}

fn listeners(found: &mut Found, config: &Config) {
    let Internal {
        listen,
        max_connections,
        ref api_keys,
    } = config.internal;
    let public = config.public.listen;
    // Port 0 has the system choose, and it never chooses the same twice.
    let same_port = public.port() == listen.port() && listen.port() != 0;
    let same_address =
        public.ip() == listen.ip() || public.ip().is_unspecified() || listen.ip().is_unspecified();
    found.error_unless(
        !(same_port && same_address),
        "internal.listen",
        format!("must not be where public.listen is ({public})"),
    );
    found.error_unless(
        max_connections > 0,
        "internal.max_connections",
        "must be at least 1",
    );
    found.error_unless(
        listen.ip().to_canonical().is_loopback() || !api_keys.is_empty(),
        "internal.api_keys",
        format!("missing: internal.listen {listen} is not loopback, so callers need keys; `evolink-receiver keys new` makes one"),
    );
}

fn api_keys(found: &mut Found, api_keys: &[ApiKey]) {
    let mut names = HashSet::new();
    let mut digests = HashSet::new();
    for (n, api_key) in api_keys.iter().enumerate() {
        let key = |field: &str| format!("internal.api_keys[{n}].{field}");
        unique_name(found, key("name"), &api_key.name, &mut names);
        found.error_unless(
            digests.insert(api_key.sha256.to_string()),
            key("sha256"),
            "is another entry's too; every key needs one entry",
        );
        found.error_unless(
            !api_key.scopes.is_empty(),
            key("scopes"),
            "must name at least one of submit, read, admin",
        );
    }
}

fn unique_name<'a>(found: &mut Found, key: String, name: &'a str, seen: &mut HashSet<&'a str>) {
    if let Err(message) = check_name(name) {
        found.add(Level::Error, key, message);
    } else if !seen.insert(name) {
        let message = format!("{name:?} is another entry's name too");
        found.add(Level::Error, key, message);
    }
}

fn evolink(found: &mut Found, evolink: &Evolink) {
    let url = &evolink.base_url;
    let safe = url.scheme() == "https" || (url.scheme() == "http" && hosts::is_loopback(url));
    found.error_unless(
        safe,
        "evolink.base_url",
        "must be https, or http for a loopback host: our EvoLink key goes there",
    );
    found.error_unless(
        url.query().is_none() && url.fragment().is_none(),
        "evolink.base_url",
        "must not have a query or a fragment",
    );
    match (&evolink.api_key, &evolink.api_key_file) {
        (None, None) => found.add(Level::Error, "evolink.api_key_file", API_KEY_MISSING),
        (Some(_), Some(_)) => found.add(
            Level::Error,
            "evolink.api_key_file",
            "is set together with evolink.api_key; keep one of them",
        ),
        (Some(_), None) | (None, Some(_)) => {}
    }
    let (least, most) = (Duration::from_secs(1), Duration::from_mins(5));
    found.within("evolink.timeout", evolink.timeout, least, most);
    for (key, rate) in [
        ("evolink.polls_per_second", evolink.polls_per_second),
        ("evolink.submits_per_second", evolink.submits_per_second),
    ] {
        let message = format!("must be from 1 to {RATE_MAX}, is {rate}");
        found.error_unless((1..=RATE_MAX).contains(&rate), key, message);
    }
}

fn store(found: &mut Found, store: &StoreConfig) {
    let (key, url) = ("store.url", &store.url);
    if store.is_postgres() {
        return postgres(found, store);
    }
    found.error_unless(
        store.password_file.is_none(),
        "store.password_file",
        "is for postgres:// only",
    );
    let file = url.strip_prefix("sqlite:").map(|rest| {
        let rest = rest.split('?').next().unwrap_or(rest);
        rest.strip_prefix("//").unwrap_or(rest)
    });
    let is_file = file.is_some_and(|file| !file.is_empty() && !file.contains(":memory:"));
    found.error_unless(
        is_file,
        key,
        "must be sqlite: and the path of a file, as in \"sqlite:data/receiver.db\", or postgres://USER@HOST/DATABASE",
    );
}

fn postgres(found: &mut Found, store: &StoreConfig) {
    let key = "store.url";
    let Ok(url) = Url::parse(&store.url) else {
        return found.add(Level::Error, key, "must be postgres://USER@HOST/DATABASE");
    };
    let option = |name| url.query_pairs().find(|(key, _)| key == name);
    let is_socket = option("host").is_some();
    let host = url.host_str().unwrap_or_default();
    let is_local = is_socket
        || host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse()
            .is_ok_and(|ip: IpAddr| ip.is_loopback());
    found.error_unless(
        url.has_host() || is_socket,
        key,
        "must name a host: postgres://USER@HOST/DATABASE",
    );
    found.error_unless(
        option("password").is_none(),
        key,
        "must not have a password after '?': it would be shown; use store.password_file",
    );
    found.error_unless(
        store.password_file.is_none() || url.password().is_none(),
        "store.password_file",
        "is set together with a password in store.url; keep one of them",
    );
    let is_verified = option("sslmode").is_some_and(|(_, mode)| mode == "verify-full");
    found.warn_if(
        !is_verified && !is_local,
        key,
        "does not check who the server is: with sslmode=verify-full and sslrootcert=FILE nobody can stand in for it",
    );
}

fn times(found: &mut Found, config: &Config) {
    let reconcile = &config.reconcile;
    let give_up_after = reconcile.give_up_after;
    found.error_unless(
        reconcile.interval_min >= Duration::from_secs(1),
        "reconcile.interval_min",
        "must be at least 1s: EvoLink limits how often it is asked",
    );
    found.error_unless(
        reconcile.first_poll_after <= give_up_after,
        "reconcile.first_poll_after",
        "must not exceed reconcile.give_up_after, else no task is ever asked after",
    );
    let tasks = config.retention.tasks;
    found.error_unless(tasks >= DAY, "retention.tasks", "must be at least 1d");
    found.error_unless(
        tasks >= give_up_after,
        "retention.tasks",
        "must not be less than reconcile.give_up_after, else tasks are forgotten while they are waited for",
    );
}

fn quarantine(found: &mut Found, config: &Config) {
    let Quarantine {
        max_entries_per_token,
        max_bytes_per_token,
        max_entries,
        max_bytes,
    } = config.quarantine;
    found.error_unless(
        (1..=QUARANTINE_ENTRIES_PER_TOKEN_MAX).contains(&max_entries_per_token),
        "quarantine.max_entries_per_token",
        format!("must be from 1 to {QUARANTINE_ENTRIES_PER_TOKEN_MAX}, is {max_entries_per_token}"),
    );
    let largest = ByteSize::bytes(config.public.max_body.as_u64() + HEAD_BYTES_MAX);
    found.error_unless(
        max_bytes_per_token >= largest,
        "quarantine.max_bytes_per_token",
        format!("must be at least {largest}, else a callback of public.max_body with its head could not be kept"),
    );
    found.error_unless(
        max_entries >= max_entries_per_token as u64,
        "quarantine.max_entries",
        "must not be less than quarantine.max_entries_per_token, else one callback URL fills it",
    );
    found.error_unless(
        max_bytes >= max_bytes_per_token,
        "quarantine.max_bytes",
        "must not be less than quarantine.max_bytes_per_token, else one callback URL fills it",
    );
}

fn archive(found: &mut Found, archive: &Archive) {
    let url = &archive.url;
    let is_place = ["file:", "s3://"].iter().any(|scheme| {
        url.strip_prefix(scheme)
            .is_some_and(|rest| !rest.is_empty())
    });
    found.error_unless(
        is_place,
        "archive.url",
        "must be file: and a directory, or s3://bucket/prefix",
    );
    host_patterns(
        found,
        "archive.allowed_hosts",
        &archive.allowed_hosts,
        Ports::Refused,
    );
}

fn forward(found: &mut Found, forward: &Forward) {
    let key = "forward.allowed_hosts";
    host_patterns(found, key, &forward.allowed_hosts, Ports::Allowed);
    let mut names = HashSet::new();
    for (n, endpoint) in forward.endpoints.iter().enumerate() {
        let key = |field: &str| format!("forward.endpoints[{n}].{field}");
        unique_name(found, key("name"), &endpoint.name, &mut names);
        let is_http = ["http", "https"].contains(&endpoint.url.scheme());
        found.error_unless(is_http, key("url"), "must be http or https");
        let message = "must name at least one of task.completed, task.failed, task.cancelled";
        found.error_unless(!endpoint.events.is_empty(), key("events"), message);
    }
    let no_effect = "has no effect yet: this version does not forward";
    found.warn_if(!forward.allowed_hosts.is_empty(), key, no_effect);
    found.warn_if(
        !forward.endpoints.is_empty(),
        "forward.endpoints",
        no_effect,
    );
}

fn host_patterns(found: &mut Found, key: &str, patterns: &[String], ports: Ports) {
    let form = match ports {
        Ports::Allowed => "a host, *.domain, or either with :port",
        Ports::Refused => "a host or *.domain, without scheme, port or path",
    };
    for (n, pattern) in patterns.iter().enumerate() {
        found.error_unless(
            hosts::is_host_pattern(pattern, ports),
            format!("{key}[{n}]"),
            format!("{pattern:?} is not {form}"),
        );
    }
}
