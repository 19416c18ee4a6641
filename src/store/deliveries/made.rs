//! New deliveries: one for each endpoint that an outcome is owed to, written with the event that tells of it. Where nothing
//! is owed, nothing is written: no statement more.

use super::OF_ONE_EVENT;
use crate::domain::delivery::EndpointKey;
use crate::domain::routes::Routes;
use crate::store::ledger::Ledger;
use crate::store::rows::Rows;
use crate::store::script::Script;

static INSERT: Rows<9> = Rows::new(
    "INSERT INTO delivery (id, event_seq, task_seq, endpoint, url, due_at, holder, lease_until, made_at, state, attempts)
        SELECT *, 'pending', 0 FROM",
    "WHERE column1 IS NOT NULL",
);

/// One event owed to one endpoint.
pub struct NewDelivery {
    /// Where the event is in the ledger.
    event: usize,
    /// Which of the event's deliveries it is.
    number: i64,
    pub endpoint: EndpointKey,
    url: Option<String>,
}

impl Ledger {
    /// Owes each outcome of this batch to the endpoints that `routes` name for it, and to the app's own address.
    pub fn owe(&mut self, routes: &Routes) {
        let events = self.events.iter().enumerate();
        for (event, told) in events.filter(|(_, event)| event.event_type.is_outcome()) {
            let own = self.records[told.record].callback_url.as_deref();
            let owed = (0..).zip(routes.of(told.event_type, own));
            let made = owed.map(|(number, (endpoint, url))| NewDelivery {
                event,
                number,
                endpoint,
                url: url.map(str::to_owned),
            });
            self.deliveries.made.extend(made);
        }
    }
}

/// Born taken by this process. `last`: the number of the last event before this batch.
pub fn insert(
    script: &mut Script,
    ledger: &Ledger,
    last: i64,
    routes: &Routes,
) -> Result<(), sqlx::Error> {
    let now = ledger.now;
    let until = now.after(routes.lease);
    let made = ledger.deliveries.made.iter();
    let rows: Vec<_> = made
        .filter_map(|made| {
            let event_seq = last + 1 + i64::try_from(made.event).ok()?;
            let record = &ledger.records[ledger.events[made.event].record];
            Some([
                (event_seq * OF_ONE_EVENT + made.number).into(),
                event_seq.into(),
                record.seq?.into(),
                made.endpoint.as_str().into(),
                made.url.as_deref().into(),
                now.as_millis().into(),
                routes.holder.as_str().into(),
                until.as_millis().into(),
                now.as_millis().into(),
            ])
        })
        .collect();
    INSERT.add_to(script, &rows)
}
