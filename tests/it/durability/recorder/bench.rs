//! A recorder whose worker the test starts itself, and a second connection to its database.

use std::sync::Arc;

use evolink_receiver::clock::Clock;
use evolink_receiver::observe::metrics::Metrics;
use evolink_receiver::store::Store;
use evolink_receiver::store::recorder::{Recorder, RecorderWorker};

use crate::support::recorder::entry::PACE;
use crate::support::store::TestStore;
use crate::support::store::database::{Database, Refused};

/// A store with its recorder, and a second connection.
pub struct Bench {
    pub recorder: Recorder,
    pub database: Database,
    pub home: TestStore,
}

impl Bench {
    /// Returns a bench with its worker, which does not run yet. Entries queued before it runs
    /// become one batch.
    pub async fn new() -> (Self, RecorderWorker) {
        let home = TestStore::new();
        let store = Arc::new(Store::open(home.url()).await.unwrap());
        let (recorder, worker) = Recorder::new(store, Clock::System, PACE, Metrics::new());
        let database = home.connect().await;
        let bench = Self {
            recorder,
            database,
            home,
        };
        (bench, worker)
    }

    /// Makes the database refuse every observation that contains the word "poison" from now on.
    pub async fn refuse_poison(&self, how: &str) {
        let refused = Refused::ObservationsWith("poison");
        self.database.refuse(refused, how).await;
    }

    /// Asserts that the events are numbered from 1 without a gap, whatever was refused meanwhile.
    pub async fn assert_events_are_numbered(&self, count: i64) {
        let numbers: Vec<i64> = self
            .database
            .values("SELECT seq FROM event ORDER BY seq", &[])
            .await;
        assert_eq!(numbers, (1..=count).collect::<Vec<_>>());
    }

    pub async fn kept(&self) -> i64 {
        self.database.value("SELECT count(*) FROM task", &[]).await
    }

    /// Asserts that no transaction is open. On SQLite another connection gets the write lock at
    /// once; on PostgreSQL the server lists its transactions.
    pub async fn assert_no_transaction_is_open(&self) {
        if self.database.is_postgres() {
            let sql = "SELECT query FROM pg_stat_activity WHERE datname = current_database()
                AND pid != pg_backend_pid() AND state LIKE 'idle in transaction%'";
            let open: Vec<String> = self.database.values(sql, &[]).await;
            assert!(open.is_empty(), "{open:?}");
            return;
        }
        for sql in ["PRAGMA busy_timeout = 0", "BEGIN IMMEDIATE", "ROLLBACK"] {
            self.database.execute(sql).await;
        }
    }
}
