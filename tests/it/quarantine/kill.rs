//! SIGKILL during replays: each entry has both its mark and its effect, or neither.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::time::sleep;

use crate::support::app::callback_body::completed;
use crate::support::app::quarantine::put;
use crate::support::campaign::{random, rounds};
use crate::support::process::{Place, Receiver};
use crate::support::store::database::{Bind, Database};

/// Entries that are replayed in one round.
const ENTRIES: usize = 60;

/// Replays all of `ids`, in any order, until the receiver is gone. Returns those that were
/// acknowledged.
async fn replay_all(receiver: &Receiver, ids: &[i64]) -> Vec<i64> {
    let asked = stream::iter(ids).map(async |id| {
        let url = format!("http://{}/v1/quarantine/{id}/replay", receiver.internal);
        let answer = receiver.http.post(url).send().await;
        answer
            .is_ok_and(|answer| answer.status().is_success())
            .then_some(*id)
    });
    let answered = asked.buffer_unordered(8).filter_map(std::future::ready);
    answered.collect().await
}

/// Whether the entry has its mark, and the numbers of observations and events of its task.
async fn state_of(database: &Database, id: i64) -> (bool, i64, i64) {
    let sql = "SELECT replayed_at IS NOT NULL,
            (SELECT count(*) FROM task, observation WHERE task.task_id = 'task-' || $2 AND observation.id / 1024 = task.seq
                AND observation.source = 'replay'),
            (SELECT count(*) FROM task, event WHERE task.task_id = 'task-' || $2 AND event.task_seq = task.seq)
        FROM quarantine WHERE id = $1";
    let name = id.to_string();
    database.row(sql, &[Bind::Int(id), Bind::Text(&name)]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_sigkill_an_entry_is_marked_and_recorded_or_neither() {
    let mut random = random();
    let place = Place::new();
    let mut receiver = place.start().await;
    let database = place.store().connect().await;
    let (mut marked, mut unmarked) = (0, 0);
    for round in 0..rounds(8, 100) {
        let mut ids = Vec::new();
        for n in 0..ENTRIES {
            // The number is known in advance, because nothing else adds entries.
            let next: i64 = database
                .value("SELECT coalesce(max(id), 0) + 1 FROM quarantine", &[])
                .await;
            let id = put(
                &database,
                &format!("~load-{round}-{n}"),
                &completed(&format!("task-{next}")),
            )
            .await;
            assert_eq!(id, next);
            ids.push(id);
        }
        let delay = Duration::from_micros(random.u64(..100_000));
        let (answered, ()) = tokio::join!(replay_all(&receiver, &ids), async {
            sleep(delay).await;
            receiver.terminate_hard();
        });
        receiver.kill();
        receiver = place.start().await;
        for id in &ids {
            let state = state_of(&database, *id).await;
            assert!(
                [(true, 1, 1), (false, 0, 0)].contains(&state),
                "round {round}, entry {id}: {state:?}"
            );
            assert!(
                state.0 || !answered.contains(id),
                "round {round}: {id} was acknowledged"
            );
            if state.0 { marked += 1 } else { unmarked += 1 }
        }
        // Then replay all of them, also those that were recorded already.
        assert_eq!(replay_all(&receiver, &ids).await.len(), ENTRIES);
        for id in ids {
            assert_eq!(
                state_of(&database, id).await,
                (true, 1, 1),
                "round {round}, entry {id}"
            );
        }
    }
    println!("killed between {marked} replays that were recorded and {unmarked} that were not");
}
