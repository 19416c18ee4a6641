//! Deliveries: who sends, what became of an attempt, and trying again because an operator wants it.

use crate::store::entry::Receipt;
use crate::store::ledger::Ledger;

impl Ledger {
    pub(super) fn not_yet(&self) -> Receipt {
        let _ = self.now;
        Receipt::Stale
    }
}
