//! Fills a store by SQL with tasks, as receivers would have written them over a year. 97 % are
//! completed, the rest failed, cancelled or unresolved. There are twenty clients, and the newest
//! thousand tasks are still open.

use evolink_receiver::clock::Clock;
use evolink_receiver::domain::ids::{SubmissionId, TaskId};
use evolink_receiver::domain::timestamp::Timestamp;
use evolink_receiver::store::Store;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection};

/// Tasks in one transaction.
const CHUNK: i64 = 200_000;

/// The newest tasks, which are still open.
const OPEN: i64 = 1000;

pub const CLIENTS: i64 = 20;

/// The time from one task to the next.
const INTERVAL_MS: i64 = 3000;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// The states of the tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    Mixed,
    /// All are open and overdue.
    Open,
}

#[derive(Clone, Debug)]
pub struct Filler {
    pub count: i64,
    stand: Stand,
    now_ms: i64,
}

/// Each database's own expressions, where SQL has no common one. `$1` and `$2` are the first and
/// the last number of a chunk.
struct Dialect {
    numbers: &'static str,
    /// Twelve hexadecimal digits of the time `at`.
    hex_of_time: &'static str,
    /// Twelve hexadecimal digits of `i`.
    hex_of_number: &'static str,
    /// Eight hexadecimal digits of `i`, scattered, no two equal.
    scattered: &'static str,
    digest: &'static str,
    body: (&'static str, &'static str),
}

const SQLITE: Dialect = Dialect {
    numbers: "WITH RECURSIVE n (i) AS (SELECT $1 UNION ALL SELECT i + 1 FROM n WHERE i < $2)",
    hex_of_time: "printf('%012x', at)",
    hex_of_number: "printf('%012x', i)",
    scattered: "printf('%08x', i * 2654435761 % 4294967296)",
    digest: "randomblob(32)",
    body: ("CAST(", " AS BLOB)"),
};

const POSTGRES: Dialect = Dialect {
    numbers: "WITH n (i) AS (SELECT generate_series($1::bigint, $2::bigint))",
    hex_of_time: "lpad(to_hex(at), 12, '0')",
    hex_of_number: "lpad(to_hex(i), 12, '0')",
    scattered: "lpad(to_hex(i * 2654435761 % 4294967296), 8, '0')",
    digest: "decode(md5(i::text) || md5(at::text), 'hex')",
    body: ("convert_to(", ", 'UTF8')"),
};

impl Filler {
    pub fn new(count: i64, stand: Stand) -> Self {
        Self {
            count,
            stand,
            now_ms: Clock::System.now().as_millis(),
        }
    }

    /// Creates the schema, fills it, and returns its size in bytes.
    pub async fn fill(&self, url: &str) -> anyhow::Result<i64> {
        Store::open(url).await?.close().await;
        if url.starts_with("postgres") {
            return self.fill_postgres(url).await;
        }
        self.fill_sqlite(url).await
    }

    async fn fill_sqlite(&self, url: &str) -> anyhow::Result<i64> {
        let mut connection = SqliteConnection::connect(url).await?;
        // No journal is needed: a store whose fill breaks off is thrown away.
        connection
            .execute(
                "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -200000",
            )
            .await?;
        for (first, last) in self.chunks() {
            connection.execute("BEGIN").await?;
            for statement in self.statements(&SQLITE) {
                let query = sqlx::query(AssertSqlSafe(statement));
                query
                    .bind(first)
                    .bind(last)
                    .execute(&mut connection)
                    .await?;
            }
            connection.execute("COMMIT").await?;
        }
        let size = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
        let bytes = sqlx::query_scalar(size).fetch_one(&mut connection).await?;
        connection.close().await?;
        Ok(bytes)
    }

    async fn fill_postgres(&self, url: &str) -> anyhow::Result<i64> {
        let mut connection = PgConnection::connect(url).await?;
        connection.execute("SET synchronous_commit = off").await?;
        for (first, last) in self.chunks() {
            connection.execute("BEGIN").await?;
            for statement in self.statements(&POSTGRES) {
                let query = sqlx::query(AssertSqlSafe(statement));
                query
                    .bind(first)
                    .bind(last)
                    .execute(&mut connection)
                    .await?;
            }
            connection.execute("COMMIT").await?;
        }
        for table in ["task", "event"] {
            let next = format!(
                "SELECT setval(pg_get_serial_sequence('{table}', 'seq'), (SELECT max(seq) FROM {table}))"
            );
            connection.execute(AssertSqlSafe(next)).await?;
        }
        // The state in which autovacuum leaves the tables.
        connection.execute("VACUUM ANALYZE").await?;
        connection.execute("CHECKPOINT").await?;
        let size = "SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class WHERE relname IN ('task', 'observation', 'event')";
        let bytes = sqlx::query_scalar(size).fetch_one(&mut connection).await?;
        connection.close().await?;
        Ok(bytes)
    }

    fn chunks(&self) -> impl Iterator<Item = (i64, i64)> {
        let count = self.count;
        let firsts = (0..).map(|nth| nth * CHUNK + 1);
        firsts
            .take_while(move |first| *first <= count)
            .map(move |first| (first, count.min(first + CHUNK - 1)))
    }

    /// Returns one statement for each table.
    fn statements(&self, dialect: &Dialect) -> [String; 3] {
        let Dialect {
            numbers,
            hex_of_time,
            hex_of_number,
            scattered,
            digest,
            body: (as_bytes, bytes),
        } = dialect;
        let (begin, tomorrow) = (self.first_ms(), self.now_ms + DAY_MS);
        let (first_open, due) = match self.stand {
            Stand::Mixed => (self.count - OPEN + 1, tomorrow),
            Stand::Open => (1, self.now_ms),
        };
        let body = body();
        [
            format!(
                "{numbers}, timed (i, at) AS (SELECT i, {begin} + i * {INTERVAL_MS} FROM n),
                made (i, at, hex, state) AS (SELECT i, at, {hex_of_time}, CASE WHEN i >= {first_open} THEN 'processing'
                    WHEN i % 1000 < 15 THEN 'failed' WHEN i % 1000 < 25 THEN 'cancelled' WHEN i % 1000 < 30 THEN 'unresolved'
                    ELSE 'completed' END FROM timed)
                INSERT INTO task (seq, submission_id, task_id, origin, client, state, progress, source, results_digest,
                    observations, shown, submitted_at, outcome_at, next_poll_at, polls, empty_polls, missed_polls)
                SELECT i, substr(hex, 1, 8) || '-' || substr(hex, 9) || '-7000-8000-' || {hex_of_number},
                    'task-unified-' || (at / 1000) || '-' || {scattered}, 'standing', 'client-' || (i % {CLIENTS}), state,
                    CASE WHEN state = 'completed' THEN 100 ELSE 40 END, 'callback',
                    CASE WHEN state = 'completed' THEN {digest} END, 1, 0, at,
                    CASE WHEN state IN ('completed', 'failed', 'cancelled') THEN at + 8000 END,
                    CASE WHEN state = 'processing' THEN {due} END, 0, 0, 0 FROM made"
            ),
            format!(
                "INSERT INTO observation (id, source, result, at, body)
                SELECT seq * 1024, 'callback', 'recorded', submitted_at + 8000,
                    {as_bytes}replace(replace('{body}', '#id#', task_id), '#state#', state){bytes}
                FROM task WHERE seq BETWEEN $1 AND $2"
            ),
            "INSERT INTO event (task_seq, type, source, observation, at)
            SELECT seq, 'task.' || state, 'callback', 0, submitted_at + 8000 FROM task WHERE seq BETWEEN $1 AND $2"
                .to_owned(),
        ]
    }

    fn first_ms(&self) -> i64 {
        self.now_ms - (self.count + 1) * INTERVAL_MS
    }

    fn time_of(&self, number: i64) -> i64 {
        self.first_ms() + number * INTERVAL_MS
    }

    pub fn submitted_at(&self, number: i64) -> Timestamp {
        Timestamp::from_millis(self.time_of(number))
    }

    pub fn submission_id(&self, number: i64) -> SubmissionId {
        let hex = format!("{:012x}", self.time_of(number));
        let text = format!("{}-{}-7000-8000-{number:012x}", &hex[..8], &hex[8..]);
        text.parse().expect("a submission id")
    }

    pub fn task_id(&self, number: i64) -> TaskId {
        let second = self.time_of(number) / 1000;
        let scattered = number * 2_654_435_761 % 4_294_967_296;
        TaskId::parse(&format!("task-unified-{second}-{scattered:08x}")).expect("a task id")
    }
}

/// Returns a task as EvoLink reports it, about 600 bytes, with placeholders `#id#` and `#state#`.
pub fn body() -> String {
    let url = format!("https://files.evolink.ai/{}/#id#/0.webp", "x".repeat(190));
    serde_json::json!({
        "created": 1_757_165_031, "id": "#id#", "model": "z-image-turbo", "object": "image.generation.task",
        "progress": 100, "results": [url], "status": "#state#", "task_info": {"can_cancel": false, "estimated_time": 10},
        "type": "image", "usage": {"billing_rule": "per_call", "credits_reserved": 0.026, "user_group": "default"}
    })
    .to_string()
}
