//! What may happen to replicas and to the PostgreSQL below them: killed, frozen, stopped, cut off, in each other's way.
//! Nothing that was acknowledged is lost, nothing is done twice, nobody waits longer than EvoLink does.
//!
//! Real processes of the program on a real server. A client that logs every answer is the oracle.

mod contention;
mod cut;
mod follower;
mod freeze;
mod hang_up;
mod kill;
pub mod load;
mod news;
mod order;
mod outage;
mod quiet;
mod readers;
mod ready;
pub mod recording;
mod ring;
mod sessions;
mod settings;
mod slots;
mod waits;
mod wake;

use std::time::Duration;

use follower::Follower;
use load::{Load, Report};

use crate::durability::check;
use crate::durability::receiver::{Place, Receiver};
use crate::support::store::TestStore;

/// Equal bodies that were each taken for something new.
const DOUBLED: &str = "SELECT count(*) FROM (SELECT 1 FROM observation WHERE result = 'recorded'
    GROUP BY id / 1024, body HAVING count(*) > 1) AS twice";

/// Three receivers with one store, one key ring, one certificate; and one who reads their events as they come.
struct Replicas {
    places: [Place; 3],
    receivers: [Receiver; 3],
    follower: Follower,
}

impl Replicas {
    async fn start(store: TestStore) -> Self {
        let first_place = Place::on(store);
        // It makes key ring, certificate and schema.
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

    fn store(&self) -> &TestStore {
        self.places[0].store()
    }

    fn load(&self) -> Load {
        Load::start(&self.receivers)
    }

    /// Replica `at` once more, when it has ended.
    async fn start_again(&mut self, at: usize) {
        self.receivers[at] = self.places[at].start().await;
    }

    fn assert_all_run(&mut self) {
        for receiver in &mut self.receivers {
            assert!(receiver.is_running(), "it ended: {}", receiver.log_tail());
        }
    }

    /// What must hold after everything, once the load has stopped.
    async fn assert_whole(&mut self, report: &Report) {
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

/// On a store of the run's server, with `sql` done to the fresh database first. `%` in it is the database's name.
async fn prepared_store(sql: &str) -> Option<TestStore> {
    let store = TestStore::on_postgres()?;
    prepare(&store, sql).await;
    Some(store)
}

async fn prepare(store: &TestStore, sql: &str) {
    let database = store.connect().await;
    let name: String = database.value("SELECT current_database()::text", &[]).await;
    database.execute(&sql.replace('%', &name)).await;
    database.close().await;
}

/// A while during which something may happen or not.
fn moment(random: &mut fastrand::Rng, below: Duration) -> Duration {
    below.mul_f64(random.f64())
}
