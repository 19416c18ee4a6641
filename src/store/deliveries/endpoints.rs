//! The 410 responses of standing endpoints, and which endpoints are disabled. All replicas share
//! these rows, and only the recorder writes them.

use super::batch::{Deliveries, EndpointChange};
use crate::domain::delivery::gone::{GoneAnswer, GoneAnswers};
use crate::domain::delivery::{DeliveryId, EndpointKey};
use crate::domain::timestamp::Timestamp;
use crate::store::StoreError;
use crate::store::engine::rows::Rows;
use crate::store::engine::script::Script;
use crate::store::engine::writer::{Writer, on_writer};
use crate::store::recorder::ledger::Ledger;

/// The reason that is stored for a disabled endpoint.
const REASON: &str = "it answered 410 to several deliveries";

// Both tables are nearly always empty. Delivery 0 does not exist; here it stands for a disabled
// endpoint.
const LOAD: &str = "SELECT name, 0, disabled_at FROM endpoint
    UNION ALL SELECT name, delivery_id, at FROM endpoint_gone";

static DISABLE: Rows<3> = Rows::insert("endpoint", ["name", "disabled_at", "reason"]);

static ENABLE: Rows<1> = Rows::new(
    "DELETE FROM endpoint WHERE name IN (SELECT column1 FROM",
    ")",
);

static FORGET_GONE: Rows<1> = Rows::new(
    "DELETE FROM endpoint_gone WHERE name IN (SELECT column1 FROM",
    ")",
);

static INSERT_GONE: Rows<3> = Rows::insert("endpoint_gone", ["name", "delivery_id", "at"]);

impl Deliveries {
    /// Counts a 410 response of `endpoint` to `delivery`. Ignored for an app's own address: other
    /// apps may have addresses at the same host.
    pub fn endpoint_said_gone(
        &mut self,
        endpoint: &EndpointKey,
        delivery: DeliveryId,
        now: Timestamp,
    ) {
        if !endpoint.is_standing() || self.disabled.contains(endpoint) {
            return;
        }
        let answers = self.gone.entry(endpoint.clone()).or_default();
        let change = if answers.add(delivery, now) {
            self.gone.remove(endpoint);
            self.disabled.insert(endpoint.clone());
            EndpointChange::Disabled
        } else {
            EndpointChange::Suspected
        };
        self.endpoints.insert(endpoint.clone(), change);
    }

    /// Enables `endpoint` again, and forgets its 410 responses.
    pub fn enable(&mut self, endpoint: &EndpointKey) {
        let was_disabled = self.disabled.remove(endpoint);
        let was_suspected = self.gone.remove(endpoint).is_some();
        if !was_disabled && !was_suspected {
            return;
        }
        self.endpoints
            .insert(endpoint.clone(), EndpointChange::Enabled);
    }
}

/// Loads all disabled and suspected endpoints.
pub async fn load(writer: &mut Writer, deliveries: &mut Deliveries) -> Result<(), StoreError> {
    let rows: Vec<(String, i64, i64)> =
        on_writer!(writer, connection => sqlx::query_as(LOAD).fetch_all(connection))?;
    for (name, delivery, at) in rows {
        let endpoint = EndpointKey::parse(&name);
        if delivery == 0 {
            deliveries.disabled.insert(endpoint);
            continue;
        }
        let answers = deliveries.gone.entry(endpoint).or_default();
        answers.restore(GoneAnswer {
            delivery: DeliveryId(delivery),
            at: Timestamp::from_millis(at),
        });
    }
    Ok(())
}

/// Writes the endpoints that changed.
pub fn write(script: &mut Script, ledger: &Ledger) -> Result<(), sqlx::Error> {
    let deliveries = &ledger.deliveries;
    let (mut changed, mut disabled, mut gone) = (Vec::new(), Vec::new(), Vec::new());
    for (endpoint, change) in &deliveries.endpoints {
        let name = endpoint.as_str().into();
        changed.push([name]);
        match change {
            EndpointChange::Suspected => {
                let answers = deliveries.gone.get(endpoint);
                let answers = answers.into_iter().flat_map(GoneAnswers::answers);
                gone.extend(answers.map(|answer| {
                    let (delivery, at) = (answer.delivery.0, answer.at.as_millis());
                    [name, delivery.into(), at.into()]
                }));
            }
            EndpointChange::Disabled => {
                disabled.push([name, ledger.now.as_millis().into(), REASON.into()]);
            }
            EndpointChange::Enabled => {}
        }
    }
    // An endpoint may have changed more than once in this batch: only its last state is written.
    ENABLE.add_to(script, &changed)?;
    FORGET_GONE.add_to(script, &changed)?;
    DISABLE.add_to(script, &disabled)?;
    INSERT_GONE.add_to(script, &gone)
}
