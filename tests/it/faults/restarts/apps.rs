//! The apps: each order has a key, and is retried until it gets a definite answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::submit;
use crate::support::described;

/// Interval at which one task is submitted and one callback sent.
const ORDER_EVERY: Duration = Duration::from_millis(50);

/// How long an app retries, which is longer than the longest outage. A submit that was cut off
/// before EvoLink had it never gets a definite answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// How often each status was answered. 0 stands for a connection that was cut or refused.
pub type Statuses = Arc<Mutex<BTreeMap<u16, u64>>>;

pub struct Apps {
    stop: oneshot::Sender<()>,
    statuses: Statuses,
    placing: JoinHandle<()>,
}

impl Apps {
    pub fn start(http: described::Client, base_url: String) -> Self {
        let (stop, stopped) = oneshot::channel();
        let statuses = Statuses::default();
        let placing = tokio::spawn(place_orders(http, base_url, Arc::clone(&statuses), stopped));
        Self {
            stop,
            statuses,
            placing,
        }
    }

    /// Stops new orders, and waits for those that are placed.
    pub async fn stop(self) -> BTreeMap<u16, u64> {
        let _ = self.stop.send(());
        self.placing.await.unwrap();
        self.statuses.lock().unwrap().clone()
    }
}

async fn place_orders(
    http: described::Client,
    base_url: String,
    statuses: Statuses,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut ticks = interval(ORDER_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut orders = JoinSet::new();
    for number in 0.. {
        tokio::select! {
            _ = &mut stopped => break,
            _ = ticks.tick() => {}
        }
        orders.spawn(place(
            number,
            http.clone(),
            base_url.clone(),
            Arc::clone(&statuses),
        ));
    }
    orders.join_all().await;
}

async fn place(number: u32, http: described::Client, base_url: String, statuses: Statuses) {
    let (key, prompt) = (
        format!("the-key-of-order-{number}"),
        format!("order {number}"),
    );
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let answer = submit(&http, &base_url, &key, &prompt).await;
        let status = answer.map_or(0, |(status, _)| status);
        *statuses.lock().unwrap().entry(status).or_default() += 1;
        match status {
            200 => return,
            0 => sleep(Duration::from_millis(200)).await,
            // Unknown until its callback arrives, if EvoLink has the task at all.
            // 429: too many submits at once, and this one was not sent.
            409 | 429 | 503 | 504 => sleep(Duration::from_millis(500)).await,
            other => panic!("{other} is no answer to an order"),
        }
    }
}
