//! Reads the tasks all the time. An outcome that was seen once must stay the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::stage::Stage;
use crate::support::app::TestApp;

type Outcomes = HashMap<String, String>;

#[derive(Default)]
struct Seen {
    outcomes: Outcomes,
    changed: Vec<String>,
    again: usize,
}

pub struct Witness {
    seen: Arc<Mutex<Seen>>,
    looking: JoinHandle<()>,
}

impl Witness {
    pub fn start(stage: &Stage) -> Self {
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let urls: Vec<String> = stage
            .apps
            .iter()
            .map(|app| format!("http://{}/v1/tasks?limit=200", app.internal))
            .collect();
        let (http, shared) = (stage.apps[0].http.clone(), Arc::clone(&seen));
        let looking = tokio::spawn(async move {
            for url in urls.iter().cycle() {
                let answer = http.get(url).send().await.unwrap();
                let status = answer.status().as_u16();
                // A slow machine may answer 503.
                assert!(
                    matches!(status, 200 | 503),
                    "{status} to a look at the list"
                );
                let page: Value = answer.json().await.unwrap();
                let tasks = page["data"].as_array();
                shared
                    .lock()
                    .unwrap()
                    .note(tasks.map_or(&[], Vec::as_slice));
                sleep(Duration::from_millis(150)).await;
            }
        });
        Self { seen, looking }
    }

    /// Reads every task once more. Returns how often an outcome was seen again.
    pub async fn assert_nothing_changed(self, stage: &Stage) -> usize {
        assert!(!self.looking.is_finished(), "it looked until now");
        self.looking.abort();
        for app in &stage.apps {
            let tasks = all_tasks(app).await;
            self.seen.lock().unwrap().note(&tasks);
        }
        let seen = self.seen.lock().unwrap();
        assert!(seen.changed.is_empty(), "{:#?}", seen.changed);
        seen.again
    }
}

impl Seen {
    fn note(&mut self, tasks: &[Value]) {
        for task in tasks {
            if task["receiver"]["outcome_at"].is_null() {
                continue;
            }
            let id = task["receiver"]["submission_id"].as_str().unwrap();
            let now = task.to_string();
            match self.outcomes.get(id) {
                None => {
                    self.outcomes.insert(id.to_owned(), now);
                }
                Some(before) if *before == now => self.again += 1,
                Some(before) => self.changed.push(format!("{before}\nbecame\n{now}")),
            }
        }
    }
}

/// Reads all tasks page by page, the newest first.
pub async fn all_tasks(app: &TestApp) -> Vec<Value> {
    let (mut tasks, mut cursor) = (Vec::new(), String::new());
    loop {
        let (status, page) = app.get(&format!("/v1/tasks?limit=200{cursor}")).await;
        assert_eq!(status, 200, "{page}");
        tasks.extend(page["data"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return tasks,
        }
    }
}
