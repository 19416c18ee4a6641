//! The limit of connections: it is lowered where the server has few left, and raised slowly.

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::info;

use super::{Readers, State};

/// The delay before the limit is raised by one after a refusal. Each refusal is a line in the
/// server's log.
const GROW_AFTER: Duration = Duration::from_secs(10);

/// How often the free slots are counted, while there are several connections.
const COUNT_INTERVAL: Duration = Duration::from_millis(500);

impl Readers {
    /// The number of connections, idle or not.
    pub(super) fn connections(&self) -> usize {
        Arc::strong_count(&self.0.connections) - 1
    }

    pub(super) fn is_count_due(&self) -> bool {
        let mut state = self.state();
        let is_due = self.connections() > 1
            && state
                .counted_at
                .is_none_or(|at| at.elapsed() >= COUNT_INTERVAL);
        if is_due {
            state.counted_at = Some(Instant::now());
        }
        is_due
    }

    /// Lowers the limit to the connections that there are, but not to none. Returns whether there
    /// are any.
    pub(super) fn lower_to_connections(&self, reason: &dyn Display) -> bool {
        let connections = self.connections();
        self.lower(connections.max(1), reason);
        connections > 0
    }

    /// Lowers the limit. Connections beyond it are closed: idle ones at once, others when their
    /// queries are answered.
    pub(super) fn lower(&self, allowed: usize, reason: &dyn Display) {
        let mut state = self.state();
        state.limited_at = Some(Instant::now());
        if allowed >= state.allowed {
            return;
        }
        if state.allowed == self.0.most {
            info!(reason = %reason, "reads share fewer connections than store.max_connections allows: {reason}");
        }
        state.allowed = allowed;
        self.forget_permits(&mut state);
        while self.connections() > allowed && !state.idle.is_empty() {
            // Dropping is enough: the server ends a session whose client has disconnected.
            state.idle.remove(0);
        }
    }

    /// Takes back permits that are beyond the limit and not in use.
    fn forget_permits(&self, state: &mut State) {
        let surplus = state.permits.saturating_sub(state.allowed);
        state.permits -= self.0.permits.forget_permits(surplus);
    }

    /// Raises the limit by one if it was lowered long ago.
    pub(super) fn grow(&self) {
        let mut state = self.state();
        self.forget_permits(&mut state);
        let is_due = state.allowed < self.0.most
            && state.limited_at.is_none_or(|at| at.elapsed() >= GROW_AFTER);
        if !is_due {
            return;
        }
        state.limited_at = Some(Instant::now());
        state.allowed += 1;
        if state.permits < state.allowed {
            state.permits += 1;
            self.0.permits.add_permits(1);
        }
    }
}
