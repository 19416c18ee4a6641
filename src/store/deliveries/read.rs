//! Queries for operators: a page of deliveries, one delivery, and counts by state.

use sqlx::FromRow;

use super::row::{DeliveryRow, corrupt, delivery_columns};
use crate::domain::delivery::{Delivery, DeliveryId, DeliveryState, EndpointKey, ShownState};
use crate::domain::event::EventType;
use crate::domain::event::id::EventId;
use crate::domain::ids::{SubmissionId, TaskId};
use crate::domain::timestamp::Timestamp;
use crate::store::epochs::{epoch_of, event_id};
use crate::store::read::TaskName;
use crate::store::read::overdue::COUNTED_MAX;
use crate::store::{Store, StoreError, on_pool};

/// A delivery with its event and task.
#[derive(Clone, Debug)]
pub struct DeliveryView {
    pub delivery: Delivery,
    pub event_id: EventId,
    pub event_type: EventType,
    pub submission_id: SubmissionId,
    pub task_id: Option<TaskId>,
    /// The app's own address.
    pub url: Option<String>,
    pub made_at: Timestamp,
    /// Whether the endpoint is disabled. Nothing is sent to it until an operator retries a
    /// delivery.
    pub endpoint_disabled: bool,
    /// Whether the endpoint is disabled, or has answered 410 since its last 2xx.
    endpoint_is_gone: bool,
}

/// Which deliveries to list. Absent means all.
#[derive(Clone, Debug, Default)]
pub struct DeliveryFilter {
    pub state: Option<ShownState>,
    pub endpoint: Option<EndpointKey>,
    pub task: Option<TaskName>,
    /// Lists older deliveries than this one, the last of the previous page.
    pub before: Option<DeliveryId>,
}

/// A page of deliveries, newest first.
#[derive(Clone, Debug, Default)]
pub struct DeliveryPage {
    pub deliveries: Vec<DeliveryView>,
    /// `DeliveryFilter::before` of the next page, if there may be one.
    pub next: Option<DeliveryId>,
}

macro_rules! select_view {
    ($from:literal) => {
        concat!(
            "SELECT ",
            delivery_columns!(),
            ", event_seq, url, made_at, ",
            epoch_of!("event_seq"),
            " AS event_epoch, (SELECT type FROM event WHERE seq = event_seq) AS event_type,
            (SELECT submission_id FROM task WHERE seq = delivery.task_seq) AS submission_id,
            (SELECT task_id FROM task WHERE seq = delivery.task_seq) AS task_id,
            (SELECT count(*) FROM endpoint WHERE name = delivery.endpoint) AS disabled,
            (SELECT count(*) FROM endpoint_gone WHERE name = delivery.endpoint) AS gone FROM ",
            $from
        )
    };
}

/// The limit of deliveries that one page examines for a filter that no index serves. Rare matches
/// may take several pages to find, but no page takes long.
const ROWS_EXAMINED_MAX: i64 = 5_000;

/// The limit of deliveries of one task. They are few, because a task has one outcome.
const OF_ONE_TASK_MAX: i64 = super::OF_ONE_EVENT;

const FIND: &str = select_view!("delivery WHERE id = $1");

const PAGE_OF_ANY: &str = select_view!(
    "delivery WHERE id < $1 AND id >= $2 AND ($3 IS NULL OR state = $3) AND ($4 IS NULL OR endpoint = $4)
    ORDER BY id DESC LIMIT $5"
);
const PAGE_OF_STATE: &str = select_view!(
    "delivery WHERE (state, id) < ($3, $1) AND (state, id) >= ($3, $2) AND state <> 'delivered'
        AND ($4 IS NULL OR endpoint = $4) ORDER BY state DESC, id DESC LIMIT $5"
);
const PAGE_OF_HELD: &str = select_view!(
    "delivery WHERE (state, id) < ($3, $1) AND (state, id) >= ($3, $2) AND state <> 'delivered'
        AND ($4 IS NULL OR endpoint = $4)
        AND (EXISTS (SELECT 1 FROM endpoint WHERE name = delivery.endpoint)
            OR EXISTS (SELECT 1 FROM endpoint_gone WHERE name = delivery.endpoint))
    ORDER BY state DESC, id DESC LIMIT $5"
);
const PAGE_OF_NOT_HELD: &str = select_view!(
    "delivery WHERE (state, id) < ($3, $1) AND (state, id) >= ($3, $2) AND state <> 'delivered'
        AND ($4 IS NULL OR endpoint = $4)
        AND NOT EXISTS (SELECT 1 FROM endpoint WHERE name = delivery.endpoint)
        AND NOT EXISTS (SELECT 1 FROM endpoint_gone WHERE name = delivery.endpoint)
    ORDER BY state DESC, id DESC LIMIT $5"
);
const PAGE_OF_DEAD: &str = select_view!(
    "delivery WHERE (endpoint, id) < ($4, $1) AND (endpoint, id) >= ($4, $2) AND state = 'dead' AND $3 = 'dead'
    ORDER BY endpoint DESC, id DESC LIMIT $5"
);
const OF_TASK: &str = select_view!(
    "event JOIN delivery ON id >= event.seq * 1024 AND id < (event.seq + 1) * 1024
    WHERE event.task_seq = (SELECT seq FROM task WHERE task_id = $1) AND id < $2 LIMIT $3"
);
const OF_SUBMISSION: &str = select_view!(
    "event JOIN delivery ON id >= event.seq * 1024 AND id < (event.seq + 1) * 1024
    WHERE event.task_seq = (SELECT seq FROM task WHERE submission_id = $1) AND id < $2 LIMIT $3"
);

const HORIZON_OF_ANY: &str =
    "SELECT id FROM delivery WHERE id < $1 AND $2 IS NULL ORDER BY id DESC LIMIT 1 OFFSET $3";
const HORIZON_OF_STATE: &str = "SELECT id FROM delivery
    WHERE (state, id) < ($2, $1) AND (state, id) >= ($2, 0) AND state <> 'delivered'
    ORDER BY state DESC, id DESC LIMIT 1 OFFSET $3";

// The `LIMIT` is inside, so that the count is bounded too.
const COUNT: &str = "SELECT count(*) FROM
    (SELECT 1 FROM delivery WHERE state = $1 AND state <> 'delivered' LIMIT $2) AS counted";

// Few endpoints are disabled or suspected.
const COUNT_HELD: &str = "SELECT count(*) FROM
    (SELECT 1 FROM (SELECT name FROM endpoint UNION SELECT name FROM endpoint_gone) AS gone
        CROSS JOIN delivery WHERE delivery.endpoint = gone.name AND delivery.state = 'pending' LIMIT $1) AS counted";

/// Each statement here, with the PostgreSQL types of its parameters. An index answers all of them.
pub const STATEMENTS: [(&str, &str); 11] = [
    (FIND, "bigint"),
    (PAGE_OF_ANY, "bigint, bigint, text, text, bigint"),
    (PAGE_OF_STATE, "bigint, bigint, text, text, bigint"),
    (PAGE_OF_HELD, "bigint, bigint, text, text, bigint"),
    (PAGE_OF_NOT_HELD, "bigint, bigint, text, text, bigint"),
    (PAGE_OF_DEAD, "bigint, bigint, text, text, bigint"),
    (OF_TASK, "text, bigint, bigint"),
    (OF_SUBMISSION, "text, bigint, bigint"),
    (HORIZON_OF_ANY, "bigint, text, bigint"),
    (HORIZON_OF_STATE, "bigint, text, bigint"),
    (COUNT, "text, bigint"),
];

impl Store {
    /// A page of at most `limit` deliveries.
    pub async fn list_deliveries(
        &self,
        filter: &DeliveryFilter,
        limit: u32,
    ) -> Result<DeliveryPage, StoreError> {
        let before = filter.before.map_or(i64::MAX, |id| id.0);
        let (rows, horizon) = match &filter.task {
            Some(task) => (self.deliveries_of(task, before).await?, None),
            None => self.page_of_deliveries(filter, before, limit).await?,
        };
        let views = rows.into_iter().map(DeliveryView::try_from);
        let mut deliveries = views.collect::<Result<Vec<_>, _>>()?;
        deliveries.retain(|view| filter.admits(view));
        deliveries.sort_by_key(|view| std::cmp::Reverse(view.delivery.id));
        let more = deliveries.len() > limit as usize;
        deliveries.truncate(limit as usize);
        let last = deliveries.last().map(|last| last.delivery.id);
        Ok(DeliveryPage {
            deliveries,
            next: if more { last } else { horizon },
        })
    }

    pub async fn find_delivery(&self, id: DeliveryId) -> Result<Option<DeliveryView>, StoreError> {
        let row: Option<ViewRow> =
            on_pool!(self, pool => sqlx::query_as(FIND).bind(id.0).fetch_optional(pool))?;
        row.map(DeliveryView::try_from).transpose()
    }

    /// Counts the deliveries in `state`, up to `COUNTED_MAX`. Not for `Delivered`, which has no
    /// index.
    pub async fn count_deliveries(&self, state: DeliveryState) -> Result<i64, StoreError> {
        let count: i64 = on_pool!(self, pool => sqlx::query_scalar(COUNT)
            .bind(state.into_str())
            .bind(i64::from(COUNTED_MAX))
            .fetch_one(pool))?;
        Ok(count)
    }

    /// Counts the pending deliveries that are held, up to `COUNTED_MAX`.
    pub async fn count_held_deliveries(&self) -> Result<i64, StoreError> {
        let count: i64 = on_pool!(self, pool => sqlx::query_scalar(COUNT_HELD)
            .bind(i64::from(COUNTED_MAX))
            .fetch_one(pool))?;
        Ok(count)
    }

    async fn deliveries_of(
        &self,
        task: &TaskName,
        before: i64,
    ) -> Result<Vec<ViewRow>, StoreError> {
        let (sql, name) = match task {
            TaskName::Task(id) => (OF_TASK, id.to_string()),
            TaskName::Submission(id) => (OF_SUBMISSION, id.to_string()),
        };
        on_pool!(self, pool => sqlx::query_as(sql)
            .bind(name)
            .bind(before)
            .bind(OF_ONE_TASK_MAX)
            .fetch_all(pool))
    }

    /// Also returns the last delivery that the page examined, if there are more beyond it.
    async fn page_of_deliveries(
        &self,
        filter: &DeliveryFilter,
        before: i64,
        limit: u32,
    ) -> Result<(Vec<ViewRow>, Option<DeliveryId>), StoreError> {
        let stored = filter.state.map(ShownState::stored);
        let open = stored.filter(|state| *state != DeliveryState::Delivered);
        let (page, horizon) = match (filter.state, &filter.endpoint) {
            (Some(ShownState::Dead), Some(_)) => (PAGE_OF_DEAD, None),
            (Some(ShownState::Dead), None) => (PAGE_OF_STATE, None),
            (Some(ShownState::Held), _) => (PAGE_OF_HELD, Some(HORIZON_OF_STATE)),
            (Some(ShownState::Pending), None) => (PAGE_OF_NOT_HELD, self.horizon_if_held().await?),
            (Some(ShownState::Pending), Some(_)) => (PAGE_OF_NOT_HELD, Some(HORIZON_OF_STATE)),
            (Some(ShownState::Delivered), _) | (None, Some(_)) => {
                (PAGE_OF_ANY, Some(HORIZON_OF_ANY))
            }
            (None, None) => (PAGE_OF_ANY, None),
        };
        let horizon: Option<i64> = match horizon {
            Some(sql) => on_pool!(self, pool => sqlx::query_scalar(sql)
                .bind(before)
                .bind(open.map(<&str>::from))
                .bind(ROWS_EXAMINED_MAX - 1)
                .fetch_optional(pool))?,
            None => None,
        };
        // One row more than is shown tells whether there is a next page.
        let rows = on_pool!(self, pool => sqlx::query_as(page)
            .bind(before)
            .bind(horizon.unwrap_or(0))
            .bind(stored.map(<&str>::from))
            .bind(filter.endpoint.as_ref().map(EndpointKey::as_str))
            .bind(i64::from(limit) + 1)
            .fetch_all(pool))?;
        Ok((rows, horizon.map(DeliveryId)))
    }

    /// Without held deliveries, a page of pending ones skips nothing and needs no horizon.
    async fn horizon_if_held(&self) -> Result<Option<&'static str>, StoreError> {
        let held = self.count_held_deliveries().await?;
        Ok((held > 0).then_some(HORIZON_OF_STATE))
    }
}

impl DeliveryView {
    pub const fn state(&self) -> ShownState {
        ShownState::of(self.delivery.state, self.endpoint_is_gone)
    }
}

impl DeliveryFilter {
    fn admits(&self, view: &DeliveryView) -> bool {
        self.state.is_none_or(|state| view.state() == state)
            && self
                .endpoint
                .as_ref()
                .is_none_or(|endpoint| view.delivery.endpoint == *endpoint)
    }
}

#[derive(FromRow)]
struct ViewRow {
    #[sqlx(flatten)]
    delivery: DeliveryRow,
    event_seq: i64,
    event_epoch: Option<String>,
    url: Option<String>,
    made_at: i64,
    event_type: Option<String>,
    submission_id: Option<String>,
    task_id: Option<String>,
    disabled: i64,
    gone: i64,
}

impl TryFrom<ViewRow> for DeliveryView {
    type Error = StoreError;

    fn try_from(row: ViewRow) -> Result<Self, StoreError> {
        let corrupt = |column| corrupt(row.delivery.id, column);
        let event_type = row
            .event_type
            .and_then(|text| text.parse::<EventType>().ok());
        let submission_id = row.submission_id.and_then(|text| text.parse().ok());
        let task_id = row.task_id.map(|text| TaskId::parse(&text));
        Ok(Self {
            event_id: event_id(row.event_epoch.as_deref(), row.event_seq)?,
            event_type: event_type.ok_or_else(|| corrupt("event_seq"))?,
            submission_id: submission_id.ok_or_else(|| corrupt("task_seq"))?,
            task_id: task_id
                .map(|parsed| parsed.ok_or_else(|| corrupt("task_seq")))
                .transpose()?,
            endpoint_disabled: row.disabled > 0,
            endpoint_is_gone: row.disabled > 0 || row.gone > 0,
            url: row.url,
            made_at: Timestamp::from_millis(row.made_at),
            delivery: row.delivery.try_into()?,
        })
    }
}
