//! JSON of callbacks (rows J1, J2, …): what is accepted as a task body, and what goes to
//! quarantine.

use evolink_receiver::domain::callback::Subject;
use evolink_receiver::domain::ids::SubmissionId;
use serde_json::{Value, json};

use crate::support::app::START as NOW;
use crate::support::app::callback_body::completed;
use crate::support::app::desk::Answer::{self, Q400, Recorded};
use crate::support::app::desk::Desk;

/// A valid body. `ID` stands for the task id, which differs in each row.
const GOOD: &str =
    r#"{"id":"ID","status":"completed","results":["https://files.evolink.ai/a.webp"]}"#;

type Row = (&'static str, Vec<u8>, Answer);

/// `GOOD` with one more member.
fn with(member: &str) -> Vec<u8> {
    GOOD.replacen('}', &format!(",{member}}}"), 1).into_bytes()
}

fn id_with(bytes: &[u8]) -> Vec<u8> {
    [
        br#"{"id":"ID"#.as_slice(),
        bytes,
        br#"","status":"completed"}"#,
    ]
    .concat()
}

fn nested(depth: usize) -> Vec<u8> {
    // The object itself is the first level.
    with(&format!(
        "\"x\":{}{}",
        "[".repeat(depth - 1),
        "]".repeat(depth - 1)
    ))
}

#[rustfmt::skip] // One row per line, so that it reads as a table.
fn rows() -> Vec<Row> {
    let raw = |text: &str| text.as_bytes().to_vec();
    vec![
        ("J1 empty", raw(""), Q400),
        ("J1 white", raw(" \r\n\t"), Q400),
        ("J3 null", raw("null"), Q400),
        ("J3 true", raw("true"), Q400),
        ("J3 1", raw("1"), Q400),
        ("J3 text", raw("\"x\""), Q400),
        ("J3 []", raw("[]"), Q400),
        ("J4", raw(r#"["ID","completed",null,1]"#), Q400),
        ("J4 in an array", raw(&format!("[{GOOD}]")), Q400),
        ("J5", [b"\xef\xbb\xbf", GOOD.as_bytes()].concat(), Recorded),
        ("J5 twice", [b"\xef\xbb\xbf\xef\xbb\xbf", GOOD.as_bytes()].concat(), Q400),
        ("J6 FF", id_with(b"\xff"), Q400),
        ("J6 C0 AF", id_with(b"\xc0\xaf"), Q400),
        ("J6 ED A0 80", id_with(b"\xed\xa0\x80"), Q400),
        ("J6 F5 80 80 80", id_with(b"\xf5\x80\x80\x80"), Q400),
        ("J7", [br#"{"id":"ID","status":"completed","x":"#.as_slice(), b"\"\xff\"}"].concat(), Q400),
        ("J8 in id", id_with(br"\u0000"), Q400),
        ("J8 in status", raw(r#"{"id":"ID","status":"completed\u0000"}"#), Q400),
        ("J9", with(r#""id":"task-unified-other""#), Q400),
        ("J9 the same", with(r#""id":"ID""#), Q400),
        ("J9 by an escape", with(r#""\u0069d":"task-unified-other""#), Q400),
        ("J9 status", with(r#""status":"failed""#), Q400),
        ("J10 60", nested(60), Recorded),
        ("J10 64", nested(64), Recorded),
        ("J10 128", nested(128), Q400),
        ("J10 1,000", nested(1000), Q400),
        ("J10 100,000", nested(100_000), Q400),
        ("J11 keys", with(&(0..20_000).map(|n| format!("\"{n}\":1")).collect::<Vec<_>>().join(",")), Recorded),
        ("J11 text", with(&format!("\"x\":\"{}\"", "y".repeat(200_000))), Recorded),
        ("J11 results", raw(&format!(r#"{{"id":"ID","status":"completed","results":["a"{}]}}"#, ",\"\"".repeat(80_000))), Recorded),
        ("J13", with(r#""__proto__":{"a":1},"constructor":"b","$ref":"c""#), Recorded),
        ("J14 form", raw("id=ID&status=completed"), Q400),
        ("J14 XML", raw("<task><id>ID</id></task>"), Q400),
        ("J14 multipart", raw(&format!("--x\r\nContent-Type: application/json\r\n\r\n{GOOD}\r\n--x--\r\n")), Q400),
        ("J14 HTML", raw("<html><body>502 Bad Gateway</body></html>"), Q400),
        ("J15 in a string", serde_json::to_vec(GOOD).unwrap(), Q400),
        ("J15 data", raw(&format!("{{\"data\":{GOOD}}}")), Recorded),
        ("J15 data twice", raw(&format!("{{\"data\":{{\"data\":{GOOD}}}}}")), Q400),
        ("J15 task_id", raw(&GOOD.replace("\"id\"", "\"task_id\"")), Recorded),
        ("two objects", raw(&format!("{GOOD}{GOOD}")), Q400),
        ("trailing comma", raw(&GOOD.replace("]}", "],}")), Q400),
        ("half a pair", with(r#""x":"\ud800""#), Q400),
        ("white around", raw(&format!(" \r\n\t{GOOD}\n ")), Recorded),
        ("form feed around", raw(&format!("\u{c}{GOOD}")), Q400),
        ("NUL behind", raw(&format!("{GOOD}\0")), Q400),
        ("NaN", with(r#""x":NaN"#), Q400),
    ]
}

fn filled(body: &[u8], id: &str) -> Vec<u8> {
    let mut filled = Vec::new();
    let mut rest = body;
    while let Some(at) = rest.windows(4).position(|four| four == b"\"ID\"") {
        filled.extend([&rest[..=at], id.as_bytes(), b"\""].concat());
        rest = &rest[at + 4..];
    }
    filled.extend(rest);
    filled
}

#[tokio::test]
async fn every_row_of_table_j_is_recorded_or_kept_in_quarantine() {
    let mut desk = Desk::open().await;
    for (name, body, expected) in rows() {
        let submit = desk.bound().await;
        let body = filled(&body, &submit.task_id);
        desk.check(name, &submit, &body, expected).await;
        let state = if expected == Recorded {
            "completed"
        } else {
            "pending"
        };
        assert_eq!(desk.state(&submit).await.0, state, "{name}");
        if expected == Q400 {
            let sql = "SELECT body FROM quarantine WHERE subject = $1";
            let kept: Vec<u8> = desk.database.value(sql, &[submit.bind()]).await;
            assert_eq!(kept, body, "{name}: byte for byte");
            desk.check(
                "then the good one",
                &submit,
                completed(&submit.task_id),
                Recorded,
            )
            .await;
        }
    }
}

#[tokio::test]
async fn j2_no_prefix_of_a_good_body_is_believed() {
    let mut desk = Desk::open().await;
    let good = completed("task-unified-1757165031-uyujaw3d");
    let before = desk.rows().await;
    for length in 0..good.len() {
        // Each has a subject of its own, because at most twenty bodies are kept per subject.
        let token = desk.app.token(&Subject::Submission(SubmissionId::new(NOW)));
        let (status, _) = desk.app.callback(&token, good[..length].to_owned()).await;
        assert_eq!(status, 400, "{}", &good[..length]);
    }
    let after = desk.rows().await;
    assert_eq!(
        after.quarantine - before.quarantine,
        i64::try_from(good.len()).unwrap()
    );
    assert_eq!(
        (after.tasks, after.observations),
        (before.tasks, before.observations)
    );
    desk.assert_well("J2").await;
}

#[tokio::test]
async fn j8_j13_odd_text_is_shown_without_harm_and_kept_as_it_came() {
    let mut desk = Desk::open().await;
    let submit = desk.bound().await;
    let body = format!(
        r#"{{"id":"{}","status":"failed","error":{{"code":"x","message":"a\u0000b"}},"__proto__":{{"a":1}},"$ref":"c","big":12345678901234567890123}}"#,
        submit.task_id
    );
    desk.check("J8", &submit, &body, Recorded).await;
    let url = format!("/v1/tasks/{}", submit.task_id);
    let request = desk.app.request(reqwest::Method::GET, &url);
    let text = request.send().await.unwrap().text().await.unwrap();
    let task: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(task["error"]["message"], "a\u{fffd}b");
    assert_eq!(task["__proto__"], json!({"a": 1}));
    assert_eq!(task["$ref"], "c");
    assert!(text.contains("\"big\":12345678901234567890123"), "{text}");
    let sql = "SELECT body FROM observation ORDER BY at DESC, id DESC";
    let bodies: Vec<Vec<u8>> = desk.database.values(sql, &[]).await;
    assert!(
        bodies.contains(&body.into_bytes()),
        "the raw bytes are kept"
    );
}

#[tokio::test]
async fn j12_an_unusable_progress_is_ignored_and_the_rest_applied() {
    let mut desk = Desk::open().await;
    for progress in [
        "\"50\"",
        "-1",
        "101",
        "18446744073709551616",
        "null",
        "true",
        "50.5",
        "[50]",
        "{}",
    ] {
        let submit = desk.bound().await;
        let body = format!(
            r#"{{"id":"{}","status":"processing","progress":{progress}}}"#,
            submit.task_id
        );
        desk.check(progress, &submit, body, Recorded).await;
        assert_eq!(
            desk.state(&submit).await,
            ("processing".to_owned(), 0),
            "{progress}"
        );
    }
}
