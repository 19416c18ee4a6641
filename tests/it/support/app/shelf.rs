//! A store full of tasks, inserted directly, for effects that show only with many tasks.

use evolink_receiver::domain::ids::SubmissionId;
use evolink_receiver::domain::timestamp::Timestamp;

use super::builder::START;
use crate::support::store::database::Database;

/// More tasks than one page of a list scans.
pub const TASKS: i64 = 12_000;

/// Tasks that are made in the same millisecond.
pub const TIES: i64 = 5;

/// A stored task.
#[derive(Clone, Debug)]
pub struct Stored {
    pub submission_id: SubmissionId,
    pub state: &'static str,
    pub client: &'static str,
    pub reference: Option<&'static str>,
    pub at: Timestamp,
}

/// Fills `database`, whose schema exists. Returns the tasks, the newest first.
pub async fn fill(database: &Database) -> Vec<Stored> {
    let tasks: Vec<Stored> = (0..TASKS).map(task).collect();
    let digest = database.either("zeroblob(32)", "decode(repeat('00', 32), 'hex')");
    for (nth, chunk) in tasks.chunks(1000).enumerate() {
        let rows = chunk.iter().enumerate();
        let rows: Vec<String> = rows
            .map(|(at, task)| task.row(nth * 1000 + at + 1, digest))
            .collect();
        database
            .execute(&format!(
                "INSERT INTO task (seq, submission_id, task_id, origin, client, reference, state, progress, source, results_digest,
                    observations, submitted_at, outcome_at, next_poll_at, polls, empty_polls, missed_polls) VALUES {}",
                rows.join(", ")
            ))
            .await;
    }
    if database.is_postgres() {
        database.execute("ANALYZE").await;
    }
    tasks.into_iter().rev().collect()
}

/// All completed tasks are among this many of the oldest. More tasks than one page scans are newer.
const OLD: i64 = 1500;

/// Returns the `n`th task. The old ones are mostly completed, some failed; later ones are failed.
/// The first three are unresolved, a state that no other task has, and one in 1,000 is processing.
fn task(n: i64) -> Stored {
    let at = Timestamp::from_millis(START.as_millis() + n / TIES);
    let time = format!("{:012x}", at.as_millis());
    let id = format!("{}-{}-7000-8000-{n:012x}", &time[..8], &time[8..]);
    let state = match n {
        0..3 => "unresolved",
        _ if n % 1000 == 9 => "processing",
        _ if n > OLD || n % 50 == 7 => "failed",
        _ => "completed",
    };
    let client = match n {
        1 | 2 | 4 => "rare",
        _ if n % 3 == 0 => "batch",
        _ => "web",
    };
    let reference = match n {
        _ if n % 7 == 1 => Some("an order"),
        _ if n % 4000 == 3 => Some("a rare order"),
        _ => None,
    };
    Stored {
        submission_id: id.parse().unwrap(),
        state,
        client,
        reference,
        at,
    }
}

impl Stored {
    fn row(&self, seq: usize, digest: &str) -> String {
        let (id, state, client) = (self.submission_id, self.state, self.client);
        let at = self.at.as_millis();
        let reference = self
            .reference
            .map_or("NULL".to_owned(), |text| format!("'{text}'"));
        let outcome_at = match state {
            "completed" | "failed" => at.to_string(),
            _ => "NULL".to_owned(),
        };
        let digest = match state {
            "completed" => digest,
            _ => "NULL",
        };
        let next_poll_at = match state {
            "processing" => at.to_string(),
            _ => "NULL".to_owned(),
        };
        format!(
            "({seq}, '{id}', 'task-{seq}', 'submit', '{client}', {reference}, '{state}', 0, 'poll', {digest}, 0, {at}, {outcome_at},
                {next_poll_at}, 0, 0, 0)"
        )
    }
}
