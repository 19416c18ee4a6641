//! The content of one history, read by SQL on a separate connection.

use serde_json::Value;

use super::guard::Unanswered;
use super::kept::{Kept, without_queries};
use super::model::Content;
use super::quarantine::Held;
use crate::support::store::database::{Bind, Database};

/// Where a history begins in each table.
#[derive(Clone, Debug)]
pub struct Start {
    pub task: i64,
    event: i64,
    quarantine: i64,
    /// The prefix of the history's idempotency keys. It ends in `k`.
    pub prefix: String,
    sql: String,
}

/// Times and numbers of a record, which the model does not know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    pub seq: i64,
    pub submitted_at: i64,
    pub outcome_at: Option<i64>,
    pub next_poll_at: Option<i64>,
    pub polled_at: Option<i64>,
    pub digest: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Look {
    pub content: Content,
    /// The marks of each record, in the same order.
    pub marks: Vec<Marks>,
    /// The epoch, number and content of each event.
    pub events: Vec<(String, String)>,
    /// Something in the store that this look cannot represent.
    pub oddity: Option<String>,
}

/// Reads everything of a history since its start in one query, because the query is what a look
/// costs. The tables are read in order, each sorted by its number. `array`, `hex` and `text` are
/// replaced by the engine's own functions.
const ALL: &str = "
    SELECT CAST(1 AS BIGINT), seq, concat(array(seq, submission_id, task_id, vouched_at, claimed, claimed_at, origin, state, progress, source, shown, polls,
        empty_polls, missed_polls, submitted_at, outcome_at, next_poll_at, polled_at, hex(results_digest), callback_url))
        FROM task WHERE seq > $1
    UNION ALL SELECT 2, id, concat(array(id, source, result, text(body))) FROM observation WHERE id >= ($1 + 1) * 1024
    UNION ALL SELECT 3, seq, concat(array(task_seq, type, observation)) FROM event WHERE seq > $2
    UNION ALL SELECT 4, id, concat(array(id, subject, kind, source, text(body), repeats, replay_result)) FROM quarantine WHERE id > $3
    UNION ALL SELECT 5, 0, concat(array(name, submission_id)) FROM idempotency WHERE name >= $4 AND name < $5
    UNION ALL SELECT 6, id, concat(array(task_seq, (SELECT type FROM event WHERE seq = event_seq), endpoint, url))
        FROM delivery WHERE id >= ($2 + 1) * 1024
    UNION ALL SELECT 7, 0, concat(array(submission_id, hex(fingerprint), holder, lost)) FROM unanswered_submit WHERE client = $4
    UNION ALL SELECT 8, seq, concat(array((SELECT name FROM epoch WHERE epoch.after_seq < event.seq ORDER BY epoch.number DESC LIMIT 1),
        (SELECT submission_id FROM task WHERE task.seq = event.task_seq), type, observation)) FROM event WHERE seq > $2
    ORDER BY 1, 2";

const STARTS: &str =
    "SELECT coalesce((SELECT max(seq) FROM task), 0), coalesce((SELECT max(seq) FROM event), 0),
    coalesce((SELECT max(id) FROM quarantine), 0)";

impl Start {
    /// A string that sorts after each key with the prefix, in any collation.
    pub fn keys_end(&self) -> String {
        format!("{}l", self.prefix.trim_end_matches('k'))
    }

    pub async fn here(eye: &Database, prefix: String) -> Self {
        let (task, event, quarantine) = eye.row(STARTS, &[]).await;
        let all = ALL.replace("array(", eye.either("json_array(", "json_build_array("));
        let all = if eye.is_postgres() {
            all.replace("hex(results_digest)", "encode(results_digest, 'hex')")
                .replace("hex(fingerprint)", "encode(fingerprint, 'hex')")
                .replace("text(body)", "convert_from(body, 'UTF8')")
        } else {
            all.replace("text(body)", "CAST(body AS TEXT)")
        };
        Self {
            task,
            event,
            quarantine,
            prefix,
            sql: all,
        }
    }
}

impl Look {
    pub async fn at(eye: &Database, start: &Start) -> Self {
        let end = start.keys_end();
        let binds = [
            Bind::Int(start.task),
            Bind::Int(start.event),
            Bind::Int(start.quarantine),
            Bind::Text(&start.prefix),
            Bind::Text(&end),
        ];
        let rows: Vec<(i64, i64, String)> = eye.rows(&start.sql, &binds).await;
        let mut look = Self::default();
        for (kind, number, row) in rows {
            look.add(kind, number, &row);
        }
        for record in &mut look.content.records {
            record.results = results_of(record);
        }
        look
    }

    fn add(&mut self, kind: i64, number: i64, row: &str) {
        match kind {
            1 => {
                let (kept, marks) = record_of(serde_json::from_str(row).unwrap());
                self.content.records.push(kept);
                self.marks.push(marks);
            }
            2 => {
                let (id, source, result, body): (i64, String, String, String) =
                    serde_json::from_str(row).unwrap();
                let observations = &mut self.numbered(id / 1024).observations;
                let number = i64::try_from(observations.len()).unwrap();
                observations.push((source, result, body));
                if id % 1024 != number {
                    self.oddity = Some(format!("observation {id} is number {number} of its task"));
                }
            }
            3 => {
                let (seq, kind, observation): (i64, String, Option<i64>) =
                    serde_json::from_str(row).unwrap();
                self.numbered(seq).events.push((kind, observation));
            }
            4 => {
                type Row = (i64, String, String, String, String, i64, Option<String>);
                let row: Row = serde_json::from_str(row).unwrap();
                let (id, subject, kind, way, body, repeats, replayed) = row;
                let held = Held {
                    id,
                    kind,
                    way,
                    repeats,
                    replayed,
                };
                self.content.quarantine.insert((subject, body), held);
            }
            6 => {
                let (seq, event, endpoint, url): (i64, Option<String>, String, Option<String>) =
                    serde_json::from_str(row).unwrap();
                let event = event.unwrap_or_default();
                self.numbered(seq).owed.push((event, endpoint, url));
            }
            7 => {
                let (name, wish, holder, lost): (String, String, String, i64) =
                    serde_json::from_str(row).unwrap();
                let row = Unanswered {
                    wish: u8::from_str_radix(&wish[..2], 16).unwrap(),
                    holder,
                    is_lost: lost != 0,
                };
                self.content.unanswered.insert(name, row);
            }
            8 => {
                let (epoch, submission, kind, observation): (
                    String,
                    Option<String>,
                    String,
                    Option<i64>,
                ) = serde_json::from_str(row).unwrap();
                let what = format!("{submission:?} {kind} {observation:?}");
                self.events.push((format!("{epoch}-{number}"), what));
            }
            _ => {
                let (name, holder): (String, String) = serde_json::from_str(row).unwrap();
                self.content.keys.insert(name, holder);
            }
        }
    }

    /// Returns the record with this number. If it does not exist, adds an empty one and notes the
    /// unexpected row in `oddity`.
    fn numbered(&mut self, seq: i64) -> &mut Kept {
        let at = self.marks.iter().position(|marks| marks.seq == seq);
        let at = at.unwrap_or_else(|| {
            self.oddity = Some(format!("a row of record {seq}, which is not there"));
            self.marks.push(Marks::default());
            self.content.records.push(Kept::default());
            self.marks.len() - 1
        });
        &mut self.content.records[at]
    }

    pub fn find(&self, submission: &str) -> Option<(&Kept, &Marks)> {
        let mut all = self.content.records.iter().zip(&self.marks);
        all.find(|(record, _)| record.submission == submission)
    }
}

fn record_of(row: Vec<Value>) -> (Kept, Marks) {
    let mut columns = row.into_iter();
    let mut next = || columns.next().expect("a column");
    let text = |value: Value| value.as_str().map(str::to_owned);
    let word = |value: Value| value.as_str().unwrap().to_owned();
    let number = |value: Value| value.as_i64().unwrap();
    let mut kept = Kept::default();
    let seq = number(next());
    kept.submission = word(next());
    kept.task = text(next());
    kept.is_vouched = next().is_i64();
    let claimed = text(next());
    kept.claim = claimed.zip(next().as_i64());
    kept.origin = word(next());
    kept.state = word(next());
    kept.progress = number(next());
    kept.source = text(next());
    kept.shown = next().as_i64();
    kept.polls = number(next());
    kept.empty_polls = number(next());
    kept.missed_polls = number(next());
    let marks = Marks {
        seq,
        submitted_at: number(next()),
        outcome_at: next().as_i64(),
        next_poll_at: next().as_i64(),
        polled_at: next().as_i64(),
        digest: text(next()).filter(|digest| !digest.is_empty()),
    };
    kept.callback_url = text(next());
    kept.is_due = marks.next_poll_at.is_some();
    (kept, marks)
}

/// The results that the shown body names, if it is the body of a completed task.
fn results_of(record: &Kept) -> Vec<String> {
    let shown = record.shown.and_then(|shown| usize::try_from(shown).ok());
    let Some((.., body)) = shown.and_then(|shown| record.observations.get(shown)) else {
        return Vec::new();
    };
    if record.state != "completed" {
        return Vec::new();
    }
    let body: Value = serde_json::from_str(body).unwrap();
    let body = body.get("data").unwrap_or(&body);
    let urls = body["results"].as_array().into_iter().flatten();
    let urls: Vec<String> = urls.map(|url| url.as_str().unwrap().to_owned()).collect();
    without_queries(&urls)
}
