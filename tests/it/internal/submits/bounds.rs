//! Prompts, sizes and other members of a submit (rows P, Z and N). What is within EvoLink's bounds
//! reaches EvoLink as the app wrote it. What is not within them never leaves this machine.

use evolink_receiver::domain::callback::Subject;
use evolink_receiver::simulator::{Options, Simulator};
use serde_json::{Value, json};

use crate::internal::calls::{SUBMIT, generation, row_counts, submission, submit};
use crate::support::app::TestApp;
use crate::support::app::answer::{Answer, send};

struct Bench {
    app: TestApp,
    evolink: Simulator,
}

impl Bench {
    async fn new() -> Self {
        // The simulator checks requests independently. What it refuses, the receiver should have
        // refused.
        let (app, evolink) = TestApp::start_with_simulator(Options::default()).await;
        Self { app, evolink }
    }

    /// Asserts that EvoLink gets exactly the non-null members of `body` and our callback URL.
    async fn assert_accepted(&self, body: &Value, why: &str) {
        let before = self.evolink.stats().submits;
        let answer = submit(&self.app, body).await;
        self.assert_passed(&answer, body, why);
        assert_eq!(self.evolink.stats().submits, before + 1, "{why}");
    }

    fn assert_passed(&self, answer: &Answer, body: &Value, why: &str) {
        assert_eq!(answer.status, 200, "{why}: {answer:?}");
        let mut sent = self.evolink.submits().pop().unwrap().body;
        let callback_url = sent
            .as_object_mut()
            .unwrap()
            .remove("callback_url")
            .unwrap();
        let wanted = body
            .as_object()
            .unwrap()
            .iter()
            .filter(|(_, value)| !value.is_null());
        let wanted: serde_json::Map<_, _> = wanted
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        assert_eq!(sent, Value::Object(wanted), "{why}");
        // The callback URL is ours, uses https, and belongs to this submission alone.
        let token = callback_url.as_str().unwrap();
        let base_url = format!("https://localhost:{}/callbacks/", self.app.public.port());
        let token = token.strip_prefix(&base_url).unwrap();
        let id = answer.header("x-submission-id").unwrap().parse().unwrap();
        assert_eq!(token, self.app.token(&Subject::Submission(id)), "{why}");
    }

    /// Asserts a 400 with `param`, no record, and nothing sent.
    async fn assert_refused(&self, body: &Value, param: &str) {
        self.assert_bytes_refused(&body.to_string(), Some(param))
            .await;
    }

    async fn assert_bytes_refused(&self, body: &str, param: Option<&str>) {
        let before = (self.evolink.stats().submits, row_counts(&self.app).await[0]);
        let answer = send(submission(&self.app, body)).await;
        answer.assert_error(400, "invalid_request", param, body);
        assert_eq!(answer.body["error"]["type"], "invalid_request_error");
        let after = (self.evolink.stats().submits, row_counts(&self.app).await[0]);
        assert_eq!(after, before, "{body}");
    }
}

fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut body = generation("a cute cat");
    body[name] = value.into();
    body
}

#[tokio::test]
async fn p_prompts_within_the_bound_reach_evolink_scalar_for_scalar() {
    let bench = Bench::new().await;
    let family = "👨\u{200d}👩\u{200d}👧\u{200d}👦";
    assert_eq!(family.chars().count(), 7);
    let good = [
        "a".repeat(2000),
        "é".repeat(2000),
        "e\u{301}".repeat(1000),
        "😀".repeat(2000),
        family.repeat(285),
        "  not trimmed \u{a0}\n".to_owned(),
        "{{7*7}}".to_owned(),
        "'; DROP TABLE task; --".to_owned(),
        "<img onerror=alert(1)>".to_owned(),
        "$(id) `id` %n \u{202e} \u{1b}[31m".to_owned(),
    ];
    for prompt in good {
        bench.assert_accepted(&generation(&prompt), &prompt).await;
    }
    // The same characters, written as escapes.
    let escaped = r"\ud83d\ude00".repeat(2000);
    let answer = send(submission(
        &bench.app,
        format!(r#"{{"model":"z-image-turbo","prompt":"{escaped}"}}"#),
    ))
    .await;
    bench.assert_passed(&answer, &generation(&"😀".repeat(2000)), "escapes");
}

#[tokio::test]
async fn p_prompts_outside_the_bound_go_nowhere() {
    let bench = Bench::new().await;
    let family = "👨\u{200d}👩\u{200d}👧\u{200d}👦";
    let bad = [
        json!("a".repeat(2001)),
        json!(family.repeat(286)),
        json!(""),
        json!(" "),
        json!("\n"),
        json!("\u{3000}\t"),
        json!("a\u{0}b"),
        json!(null),
        json!(7),
        json!([]),
        json!({}),
    ];
    for prompt in bad {
        bench
            .assert_refused(&with("prompt", prompt), "prompt")
            .await;
    }
    bench
        .assert_refused(&json!({"model": "z-image-turbo"}), "prompt")
        .await;
}

#[tokio::test]
async fn z_sizes_within_the_bounds_reach_evolink_and_others_go_nowhere() {
    let bench = Bench::new().await;
    let ratios = [
        "1:1", "2:3", "3:2", "3:4", "4:3", "9:16", "16:9", "1:2", "2:1",
    ];
    let pixels = ["376x376", "1536x1536", "376x1536", "1024x768"];
    for size in ratios.into_iter().chain(pixels) {
        bench.assert_accepted(&with("size", size), size).await;
    }
    // `assert_accepted` checks that the request is sent without a size.
    bench
        .assert_accepted(&generation("a cute cat"), "absent")
        .await;
    let bad = [
        "375x376",
        "376x1537",
        "1536x375",
        "0x0",
        "1024X768",
        "1024×768",
        "1024*768",
        "1024 x 768",
        " 1024x768",
        "1024x768\n",
        "16:10",
        "21:9",
        "5:4",
        "2:2",
        "4:2",
        "",
        "+512x512",
        "0512x512",
        "1024x",
        "x",
        "1024x768x1",
        "99999999999999999999x512",
    ];
    for size in bad {
        bench.assert_refused(&with("size", size), "size").await;
    }
    for size in [json!(1), json!([]), json!(false)] {
        bench.assert_refused(&with("size", size), "size").await;
    }
}

#[tokio::test]
async fn n_other_members_within_their_bounds_reach_evolink_and_others_go_nowhere() {
    let bench = Bench::new().await;
    bench.assert_accepted(&with("seed", 1), "N1").await;
    bench
        .assert_accepted(&with("seed", 2_147_483_647), "N1")
        .await;
    bench
        .assert_accepted(&with("nsfw_check", true), "nsfw_check")
        .await;
    let nulls = json!({"model": "z-image-turbo", "prompt": "a", "seed": null, "size": null, "nsfw_check": null,
        "callback_url": null});
    bench.assert_accepted(&nulls, "N4").await;
    let seeds = [
        "0",
        "-1",
        "-2147483648",
        "2147483648",
        "1.0",
        "1e3",
        "-0",
        "1.5",
        "\"12\"",
        "true",
        "[1]",
        "99999999999999999999",
    ];
    for seed in seeds {
        let body = format!(r#"{{"model":"z-image-turbo","prompt":"a","seed":{seed}}}"#);
        bench.assert_bytes_refused(&body, Some("seed")).await;
    }
    for model in [json!(null), json!(7), json!(""), json!("m".repeat(129))] {
        bench.assert_refused(&with("model", model), "model").await;
    }
    bench.assert_refused(&json!({"prompt": "a"}), "model").await;
    for check in [json!("true"), json!(1), json!(0)] {
        bench
            .assert_refused(&with("nsfw_check", check), "nsfw_check")
            .await;
    }
    for url in [
        "https://example.com/hook",
        "http://10.0.0.1/",
        "https://localhost/",
        "no url",
        "",
    ] {
        bench
            .assert_refused(&with("callback_url", url), "callback_url")
            .await;
    }
    for name in ["n", "quality", "Prompt", "siz"] {
        bench.assert_refused(&with(name, 1), name).await;
    }
}

#[tokio::test]
async fn a_body_that_is_not_one_json_object_has_no_param() {
    let bench = Bench::new().await;
    let deep = format!(
        r#"{{"model":"z-image-turbo","prompt":"a","x":{}}}"#,
        "[".repeat(200) + &"]".repeat(200)
    );
    let bad = [
        "",
        " ",
        "null",
        "[]",
        "\"x\"",
        "7",
        "{",
        "{}{}",
        r#"{"model":"z-image-turbo","prompt":"a"} x"#,
        r#"["z-image-turbo","a"]"#,
        r#"{"model":"z-image-turbo","prompt":"\ud83d"}"#,
        r#"{"model":"z-image-turbo","prompt":"a","prompt":"b"}"#,
        deep.as_str(),
    ];
    for body in bad {
        let before = row_counts(&bench.app).await;
        let answer = send(submission(&bench.app, body)).await;
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        assert_eq!(answer.body["error"]["code"], "invalid_request", "{body}");
        assert_eq!(row_counts(&bench.app).await, before, "{body}");
    }
    for body in ["", "null", "[]", "{", "{}{}"] {
        bench.assert_bytes_refused(body, None).await;
    }
    assert_eq!(bench.evolink.stats().submits, 0);
}

#[tokio::test]
async fn n12_any_json_media_type_in_utf8_is_accepted() {
    let bench = Bench::new().await;
    for content_type in ["application/json; charset=UTF-8", "application/vnd.x+json"] {
        let request = bench
            .app
            .request(reqwest::Method::POST, SUBMIT)
            .header("content-type", content_type);
        let answer = send(request.body(generation("a").to_string())).await;
        bench.assert_passed(&answer, &generation("a"), content_type);
    }
}

#[tokio::test]
async fn unknown_fields_are_passed_on_if_the_operator_says_so() {
    let builder = TestApp::builder().with(|config| config.evolink.allow_unknown_fields = true);
    let (app, evolink) = builder.start_with_simulator(Options::default()).await;
    let bench = Bench { app, evolink };
    bench
        .assert_accepted(&with("quality", json!({"a": [1, "b"]})), "N7")
        .await;
    let twice = r#"{"model":"z-image-turbo","prompt":"p","quality":{"a":1,"a":2}}"#;
    bench.assert_bytes_refused(twice, Some("quality.a")).await;
}
