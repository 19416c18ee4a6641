//! Applies each entry of a batch to the ledger, in order, by the rules of the domain.

mod deliveries;
mod files;
mod observations;
mod polls;
mod submits;

use super::entry::{Entry, Receipt};
use super::ledger::Ledger;

impl Ledger {
    pub fn apply(&mut self, entry: &Entry) -> Receipt {
        match entry {
            Entry::Intent(intent) => self.intend(intent),
            Entry::Observed {
                subject,
                observation,
                source,
                headers,
            } => self.observe(subject, observation, *source, *source, headers),
            Entry::Unreadable {
                subject,
                source,
                body,
                reason,
                headers,
            } => self.keep_unreadable(subject, *source, body, reason, headers),
            Entry::FromQuarantine {
                id,
                subject,
                observation,
            } => self.replay(*id, subject, observation),
            Entry::SubmitEnded {
                submission_id,
                ended,
            } => self.end_submit(*submission_id, ended),
            Entry::PollBegun {
                submission_id,
                lease,
            } => self.begin_poll(*submission_id, *lease),
            Entry::PollEnded {
                submission_id,
                ended,
            } => self.end_poll(*submission_id, *ended),
            Entry::GaveUp { submission_id } => self.give_up(*submission_id),
            Entry::DeliveryClaimed { id, holder, lease } => {
                self.claim_delivery(*id, holder, *lease)
            }
            Entry::DeliveryEnded {
                id,
                holder,
                attempt,
                end,
                jitter,
            } => self.end_delivery(*id, holder, *attempt, end, *jitter),
            Entry::DeliveryRetried { id } => self.retry_delivery(*id),
            Entry::HeldExpired { endpoint } => self.expire_held(endpoint),
            Entry::DeliveriesRetried { endpoint, limit } => {
                self.retry_deliveries(endpoint.as_ref(), *limit)
            }
            Entry::File(entry) => self.apply_to_files(entry),
            Entry::Retention(deletion) => self.delete_old(deletion),
            Entry::AppAnswered { submission_id } => {
                self.unanswered.remove(*submission_id);
                self.unanswered.answered.push(*submission_id);
                Receipt::Done
            }
            Entry::AppLost { submission_id } => {
                self.unanswered.lose(*submission_id);
                Receipt::Done
            }
            Entry::AppsWait { waiting } => {
                self.unanswered.touched.extend(waiting);
                Receipt::Done
            }
        }
    }
}
