//! The program logs as much as it can, and neither its log nor its store contains a secret. The
//! secrets here are a sample.

use evolink_receiver::simulator::Simulator;
use serde_json::json;

use super::program::{
    API_KEY, BODY, DATABASE_PASSWORD, EVOLINK_KEY, GUESS, PROMPT, Program, WRONG_KEY,
};
use crate::support::app::callback_body::completed;
use crate::support::until::until;

fn submit_body(prompt: &str) -> String {
    json!({"model": "z-image-turbo", "prompt": format!("{PROMPT} {prompt}")}).to_string()
}

/// Makes valid and invalid submits and callbacks, of every kind that gets a different answer.
async fn live_through_a_day(program: &Program, simulator: &Simulator) {
    for (key, body, expected) in [
        (API_KEY, submit_body("[sim:duration=1ms]"), 200),
        (API_KEY, submit_body("[sim:never-ends,lost-callback]"), 200),
        (API_KEY, submit_body("[sim:no-quota]"), 402),
        (API_KEY, submit_body("[sim:reset,duration=1ms]"), 504),
        (API_KEY, submit_body("[sim:garbage,duration=1ms]"), 504),
        (
            API_KEY,
            json!({"model": "z-image-turbo", "prompt": PROMPT, "sizes": BODY}).to_string(),
            400,
        ),
        (API_KEY, format!("{{\"prompt\": \"{PROMPT}"), 400),
        (WRONG_KEY, submit_body(""), 401),
    ] {
        let (status, answer) = program.submit(key, body).await;
        assert_eq!(status, expected, "{answer}");
    }
    let task = &simulator.tasks()[1];
    let url = task.callback_url.clone().unwrap();
    let (_, token) = url.rsplit_once('/').unwrap();
    let good = completed(&task.id).replace("files.evolink.ai", BODY);
    let failed = good.replace("\"completed\"", "\"failed\"");
    let secret = format!("Bearer {API_KEY}");
    let secrets = [
        ("authorization", secret.as_str()),
        ("cookie", API_KEY),
        ("x-api-key", EVOLINK_KEY),
        ("x-forwarded-authorization", EVOLINK_KEY),
        ("user-agent", EVOLINK_KEY),
    ];
    let with_key = format!("not JSON {EVOLINK_KEY}");
    for (token, headers, body, expected) in [
        (GUESS, &[][..], good.clone(), 404),
        (&format!("{token}x"), &[], good.clone(), 404),
        (&format!("{token}?{GUESS}"), &[], BODY.to_owned(), 400),
        (token, &secrets, format!("not JSON {BODY}"), 400),
        (token, &[], with_key, 400),
        (
            token,
            &secrets,
            good.replace(&task.id, "task-unified-1757165031-somebody"),
            409,
        ),
        (token, &[("content-encoding", "gzip")], good.clone(), 415),
        (token, &[], BODY.repeat(20_000), 413),
        (token, &[], good.clone(), 200),
        (token, &[], good.clone(), 200),
        (token, &secrets, failed, 200),
    ] {
        assert_eq!(program.callback(token, headers, body).await, expected);
    }
    until("the callbacks", || {
        simulator.stats().callbacks_acknowledged >= 3
    })
    .await;
}

#[tokio::test]
async fn i40_neither_the_log_nor_the_store_holds_a_secret() {
    let (mut program, simulator) = Program::start().await;
    live_through_a_day(&program, &simulator).await;
    let database = program.everything_stored().await;
    program.stop();
    let log = program.read("log.stdout") + &program.read("log.stderr");
    assert!(
        log.contains("\"level\":\"TRACE\""),
        "it did log all it could"
    );
    assert!(log.contains("kept in quarantine"), "and what happened");
    let mut everywhere = vec![
        EVOLINK_KEY.to_owned(),
        API_KEY.to_owned(),
        WRONG_KEY.to_owned(),
    ];
    let ring = program.read("callback_tokens.key");
    everywhere.extend(ring.split_whitespace().skip(1).map(str::to_owned));
    for task in simulator.tasks() {
        let url = task.callback_url.unwrap();
        everywhere.push(url.rsplit_once('.').unwrap().1.to_owned());
    }
    everywhere.push(DATABASE_PASSWORD.to_owned());
    assert!(everywhere.len() >= 8, "{everywhere:?}");
    for secret in &everywhere {
        assert!(
            !log.contains(secret),
            "in the log: {}",
            line_with(&log, secret)
        );
        assert!(
            !database.iter().any(|text| text.contains(secret)),
            "in the store: {secret}"
        );
    }
    assert!(
        database.iter().any(|text| text.contains(BODY)),
        "the store was looked at"
    );
    for private in [PROMPT, BODY, GUESS] {
        assert!(
            !log.contains(private),
            "in the log: {}",
            line_with(&log, private)
        );
    }
}

fn line_with<'a>(log: &'a str, text: &str) -> &'a str {
    log.lines()
        .find(|line| line.contains(text))
        .unwrap_or_default()
}
