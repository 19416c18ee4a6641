//! Checks the relations between keys, and warns about values that are allowed but odd. Opens no
//! files.

mod archive;
mod forward;
mod internal_tls;
mod listeners;
mod log;
mod retention;
mod store;

use std::collections::HashSet;
use std::time::Duration;

use super::check_name;
use super::findings::Found;
use super::hosts::{self, Ports};
use super::secret::API_KEY_MISSING;
use super::units::duration;
use super::{ByteSize, Config, Evolink, Level, Quarantine};
use crate::domain::task::confirmation::Confirm;

/// Limited because each batch that adds an entry reads all entries of the same callback URL.
const QUARANTINE_ENTRIES_PER_TOKEN_MAX: usize = 1000;
/// The longest request head that the public listener accepts.
const HEAD_BYTES_MAX: u64 = 16 * 1024;
const DAY: Duration = Duration::from_hours(24);

/// Calls per second. A higher rate would limit nothing.
const RATE_MAX: u32 = 1000;

/// The time from the end of `evolink.timeout` until an app has its answer, or gives up.
const ANSWER_GRACE: Duration = Duration::from_secs(10);

/// Adds all findings, in the order of the sections.
pub(super) fn check(found: &mut Found, config: &Config) {
    listeners::base_url(found, &config.public);
    listeners::public(found, &config.public);
    listeners::tls(found, &config.public);
    listeners::check_internal(found, config);
    internal_tls::check(found, &config.internal);
    listeners::internal_body(found, &config.internal);
    listeners::api_keys(found, &config.internal.api_keys);
    evolink(found, &config.evolink);
    repeat_window(found, config);
    store::store(found, &config.store);
    confirmation(found, config);
    times(found, config);
    quarantine(found, config);
    archive::archive(found, config);
    forward::forward(found, config);
    retention::retention(found, config);
    log::log(found, &config.log);
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

fn repeat_window(found: &mut Found, config: &Config) {
    let (key, window) = ("submits.repeat_window", config.submits.repeat_window);
    let timeout = config.evolink.timeout;
    found.within(key, window, Duration::ZERO, DAY);
    let message = format!(
        "is {}, less than evolink.timeout ({}) plus {}: a submit that an app repeats after a timeout may be older than the window, so it is sent and paid again",
        duration::text(window),
        duration::text(timeout),
        duration::text(ANSWER_GRACE),
    );
    found.warn_if(
        !window.is_zero() && window < timeout + ANSWER_GRACE,
        key,
        message,
    );
}

fn confirmation(found: &mut Found, config: &Config) {
    let (key, confirm) = ("callbacks.confirm", config.callbacks.confirm);
    found.warn_if(
        confirm == Confirm::Suspicious && config.archive.allowed_hosts.is_empty(),
        key,
        "\"suspicious\" is as \"always\" for completed tasks while archive.allowed_hosts is empty: every result is on a host that is not listed",
    );
    let (polls, submits) = (
        config.evolink.polls_per_second,
        config.evolink.submits_per_second,
    );
    let message = format!(
        "is {polls}, less than evolink.submits_per_second ({submits}): callbacks.confirm \"always\" costs a poll a task, so the outcomes of more than {polls} tasks a second wait"
    );
    found.warn_if(
        confirm == Confirm::Always && polls < submits,
        "evolink.polls_per_second",
        message,
    );
}

fn times(found: &mut Found, config: &Config) {
    let reconcile = &config.reconcile;
    let give_up_after = reconcile.give_up_after;
    found.error_unless(
        reconcile.interval_min >= Duration::from_secs(1),
        "reconcile.interval_min",
        "must be at least 1s, because EvoLink limits how often it is polled",
    );
    found.error_unless(
        reconcile.interval_min <= give_up_after,
        "reconcile.interval_min",
        "must not exceed reconcile.give_up_after; otherwise a task is polled only once",
    );
    found.error_unless(
        reconcile.first_poll_after <= give_up_after,
        "reconcile.first_poll_after",
        "must not exceed reconcile.give_up_after; otherwise no task is ever polled",
    );
    let tasks = config.retention.tasks;
    found.error_unless(tasks >= DAY, "retention.tasks", "must be at least 1d");
    found.error_unless(
        tasks >= give_up_after,
        "retention.tasks",
        "must not be less than reconcile.give_up_after; otherwise tasks are forgotten while they are polled",
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
        format!("must be at least {largest}; otherwise a callback of public.max_body with its head could not be kept"),
    );
    found.error_unless(
        max_entries >= max_entries_per_token as u64,
        "quarantine.max_entries",
        "must not be less than quarantine.max_entries_per_token; otherwise one callback URL fills the quarantine",
    );
    found.error_unless(
        max_bytes >= max_bytes_per_token,
        "quarantine.max_bytes",
        "must not be less than quarantine.max_bytes_per_token; otherwise one callback URL fills the quarantine",
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
