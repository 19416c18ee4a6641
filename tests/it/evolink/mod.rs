//! Our client and an EvoLink that may do anything: accept, refuse, reset, stall, lie, or send
//! garbage.

mod misbehaviour;
mod reads;
mod requests;
mod submit;
mod tls;

use std::time::Duration;

use evolink_receiver::domain::ids::SubmissionId;
use evolink_receiver::domain::kind::Kind;
use evolink_receiver::domain::timestamp::Timestamp;
use evolink_receiver::evolink::{EvolinkClient, SubmitReply, USER_AGENT};
use secrecy::SecretString;
use serde_json::json;
use url::Url;

use crate::support::net::raw_server::http;

const KEY: &str = "sk-evolink-4f1d0c7a2b9e";

const PENDING: &str = r#"{"created":1757165031,"id":"task-unified-1757165031-uyujaw3d","model":"z-image-turbo",
    "object":"image.generation.task","progress":0,"status":"pending","task_info":{"can_cancel":true,"estimated_time":10},
    "type":"image","usage":{"billing_rule":"per_call","credits_reserved":0.026,"user_group":"default"}}"#;

/// Longer than any of these tests takes, even on a busy machine.
const PATIENT: Duration = Duration::from_mins(1);

fn client(base_url: &str) -> EvolinkClient {
    client_with_timeout(base_url, PATIENT)
}

fn client_with_timeout(base_url: &str, timeout: Duration) -> EvolinkClient {
    let url = Url::parse(base_url).unwrap();
    EvolinkClient::new(url, SecretString::from(KEY), timeout, USER_AGENT).unwrap()
}

async fn submit(client: &EvolinkClient) -> SubmitReply {
    let body = json!({"model": "z-image-turbo", "prompt": "a cute cat"});
    let submission_id = SubmissionId::new(Timestamp::from_millis(1_757_165_031_007));
    client
        .submit(Kind::Image, body.to_string().into(), submission_id)
        .await
}
