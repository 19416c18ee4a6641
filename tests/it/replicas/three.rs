//! Three receivers with one store, and what is said to them and about them.

use std::collections::HashMap;

use evolink_receiver::domain::callback::Subject;
use evolink_receiver::simulator::{Options, Simulator};
use serde_json::{Value, json};

use crate::support::app::{TestApp, TestAppBuilder};
use crate::support::store::TestStore;
use crate::support::store::database::{Bind, Database};

/// EvoLink accepts this task, and then sends nothing about it.
pub const SILENT: &str = "[sim:never-ends,lost-callback]";

/// Three receivers with one store, one key ring and one clock that stands still, in front of one
/// simulator.
pub struct Replicas {
    pub apps: [TestApp; 3],
    pub simulator: Simulator,
    pub database: Database,
}

/// The answer to a submit, and the token of its callback URL.
pub struct Submit {
    pub submission_id: String,
    pub task_id: String,
    pub token: String,
}

impl Replicas {
    /// `None` where there is no PostgreSQL, after saying so.
    pub async fn start() -> Option<Self> {
        let store = TestStore::on_postgres()?;
        let builder = TestAppBuilder::new(tempfile::tempdir().unwrap(), store)
            .with_manual_clock()
            // Connections stay idle between rounds, and the machine may be slow.
            .with(|config| config.public.header_timeout = std::time::Duration::from_mins(1));
        // Boxed, because each start holds a whole configuration.
        let starting = builder.clone().start_with_simulator(Options::default());
        let (first, simulator) = Box::pin(starting).await;
        let (evolink, public) = (
            first.config.evolink.base_url.clone(),
            first.config.public.base_url.clone(),
        );
        let builder = builder.with(|config| {
            config.evolink.base_url = evolink;
            config.public.base_url = public;
        });
        let second = Box::pin(builder.clone().start()).await;
        let third = Box::pin(builder.start()).await;
        let database = first.database().await;
        Some(Self {
            apps: [first, second, third],
            simulator,
            database,
        })
    }

    /// Submits to replica `at`.
    pub async fn submit(&self, at: usize) -> Submit {
        let app = &self.apps[at];
        let task = app.submitted(SILENT).await;
        let id = task["receiver"]["submission_id"].as_str().unwrap();
        Submit {
            submission_id: id.to_owned(),
            task_id: task["id"].as_str().unwrap().to_owned(),
            token: app.token(&Subject::Submission(id.parse().unwrap())),
        }
    }

    /// The types of the events of one submit, in order.
    pub async fn events(&self, submit: &Submit) -> Vec<String> {
        let sql = "SELECT type FROM event JOIN task ON task.seq = task_seq WHERE submission_id = $1 ORDER BY event.seq";
        let id = Bind::Text(&submit.submission_id);
        self.database.values(sql, &[id]).await
    }

    /// The sum of a counter over all replicas.
    pub fn counted(&self, series: &str) -> u64 {
        self.apps.iter().map(|app| app.counter(series)).sum()
    }

    /// Asserts that each replica has ended every callback that it began, and accepts another.
    pub async fn assert_well(&self) {
        for app in &self.apps {
            let id = format!("task-unified-1757165031-well{:08x}", fastrand::u32(..));
            let token = app.standing_token("well");
            assert_eq!(
                app.callback_result(&token, completed(&id)).await,
                "recorded"
            );
            app.assert_counters_balance();
        }
    }
}

pub fn completed(id: &str) -> String {
    body(id, "completed")
}

pub fn body(id: &str, status: &str) -> String {
    json!({"id": id, "status": status, "progress": 100, "results": ["https://files.evolink.ai/0.webp"]}).to_string()
}

/// Counts each word.
pub fn tally(words: impl IntoIterator<Item = String>) -> HashMap<String, usize> {
    let mut tally = HashMap::new();
    for word in words {
        *tally.entry(word).or_default() += 1;
    }
    tally
}

/// The `data` of a page.
pub fn items(page: &Value) -> Vec<Value> {
    page["data"].as_array().unwrap().clone()
}
