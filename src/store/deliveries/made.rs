//! New deliveries: one for each endpoint that wants an outcome, written in the same transaction as
//! the event. If no endpoint wants the outcome, no statement is added.

use super::OF_ONE_EVENT;
use crate::domain::delivery::EndpointKey;
use crate::domain::delivery::routes::Routes;
use crate::store::engine::rows::Rows;
use crate::store::engine::script::Script;
use crate::store::recorder::ledger::Ledger;

static INSERT: Rows<9> = Rows::new(
    "INSERT INTO delivery (id, event_seq, task_seq, endpoint, url, due_at, holder, lease_until, made_at, state, attempts)
        SELECT *, 'pending', 0 FROM",
    "WHERE column1 IS NOT NULL",
);

/// A delivery to be inserted: one event for one endpoint.
pub struct NewDelivery {
    /// The index of the event in the ledger.
    event: usize,
    /// The position among the event's deliveries.
    number: i64,
    pub endpoint: EndpointKey,
    url: Option<String>,
}

impl Ledger {
    /// Creates a delivery of each outcome in this batch, and of each task whose files are archived,
    /// to every endpoint that `routes` name for it. Outcomes also go to the app's own address.
    pub fn create_deliveries(&mut self, routes: &Routes) {
        let events = self.events.iter().enumerate();
        for (event, outcome) in events.filter(|(_, event)| event.event_type.is_delivered()) {
            let own = self.records[outcome.record].callback_url.as_deref();
            let wanted = (0..).zip(routes.of(outcome.event_type, own));
            let made = wanted.map(|(number, (endpoint, url))| NewDelivery {
                event,
                number,
                endpoint,
                url: url.map(str::to_owned),
            });
            self.deliveries.made.extend(made);
        }
    }
}

/// Inserts the new deliveries with this process's lease, so it can send them without claiming
/// first. `last` is the number of the last event before this batch.
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::delivery::routes::Route;
    use crate::domain::delivery::{Holder, LEASE};
    use crate::domain::event::EventType;
    use crate::domain::ids::SubmissionId;
    use crate::domain::task::Task;
    use crate::domain::task::polling::Pace;
    use crate::domain::timestamp::Timestamp;
    use crate::store::deliveries::write;
    use crate::store::engine::script::SqliteScript;
    use crate::store::recorder::ledger::NewEvent;
    use crate::store::recorder::record::{Origin, Record};

    const NOW: Timestamp = Timestamp::from_millis(1_757_165_031_007);

    /// Counts the statements of a batch with this many outcomes and endpoints.
    fn statements(outcomes: usize, endpoints: usize) -> (usize, usize) {
        let second = Duration::from_secs(1);
        let mut ledger = Ledger::new(
            NOW,
            Pace {
                first_poll_after: second,
                interval_min: second,
                give_up_after: second,
            },
        );
        for _ in 0..outcomes {
            let task = Task::new(SubmissionId::new(NOW));
            let record = ledger.add(Record::new(task, Origin::Submit, None));
            ledger.records[record].seq = Some(1);
            ledger.events.push(NewEvent {
                record,
                event_type: EventType::Completed,
                source: None,
                observation: None,
            });
        }
        let standing = (0..endpoints).map(|number| Route {
            endpoint: EndpointKey::standing(&number.to_string()),
            events: vec![EventType::Completed],
        });
        let routes = Routes {
            standing: standing.collect(),
            holder: Holder::new(NOW),
            lease: LEASE,
        };
        let mut script = Script::Sqlite(SqliteScript::default());
        ledger.create_deliveries(&routes);
        insert(&mut script, &ledger, 0, &routes).unwrap();
        write(&mut script, &ledger).unwrap();
        (script.statements(), ledger.deliveries.made.len())
    }

    #[test]
    fn an_outcome_that_no_endpoint_wants_costs_no_statement() {
        assert_eq!(statements(100, 0), (0, 0));
        assert_eq!(statements(0, 2), (0, 0));
        assert_eq!(statements(1, 2), (1, 2));
        assert_eq!(statements(300, 2), (1, 600));
    }
}
