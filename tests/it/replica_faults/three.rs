//! Three receivers in their own processes with one store, and a reader that follows their events.

use std::time::Duration;

use super::follower::Follower;
use super::sessions;
use crate::support::process::replica_load::{Load, Report};
use crate::support::process::{Place, Receiver};
use crate::support::store::{TestStore, check};

/// Counts equal bodies that were recorded as new more than once.
const DOUBLED: &str = "SELECT count(*) FROM (SELECT 1 FROM observation WHERE result = 'recorded'
    GROUP BY id / 1024, body HAVING count(*) > 1) AS twice";

/// Three receivers with one store, one key ring and one certificate, and a reader that follows
/// their events.
pub struct Replicas {
    pub places: [Place; 3],
    pub receivers: [Receiver; 3],
    pub follower: Follower,
}

impl Replicas {
    pub async fn start(store: TestStore) -> Self {
        let first_place = Place::on(store);
        // The first start creates key ring, certificate and schema.
        let first = first_place.start().await;
        let places = [first_place.replica(), first_place.replica()];
        let (second, third) = tokio::join!(places[0].start(), places[1].start());
        let [second_place, third_place] = places;
        Self {
            follower: Follower::start(first_place.store().url()),
            places: [first_place, second_place, third_place],
            receivers: [first, second, third],
        }
    }

    pub fn store(&self) -> &TestStore {
        self.places[0].store()
    }

    pub fn load(&self) -> Load {
        Load::start(&self.receivers)
    }

    /// Starts replica `at` again after it has ended.
    pub async fn start_again(&mut self, at: usize) {
        self.receivers[at] = self.places[at].start().await;
    }

    pub fn assert_all_run(&mut self) {
        for receiver in &mut self.receivers {
            assert!(receiver.is_running(), "it ended: {}", receiver.log_tail());
        }
    }

    /// Asserts what must hold after every test, once the load has stopped.
    pub async fn assert_whole(&mut self, report: &Report) {
        self.assert_all_run();
        let rolled_back = sessions::none_is_left_in_a_transaction(self.store().url()).await;
        let faults = check::faults(self.store(), &report.acknowledged).await;
        assert!(faults.is_empty(), "{faults:#?}");
        let database = self.store().connect().await;
        assert_eq!(database.value::<i64>(DOUBLED, &[]).await, 0, "doubled");
        self.follower.assert_saw_all(&database).await;
        database.close().await;
        println!("{report}; no transaction left open after {rolled_back:?}");
    }
}

/// Returns a store on the server of this test run, after running `sql` on the fresh database. `%`
/// in it stands for the database's name.
pub async fn prepared_store(sql: &str) -> Option<TestStore> {
    let store = TestStore::on_postgres()?;
    prepare(&store, sql).await;
    Some(store)
}

pub async fn prepare(store: &TestStore, sql: &str) {
    let database = store.connect().await;
    let name: String = database.value("SELECT current_database()::text", &[]).await;
    database.execute(&sql.replace('%', &name)).await;
    database.close().await;
}

/// A random time below `below`.
pub fn moment(random: &mut fastrand::Rng, below: Duration) -> Duration {
    below.mul_f64(random.f64())
}
