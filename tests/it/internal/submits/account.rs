//! EvoLink's answers about our account are not answers about the app: its 401 concerns our key.

use reqwest::Method;

use crate::internal::calls::{generation, state, submission, submit};
use crate::support::app::answer::{get, send};
use crate::support::app::{TestApp, TestAppBuilder};
use crate::support::net::raw_server::{End, RawServer, http};
use crate::support::process::Place;

fn envelope(code: &str) -> String {
    format!(
        r#"{{"error":{{"code":"{code}","message":"Invalid or expired token","type":"authentication_error"}}}}"#
    )
}

fn in_front_of(evolink: &RawServer) -> TestAppBuilder {
    let url = evolink.url.parse().unwrap();
    TestApp::builder().with(|config| config.evolink.base_url = url)
}

/// The value of the gauge in `/metrics`.
async fn gauge(app: &TestApp) -> Option<char> {
    let text = get(app, "/metrics").await.text;
    let name = "evolink_receiver_evolink_key_rejected ";
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|value| value.chars().next())
}

#[tokio::test]
async fn evolinks_401_is_a_502_about_the_receivers_key_and_frees_the_idempotency_key() {
    let evolink = RawServer::start(http(401, &[], &envelope("unauthorized")), End::Close).await;
    let app = in_front_of(&evolink).start().await;
    assert_eq!(gauge(&app).await, Some('0'));
    let key = "a-key-of-one-submit";
    for number in 1..=2 {
        let request = submission(&app, generation("a").to_string());
        let answer = send(request.header("idempotency-key", key)).await;
        answer.assert_error(502, "evolink_key_rejected", None, "our key");
        assert_eq!(answer.header("x-should-retry"), Some("false"));
        assert!(!answer.text.contains("expired token"), "{answer:?}");
        let message = answer.body["error"]["message"].as_str().unwrap();
        assert!(message.contains("(`evolink.api_key`)"), "{message}");
        let id = answer.header("x-submission-id").unwrap();
        assert_eq!(answer.body["error"]["submission_id"], id);
        let task = get(&app, &format!("/v1/tasks/{id}")).await.body;
        assert_eq!(task["receiver"]["state"], "rejected");
        assert_eq!(task["error"]["code"], "evolink_key_rejected");
        // The key is free, so this is a new attempt.
        assert_eq!(evolink.requests().len(), number);
    }
    assert_eq!(gauge(&app).await, Some('1'));
    let counted = "evolink_receiver_submits_total{result=\"key_rejected\"}";
    assert_eq!(app.counter(counted), 2);
    let credits = send(app.request(Method::GET, "/v1/credits")).await;
    credits.assert_error(502, "evolink_key_rejected", None, "credits");
}

#[tokio::test]
async fn a_401_of_a_gateway_is_a_502_too_and_says_nothing_about_the_key() {
    let page = http(401, &[], "<h1>401 Authorization Required</h1>");
    let evolink = RawServer::start(page, End::Close).await;
    let app = in_front_of(&evolink).start().await;
    let answer = submit(&app, &generation("a")).await;
    answer.assert_error(502, "evolink_key_rejected", None, "a gateway");
    let id = answer.header("x-submission-id").unwrap();
    assert_eq!(state(&app, id).await, "rejected");
    assert_eq!(gauge(&app).await, Some('0'));
}

#[tokio::test]
async fn a_rejected_key_is_logged_once_as_an_error_that_names_its_file() {
    let evolink = RawServer::start(http(401, &[], &envelope("unauthorized")), End::Close).await;
    let place = Place::new();
    let file = place.config().with_file_name("evolink.key");
    std::fs::write(&file, "sk-from-a-file\n").unwrap();
    let config = std::fs::read_to_string(place.config()).unwrap();
    let config = config.replace("http://127.0.0.1:1", &evolink.url);
    let key = format!("api_key_file = \"{}\"", file.display());
    let config = config.replace("api_key = \"not-a-key\"", &key);
    std::fs::write(place.config(), config).unwrap();
    let receiver = place.start().await;
    for number in 1..=3 {
        let (status, _) = receiver.submit().await.unwrap();
        assert_eq!((status, evolink.requests().len()), (502, number));
    }
    let log = receiver.log();
    let errors = log.lines().filter(|line| line.contains("ERROR"));
    let errors: Vec<&str> = errors.collect();
    assert_eq!(errors.len(), 1, "{log}");
    assert!(errors[0].contains("evolink.api_key_file"), "{log}");
    receiver.stop().await;
}

#[tokio::test]
async fn a_402_and_a_403_are_passed_on_and_counted_by_themselves() {
    for (status, result) in [(402, "no_credits"), (403, "forbidden")] {
        let body = envelope("insufficient_quota");
        let evolink = RawServer::start(http(status, &[], &body), End::Close).await;
        let app = in_front_of(&evolink).start().await;
        let answer = submit(&app, &generation("a")).await;
        assert_eq!((answer.status, &answer.text), (status, &body));
        let counted = format!("evolink_receiver_submits_total{{result=\"{result}\"}}");
        assert_eq!(app.counter(&counted), 1);
        assert_eq!(gauge(&app).await, Some('0'));
    }
}
