//! Queries that wait for the outcome of a task.

use std::io;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::time::sleep;

use super::arrivals::Arrivals;
use crate::callback::TaskNumber;
use crate::connection::Endpoint;

/// Queries until the task has ended, and records the outcome.
pub async fn wait(
    endpoint: Endpoint,
    task: TaskNumber,
    seconds: u64,
    arrivals: Arrivals,
) -> anyhow::Result<()> {
    let id = task.id();
    let request = format!("GET /v1/tasks/{id}?wait={seconds} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
    loop {
        let mut connection = connect(&endpoint).await?;
        loop {
            let answer = connection.exchange(request.as_bytes()).await;
            let answer = answer.with_context(|| format!("a wait for {id}"))?;
            let body = String::from_utf8_lossy(answer.body);
            ensure!(answer.status == 200, "answered {} {body}", answer.status);
            if body.contains(r#""status":"completed""#) {
                arrivals.note(answer.body);
                return Ok(());
            }
            if answer.is_last {
                break;
            }
        }
    }
}

/// Connects, with retries: ten thousand connections at once exceed the queue of those to be
/// accepted.
pub async fn connect(endpoint: &Endpoint) -> io::Result<crate::connection::Connection> {
    let mut tries = 0;
    loop {
        match endpoint.connect().await {
            Err(error) if tries == 10 => return Err(error),
            Err(_) => tries += 1,
            connected => return connected,
        }
        sleep(Duration::from_millis(50)).await;
    }
}
