//! The relations between the keys of `[retention]`.

use std::time::Duration;

use super::DAY;
use crate::config::Config;
use crate::config::findings::Found;
use crate::config::sections::Retention;

pub(super) fn retention(found: &mut Found, config: &Config) {
    let Retention {
        tasks,
        events,
        observations,
        results,
        deliveries,
        deliveries_dead,
        quarantine,
        export_to: _,
    } = config.retention.clone();
    found.error_unless(
        results >= DAY,
        "retention.results",
        "must be at least 1d: EvoLink itself keeps results that long",
    );
    found.warn_if(
        config.archive.enabled && results > tasks,
        "retention.results",
        "exceeds retention.tasks, so files are kept for retention.tasks",
    );
    let others = [
        ("retention.events", events),
        ("retention.observations", observations),
        ("retention.deliveries", deliveries),
        ("retention.deliveries_dead", deliveries_dead),
        ("retention.quarantine", quarantine),
    ];
    for (key, kept) in others {
        found.error_unless(kept >= DAY, key, "must be at least 1d");
    }
    let defaults = Retention::default();
    exceeds(found, "events", events, "tasks", tasks, defaults.events);
    let observed = defaults.observations;
    exceeds(
        found,
        "observations",
        observations,
        "tasks",
        tasks,
        observed,
    );
    let of_events = [
        ("deliveries", deliveries, defaults.deliveries),
        ("deliveries_dead", deliveries_dead, defaults.deliveries_dead),
    ];
    for (key, kept, default) in of_events {
        exceeds(found, key, kept, "events", events.min(tasks), default);
    }
}

/// Warns of a value that counts as another one, unless it is the default.
fn exceeds(
    found: &mut Found,
    key: &str,
    kept: Duration,
    other: &str,
    bound: Duration,
    default: Duration,
) {
    found.warn_if(
        kept > bound && kept != default,
        format!("retention.{key}"),
        format!("exceeds retention.{other}, which counts for it too"),
    );
}
