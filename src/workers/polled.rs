//! Counts the answers to the polls of all workers.

use crate::evolink::PollReply;
use crate::observe::metrics::{Metrics, PollEnd};

pub fn count(metrics: &Metrics, reply: &PollReply) {
    metrics.poll_ended(match reply {
        PollReply::Seen(_) => PollEnd::Seen,
        PollReply::Gone => PollEnd::Gone,
        PollReply::Throttled { .. } => PollEnd::Throttled,
        PollReply::Failed { .. } | PollReply::Unreadable { .. } => PollEnd::Failed,
    });
}
