//! The forwarder's queries: endpoints with pending deliveries, due deliveries of one endpoint, and
//! disabled endpoints.

use sqlx::FromRow;

use super::row::{DeliveryRow, corrupt, delivery_columns};
use crate::domain::delivery::schedule;
use crate::domain::delivery::{Delivery, DeliveryId, EndpointKey, Holder, LEASE_MAX};
use crate::domain::event::id::EventId;
use crate::domain::ids::SubmissionId;
use crate::domain::timestamp::Timestamp;
use crate::store::epochs::{epoch_of, event_id};
use crate::store::{Store, StoreError, on_pool};

/// An endpoint with pending deliveries. One is due if either time is due by `schedule::is_due`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointWork {
    pub endpoint: EndpointKey,
    pub first_due: Timestamp,
    pub last_due: Timestamp,
}

/// A delivery that is due and that no other process holds.
#[derive(Clone, Debug)]
pub struct DueDelivery {
    pub id: DeliveryId,
    /// The `webhook-id`.
    pub event_id: EventId,
    pub endpoint: EndpointKey,
    /// The app's own address. `None` means the endpoint's URL from the configuration.
    pub url: Option<String>,
    /// The task whose object is sent.
    pub submission_id: SubmissionId,
    /// Attempts made so far.
    pub attempts: u32,
    pub due_at: Timestamp,
    /// The end of our lease, if we hold one. `None` means it must be claimed first.
    pub held_until: Option<Timestamp>,
}

/// A standing endpoint that answered 410 to several deliveries. Nothing is sent to it until an
/// operator retries one of its deliveries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisabledEndpoint {
    pub name: EndpointKey,
    pub since: Timestamp,
    pub reason: String,
}

// Jumps from name to name in the index, however many deliveries each endpoint has.
const ENDPOINTS: &str = "WITH RECURSIVE named (name) AS (
        SELECT min(endpoint) FROM delivery WHERE state = 'pending' AND endpoint > $1
        UNION ALL
        SELECT (SELECT min(endpoint) FROM delivery WHERE state = 'pending' AND endpoint > named.name)
        FROM named WHERE named.name IS NOT NULL
    )
    SELECT name, (SELECT min(due_at) FROM delivery WHERE state = 'pending' AND endpoint = named.name),
        (SELECT max(due_at) FROM delivery WHERE state = 'pending' AND endpoint = named.name)
    FROM named WHERE name IS NOT NULL LIMIT $2";

macro_rules! select_due {
    ($when:literal, $order:literal) => {
        concat!(
            "SELECT ",
            delivery_columns!(),
            ", event_seq, task_seq, url, ",
            epoch_of!("event_seq"),
            " AS event_epoch, (SELECT submission_id FROM task WHERE seq = task_seq) AS submission_id
            FROM delivery WHERE state = 'pending' AND endpoint = $1 AND ",
            $when,
            " AND (holder IS NULL OR holder = $3 OR $4 = 0 OR lease_until <= $5 OR lease_until > $6)
            ORDER BY ",
            $order,
            " LIMIT $7"
        )
    };
}

const DUE: &str = select_due!("due_at <= $2", "due_at");
const DUE_BEYOND: &str = select_due!("due_at > $2", "due_at");
const DUE_NEWEST: &str = select_due!("due_at <= $2", "due_at DESC");

const DISABLED: &str = "SELECT name, disabled_at, reason FROM endpoint ORDER BY name";

/// Each statement here, with the PostgreSQL types of its parameters. An index answers all of them.
pub const STATEMENTS: [(&str, &str); 4] = [
    (ENDPOINTS, "text, bigint"),
    (DUE, "text, bigint, text, bigint, bigint, bigint, bigint"),
    (
        DUE_NEWEST,
        "text, bigint, text, bigint, bigint, bigint, bigint",
    ),
    (
        DUE_BEYOND,
        "text, bigint, text, bigint, bigint, bigint, bigint",
    ),
];

impl Store {
    /// Lists at most `limit` endpoints with pending deliveries, in the order of their names,
    /// starting after `after`.
    pub async fn list_endpoints_with_work(
        &self,
        after: Option<&EndpointKey>,
        limit: u32,
    ) -> Result<Vec<EndpointWork>, StoreError> {
        let rows: Vec<(String, i64, i64)> = on_pool!(self, pool => sqlx::query_as(ENDPOINTS)
            .bind(after.map_or("", EndpointKey::as_str))
            .bind(i64::from(limit))
            .fetch_all(pool))?;
        let work = rows.into_iter().map(|(name, first, last)| EndpointWork {
            endpoint: EndpointKey::parse(&name),
            first_due: Timestamp::from_millis(first),
            last_due: Timestamp::from_millis(last),
        });
        Ok(work.collect())
    }

    /// Lists due deliveries to `endpoint` that `holder` may send, the longest overdue first. Then
    /// come deliveries that a process whose clock was far ahead had scheduled.
    pub async fn list_due_deliveries(
        &self,
        endpoint: &EndpointKey,
        now: Timestamp,
        holder: &Holder,
        limit: u32,
    ) -> Result<Vec<DueDelivery>, StoreError> {
        let mut all = Vec::new();
        for (statement, time) in [(DUE, now), (DUE_BEYOND, schedule::horizon(now))] {
            let room = limit.saturating_sub(u32::try_from(all.len()).unwrap_or(u32::MAX));
            if room > 0 {
                let due = Due {
                    endpoint,
                    holder,
                    now,
                    statement,
                    time,
                };
                all.extend(self.find_due(due, room).await?);
            }
        }
        Ok(all)
    }

    /// Lists the same deliveries, but those that became due last come first.
    pub async fn list_newest_due_deliveries(
        &self,
        endpoint: &EndpointKey,
        now: Timestamp,
        holder: &Holder,
        limit: u32,
    ) -> Result<Vec<DueDelivery>, StoreError> {
        let due = Due {
            endpoint,
            holder,
            now,
            statement: DUE_NEWEST,
            time: now,
        };
        self.find_due(due, limit).await
    }

    async fn find_due(&self, due: Due<'_>, limit: u32) -> Result<Vec<DueDelivery>, StoreError> {
        let (holder, now) = (due.holder, due.now);
        let rows: Vec<DueRow> = on_pool!(self, pool => sqlx::query_as(due.statement)
            .bind(due.endpoint.as_str())
            .bind(due.time.as_millis())
            .bind(holder.as_str())
            .bind(i64::from(self.is_shared()))
            .bind(now.as_millis())
            .bind(now.after(LEASE_MAX).as_millis())
            .bind(i64::from(limit))
            .fetch_all(pool))?;
        rows.into_iter()
            .map(|row| row.due_for(holder, now))
            .collect()
    }

    pub async fn list_disabled_endpoints(&self) -> Result<Vec<DisabledEndpoint>, StoreError> {
        let rows: Vec<(String, i64, String)> =
            on_pool!(self, pool => sqlx::query_as(DISABLED).fetch_all(pool))?;
        let disabled = rows
            .into_iter()
            .map(|(name, since, reason)| DisabledEndpoint {
                name: EndpointKey::parse(&name),
                since: Timestamp::from_millis(since),
                reason,
            });
        Ok(disabled.collect())
    }
}

/// The parameters of one query for due deliveries.
struct Due<'a> {
    endpoint: &'a EndpointKey,
    holder: &'a Holder,
    now: Timestamp,
    statement: &'static str,
    /// The time that `due_at` is compared with.
    time: Timestamp,
}

#[derive(FromRow)]
struct DueRow {
    #[sqlx(flatten)]
    delivery: DeliveryRow,
    event_seq: i64,
    event_epoch: Option<String>,
    url: Option<String>,
    submission_id: Option<String>,
}

impl DueRow {
    fn due_for(self, holder: &Holder, now: Timestamp) -> Result<DueDelivery, StoreError> {
        let id = self.delivery.id;
        let delivery = Delivery::try_from(self.delivery)?;
        let submission_id = self.submission_id.and_then(|text| text.parse().ok());
        let lease = delivery
            .lease
            .filter(|lease| lease.holder == *holder && lease.counts(now));
        Ok(DueDelivery {
            id: delivery.id,
            event_id: event_id(self.event_epoch.as_deref(), self.event_seq)?,
            endpoint: delivery.endpoint,
            url: self.url,
            submission_id: submission_id.ok_or_else(|| corrupt(id, "task_seq"))?,
            attempts: delivery.attempts,
            due_at: delivery.due_at,
            held_until: lease.map(|lease| lease.until),
        })
    }
}
