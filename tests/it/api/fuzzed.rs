//! Requests that schemathesis makes from the description: every route, with values that fit and
//! values that do not. The service must answer as it says.

use std::process::Command;

use evolink_receiver::config::{ApiKey, ByteSize, KeyDigest, Network, Scope};
use evolink_receiver::simulator::Options;
use tokio::task::spawn_blocking;

use crate::support::app::TestApp;
use crate::support::machine::needs::{Root, are_met};

/// The folder of this test.
const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/api");

const KEY: &str = "a-key-for-everything";

#[tokio::test(flavor = "multi_thread")]
async fn the_service_answers_each_request_as_the_description_says() {
    if !are_met(Root::NotNeeded, &["schemathesis"]) {
        return;
    }
    let builder = TestApp::builder().with(|config| {
        config.archive.enabled = true;
        config.archive.allow_networks = vec![Network::loopback()];
        config.archive.min_free = ByteSize::bytes(0);
        config.evolink.pass_unknown_tasks = true;
        config.internal.api_keys = vec![ApiKey::new(
            "all",
            KeyDigest::of(KEY),
            &[Scope::Submit, Scope::Read, Scope::Admin],
        )];
    });
    let (app, _simulator) = builder.start_with_simulator(Options::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let url = format!("http://{}", app.internal);
    let mut run = Command::new("schemathesis");
    run.current_dir(folder.path())
        .args(["--config-file", &format!("{HERE}/schemathesis.toml")])
        .args(["run", &format!("{url}/openapi.json"), "--url", &url])
        .args(["--header", &format!("Authorization: Bearer {KEY}")])
        .env(
            "SCHEMATHESIS_HOOKS",
            format!("{HERE}/schemathesis_hooks.py"),
        )
        .env("NO_PROXY", "*");
    let output = spawn_blocking(move || run.output()).await.unwrap().unwrap();
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{out}\n{err}");
    app.stop().await.0.unwrap();
}
