//! Checks of the log level.

use crate::config::Log;
use crate::config::closest::closest;
use crate::config::findings::Found;

const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "off"];

/// A part without a level would be taken for a target, and would silence all others.
pub(super) fn log(found: &mut Found, log: &Log) {
    for part in log.level.split(',') {
        let level = part.rsplit_once('=').map_or(part, |(_target, level)| level);
        if LEVELS.contains(&level) {
            continue;
        }
        let meant = closest(level, LEVELS).map(|meant| format!("; did you mean {meant}?"));
        let message = format!(
            "{level:?} is not a level; write {}, also for single targets, as in \"info,sqlx=warn\"{}",
            LEVELS.join(", "),
            meant.unwrap_or_default()
        );
        found.first_error("log.level", message);
    }
}
