//! Checks the two listeners: addresses, limits, certificate and API keys.

use std::collections::HashSet;
use std::time::Duration;

use super::unique_name;
use crate::config::findings::Found;
use crate::config::hosts;
use crate::config::{ApiKey, ByteSize, Config, Internal, Level, Public, TlsMode};

/// EvoLink's limit on `callback_url`.
const CALLBACK_URL_CHARS_MAX: usize = 2048;
/// The limit on a callback token: key id, submission id or label, MAC, and the dots between them.
const CALLBACK_TOKEN_CHARS_MAX: usize = 160;
/// The longest request timeout. EvoLink hangs up after 10 s, so a later response is never received.
/// The whole shutdown may take 10 s as well.
const ANSWER_TIMEOUT_MAX: Duration = Duration::from_secs(9);

/// The longest drain timeout. The steps after the drain need the rest of the promised 10 s.
const DRAIN_TIMEOUT_MAX: Duration = Duration::from_secs(8);

/// The bounds of the time that an idle connection stays open.
const IDLE_MIN: Duration = Duration::from_secs(1);
const IDLE_MAX: Duration = Duration::from_hours(1);

pub(super) fn base_url(found: &mut Found, public: &Public) {
    let url = &public.base_url;
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
        public.has_callbacks() && hosts::is_internal(url),
        key,
        "is an internal address, which EvoLink refuses to call; good only with the simulator",
    );
    found.warn_if(
        public.has_callbacks() && url.host_str() == Some("hooks.example.com"),
        key,
        "is still the example's; EvoLink's callbacks will not arrive here",
    );
}

pub(super) fn internal_body(found: &mut Found, internal: &Internal) {
    let (least, most) = (ByteSize::kib(1), ByteSize::kib(64 * 1024));
    found.error_unless(
        (least..=most).contains(&internal.max_body),
        "internal.max_body",
        format!("must be from {least} to {most}, is {}", internal.max_body),
    );
}

pub(super) fn public(found: &mut Found, public: &Public) {
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
    found.within(
        "public.idle_timeout",
        public.idle_timeout(),
        IDLE_MIN,
        IDLE_MAX,
    );
    found.warn_if(
        public.tls.mode == TlsMode::Off && public.idle_timeout() <= Duration::from_mins(1),
        "public.idle_timeout",
        "is not above 60s: a proxy in front may reuse a connection that is just being closed, and lose a callback",
    );
    let (least, most) = (Duration::from_secs(1), Duration::from_hours(24));
    if !public.self_test.is_zero() {
        found.within("public.self_test", public.self_test, least, most);
    }
    found.warn_if(
        public.drain_timeout < public.request_timeout,
        "public.drain_timeout",
        "is less than public.request_timeout, so a stop may cut a callback short",
    );
}

pub(super) fn tls(found: &mut Found, public: &Public) {
    if !public.has_callbacks() {
        return;
    }
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

pub(super) fn check_internal(found: &mut Found, config: &Config) {
    let Internal {
        listen,
        ref base_url,
        max_connections,
        header_timeout,
        idle_timeout,
        ref api_keys,
        ..
    } = config.internal;
    let public = config.public.listen;
    // Port 0 makes the system choose a port, and it never chooses the same one twice.
    let same_port = public.port() == listen.port() && listen.port() != 0;
    let same_address =
        public.ip() == listen.ip() || public.ip().is_unspecified() || listen.ip().is_unspecified();
    found.error_unless(
        !(same_port && same_address),
        "internal.listen",
        format!("must not be where public.listen is ({public})"),
    );
    if let Some(url) = base_url {
        found.error_unless(
            matches!(url.scheme(), "http" | "https"),
            "internal.base_url",
            "must be http or https",
        );
        found.error_unless(
            url.query().is_none() && url.fragment().is_none(),
            "internal.base_url",
            "must not have a query or a fragment",
        );
    }
    found.warn_if(
        base_url.is_none() && config.archive.enabled && listen.ip().is_unspecified(),
        "internal.base_url",
        "is not set, so the URLs of archived files begin with this machine's loopback address, which other machines cannot use",
    );
    found.error_unless(
        max_connections > 0,
        "internal.max_connections",
        "must be at least 1",
    );
    found.error_unless(
        !header_timeout.is_zero(),
        "internal.header_timeout",
        "must be more than 0",
    );
    found.within("internal.idle_timeout", idle_timeout, IDLE_MIN, IDLE_MAX);
    found.warn_if(
        config.internal.isolate_keys && api_keys.is_empty(),
        "internal.isolate_keys",
        "has no effect without API keys",
    );
    found.error_unless(
        listen.ip().to_canonical().is_loopback() || !api_keys.is_empty(),
        "internal.api_keys",
        format!("missing: internal.listen {listen} is not loopback, so callers need keys; `evolink-receiver keys new` makes one"),
    );
}

pub(super) fn api_keys(found: &mut Found, api_keys: &[ApiKey]) {
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
        for (field, is_zero) in [
            ("submits_per_second", api_key.submits_per_second == Some(0)),
            ("max_waiting", api_key.max_waiting == Some(0)),
            ("daily_submits", api_key.daily_submits == Some(0)),
        ] {
            let message = "must be at least 1; leave it out for no limit, or set disabled";
            found.error_unless(!is_zero, key(field), message);
        }
        let per_second = api_key.submits_per_second.unwrap_or(1);
        let message = format!("must be at most 1000, is {per_second}");
        found.error_unless(per_second <= 1000, key("submits_per_second"), message);
        let credits = api_key.daily_credits;
        found.error_unless(
            credits.is_none_or(|credits| credits > 0.0 && credits <= 1e9),
            key("daily_credits"),
            "must be more than 0, and at most 1000000000; leave it out for no limit",
        );
    }
}
