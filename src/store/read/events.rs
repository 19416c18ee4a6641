//! The event log, page by page: the events of all tasks, in the order in which they were recorded.

use bytes::Bytes;
use sqlx::FromRow;
use strum::VariantArray as _;
use tracing::error;

use super::{TaskView, ViewRow};
use crate::domain::event::EventType;
use crate::domain::event::id::{Epochs, EventId};
use crate::domain::observation::Source;
use crate::domain::timestamp::Timestamp;
use crate::store::epochs::{epoch_of, event_id};
use crate::store::recorder::record::record_columns;
use crate::store::results::files_of_task;
use crate::store::{Store, StoreError, on_pool};

/// The limit of events that one page examines for types that may be rare. The page is then short,
/// and the next one begins there.
const ROWS_EXAMINED_MAX: i64 = 10_000;

/// The size limits of a page. `bytes` limits the bodies; only the last event may exceed it. Two
/// hundred of the largest bodies would be half a hundred megabytes.
#[derive(Clone, Copy, Debug)]
pub struct PageSize {
    pub events: u32,
    pub bytes: usize,
}

/// The limit of events read for one task. The events of a task are bounded below it.
const EVENTS_OF_TASK_MAX: i64 = 2048;

/// One event of the log, with everything needed to publish it.
#[derive(Clone, Debug)]
pub struct LoggedEvent {
    pub id: EventId,
    pub event_type: EventType,
    pub source: Option<Source>,
    pub at: Timestamp,
    /// The current task. It has the body shown for the task if the event has no body of its own.
    pub view: TaskView,
    /// The body that the event reports.
    pub body: Option<Bytes>,
}

/// Which events to list. Absent means all.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    pub types: Option<Vec<EventType>>,
    /// The number of a task.
    pub task: Option<i64>,
    /// The client whose tasks the reader may see.
    pub client: Option<String>,
}

/// Events in order.
#[derive(Clone, Debug)]
pub struct EventPage {
    pub events: Vec<LoggedEvent>,
    /// The number of the last event examined.
    pub next: i64,
    /// Whether no event after `next` had been recorded when the page was read.
    pub is_last: bool,
}

/// The result of one read of the log.
#[derive(Debug)]
pub struct EventsRead {
    pub events: Vec<LoggedEvent>,
    /// The number of the last event examined.
    pub upto: i64,
    /// Whether there may be more.
    pub is_cut: bool,
    /// The number of events left out because they cannot be read.
    pub unreadable: u32,
}

/// How many events are read before their size is known, so that a huge page is not in memory before
/// it is cut.
const FIRST_SLICE: u32 = 16;

// The body of the event's own observation. The body of the task is read only where nothing else is
// shown: see `http::internal::tasks::history`.
const PAGE: &str = concat!(
    "SELECT ",
    record_columns!(),
    ", event_seq, event_type, event_source, event_at, ",
    epoch_of!("event_seq"),
    " AS event_epoch,
    (SELECT body FROM observation WHERE id = task.seq * 1024 + event_observation) AS told,
    (SELECT body FROM observation WHERE id = task.seq * 1024 + task.shown AND (event_observation IS NULL
        OR event_source IS NULL OR event_type IN ('task.conflict', 'task.unresolved', 'task.archived')
        OR task.results_order IS NOT NULL)) AS body,
    CASE WHEN event_type IN ('task.completed', 'task.updated', 'task.conflict', 'task.archived') THEN ",
    files_of_task!(),
    " END AS files
    FROM (SELECT seq AS event_seq, task_seq, type AS event_type, source AS event_source,
        observation AS event_observation, at AS event_at FROM event) AS logged
    CROSS JOIN task WHERE task.seq = logged.task_seq AND event_seq > $1 AND event_seq <= $2
        AND event_type IN ($3, $4, $5, $6, $7, $8, $9, $10, $11)
        AND ($13 IS NULL OR task.client = $13)
    ORDER BY event_seq LIMIT $12"
);

// There is no ORDER BY. With one, PostgreSQL might read all events in order instead of sorting
// those of one task.
const OF_TASK: &str = "SELECT seq, type FROM event WHERE task_seq = $1 LIMIT $2";

/// Each statement here that reads events, with the PostgreSQL types of its parameters. An index
/// answers all of them, however many events there are.
pub const STATEMENTS: [(&str, &str); 2] = [
    (
        PAGE,
        "bigint, bigint, text, text, text, text, text, text, text, text, text, bigint, text",
    ),
    (OF_TASK, "bigint, bigint"),
];

impl Store {
    /// Lists the events after `after` that match `filter`. `epochs` are those by which `after` was
    /// resolved.
    ///
    /// # Errors
    /// `EpochChanged` if a new epoch has begun since. `after` may then be another place.
    /// `EventsDeleted` if an event after `after` was deleted since.
    pub async fn list_events(
        &self,
        filter: &EventFilter,
        epochs: &Epochs,
        after: i64,
        size: PageSize,
    ) -> Result<EventPage, StoreError> {
        // Read this first. Events recorded from here on belong to another page.
        let newest = self.newest_within(epochs).await?;
        let page = match filter.task {
            Some(task) => self.page_of_task(task, filter, after, newest, size).await,
            None => self.page_of_log(filter, after, newest, size).await,
        }?;
        // A SQLite file has one process, which does not replace it. A PostgreSQL database may be
        // restored at any time. An epoch never returns, so an unchanged epoch proves that the whole
        // page is from the current one.
        if self.is_shared() {
            self.newest_within(epochs).await?;
        }
        // Events may have been deleted since the position was checked. Whether they were among
        // those that the page would have is not known, so the page is not used.
        self.check_kept(after).await?;
        Ok(page)
    }

    async fn page_of_log(
        &self,
        filter: &EventFilter,
        after: i64,
        newest: i64,
        size: PageSize,
    ) -> Result<EventPage, StoreError> {
        let upto = newest
            .min(after.saturating_add(ROWS_EXAMINED_MAX))
            .max(after);
        let read = self.read_events(after, upto, filter, size).await?;
        let next = if read.is_cut { read.upto } else { upto };
        Ok(EventPage {
            events: read.events,
            next,
            is_last: next >= newest,
        })
    }

    /// Reads the events of one task, which are few and lie far apart in the log.
    async fn page_of_task(
        &self,
        task: i64,
        filter: &EventFilter,
        after: i64,
        newest: i64,
        size: PageSize,
    ) -> Result<EventPage, StoreError> {
        let rows: Vec<(i64, String)> = on_pool!(self, pool => sqlx::query_as(OF_TASK)
            .bind(task)
            .bind(EVENTS_OF_TASK_MAX)
            .fetch_all(pool))?;
        let wanted = rows.into_iter().filter(|(seq, kind)| {
            let is_wanted = kind.parse().is_ok_and(|kind| filter.admits(kind));
            *seq > after && *seq <= newest && is_wanted
        });
        let mut numbers: Vec<i64> = wanted.map(|(seq, _)| seq).collect();
        numbers.sort_unstable();
        let mut page = EventPage {
            events: Vec::new(),
            next: newest.max(after),
            is_last: true,
        };
        let (mut bytes, one) = (
            0,
            PageSize {
                events: 1,
                bytes: 0,
            },
        );
        for seq in numbers {
            if page.events.len() == size.events as usize || bytes > size.bytes {
                page.next = page.events.last().map_or(after, |last| last.id.seq);
                page.is_last = false;
                break;
            }
            let read = self.read_events(seq - 1, seq, filter, one).await?;
            bytes += read.events.iter().map(LoggedEvent::bytes).sum::<usize>();
            page.events.extend(read.events);
        }
        Ok(page)
    }

    /// Reads events with numbers above `after`, up to `upto`.
    pub async fn read_events(
        &self,
        after: i64,
        upto: i64,
        filter: &EventFilter,
        size: PageSize,
    ) -> Result<EventsRead, StoreError> {
        let mut read = EventsRead {
            events: Vec::new(),
            upto: after,
            is_cut: true,
            unreadable: 0,
        };
        let mut bytes = 0;
        let mut slice = size.events.min(FIRST_SLICE);
        while read.events.len() < size.events as usize && bytes <= size.bytes {
            let rows = self.read_slice(read.upto, upto, filter, slice).await?;
            read.is_cut = rows.len() == slice as usize;
            for row in rows {
                bytes += read.add(row);
                if bytes > size.bytes {
                    read.is_cut = true;
                    break;
                }
            }
            if !read.is_cut {
                break;
            }
            slice = next_slice(size, read.events.len(), bytes);
        }
        Ok(read)
    }

    async fn read_slice(
        &self,
        after: i64,
        upto: i64,
        filter: &EventFilter,
        limit: u32,
    ) -> Result<Vec<EventRow>, StoreError> {
        if upto <= after {
            return Ok(Vec::new());
        }
        let types = EventType::VARIANTS.iter();
        let types = types.map(|kind| filter.admits(*kind).then_some(kind.into_str()));
        on_pool!(self, pool => {
            let query = sqlx::query_as(PAGE).bind(after).bind(upto);
            let query = types.fold(query, sqlx::query::QueryAs::bind);
            query.bind(i64::from(limit)).bind(&filter.client).fetch_all(pool)
        })
    }
}

/// Estimates how many events still fit into the page, from the average size so far.
fn next_slice(size: PageSize, events: usize, bytes: usize) -> u32 {
    let left = size
        .events
        .saturating_sub(u32::try_from(events).unwrap_or(u32::MAX));
    let room = size.bytes.saturating_sub(bytes) * events / bytes.max(1);
    left.min(u32::try_from(room).unwrap_or(u32::MAX)).max(1)
}

impl EventFilter {
    pub fn admits(&self, kind: EventType) -> bool {
        self.types
            .as_ref()
            .is_none_or(|types| types.contains(&kind))
    }

    /// Returns whether the filter selects the event.
    pub fn matches(&self, event: &LoggedEvent) -> bool {
        let is_of_task = self.task.is_none() || event.view.record.seq == self.task;
        let client = &event.view.record.client;
        let is_of_client = self.client.is_none() || self.client == *client;
        is_of_task && is_of_client && self.admits(event.event_type)
    }

    pub const fn is_for_all(&self) -> bool {
        self.types.is_none() && self.task.is_none() && self.client.is_none()
    }
}

impl LoggedEvent {
    /// Returns the size of its bodies.
    pub fn bytes(&self) -> usize {
        let length = |body: &Option<Bytes>| body.as_ref().map_or(0, Bytes::len);
        // A shown file is about this large.
        let request = length(&self.view.record.request);
        length(&self.body) + length(&self.view.body) + request + self.view.files.len() * 512
    }
}

impl EventsRead {
    /// Adds an event and returns its size in bytes. An event with an impossible value is skipped,
    /// and its number is missing. Otherwise every reader of the log would stop there for ever.
    fn add(&mut self, row: EventRow) -> usize {
        self.upto = row.event_seq;
        match LoggedEvent::try_from(row) {
            Ok(event) => {
                let bytes = event.bytes();
                self.events.push(event);
                bytes
            }
            Err(error) => {
                error!(event.seq = self.upto, error = %error, "could not read event {}; it is left out of pages and streams: {error}", self.upto);
                self.unreadable += 1;
                0
            }
        }
    }
}

#[derive(FromRow)]
struct EventRow {
    #[sqlx(flatten)]
    view: ViewRow,
    event_seq: i64,
    event_type: String,
    event_source: Option<String>,
    event_at: i64,
    event_epoch: Option<String>,
    told: Option<Vec<u8>>,
}

impl TryFrom<EventRow> for LoggedEvent {
    type Error = StoreError;

    fn try_from(row: EventRow) -> Result<Self, StoreError> {
        let corrupt = StoreError::Corrupt {
            table: "event",
            id: row.event_seq,
            column: "type",
        };
        Ok(Self {
            id: event_id(row.event_epoch.as_deref(), row.event_seq)?,
            event_type: row.event_type.parse().map_err(|_| corrupt)?,
            source: row.event_source.and_then(|text| text.parse().ok()),
            at: Timestamp::from_millis(row.event_at),
            view: row.view.try_into()?,
            body: row.told.map(Bytes::from),
        })
    }
}
