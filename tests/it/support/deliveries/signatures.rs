//! Signatures of deliveries, as independent verifiers judge them: Python's hmac, in a process, and
//! the crate's.

use std::io::Write as _;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use standardwebhooks::Webhook;

use super::endpoint::Received;

pub const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

pub const OTHER_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Errors in the signatures of `deliveries`. Each of `secrets` must have signed, and no other
/// secret.
pub fn faults(deliveries: &[Received], secrets: &[&str]) -> Vec<String> {
    let mut faults = faults_by_python(deliveries, secrets);
    for delivery in deliveries {
        for secret in secrets {
            let verifier = Webhook::new(secret).unwrap();
            if let Err(error) = verifier.verify(&delivery.body, &delivery.headers) {
                faults.push(format!("event {}: {error}", delivery.id()));
            }
        }
    }
    faults
}

fn faults_by_python(deliveries: &[Received], secrets: &[&str]) -> Vec<String> {
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/it/support/deliveries/verify.py"
    );
    let mut python = Command::new("python3")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = deliveries.iter().map(|delivery| {
        let line = json!({
            "secrets": secrets,
            "id": delivery.id(),
            "timestamp": delivery.header("webhook-timestamp"),
            "signature": delivery.header("webhook-signature"),
            "body": BASE64_STANDARD.encode(&delivery.body),
        });
        format!("{line}\n")
    });
    let (lines, mut stdin) = (lines.collect::<String>(), python.stdin.take().unwrap());
    let writing = std::thread::spawn(move || stdin.write_all(lines.as_bytes()).unwrap());
    let output = python.wait_with_output().unwrap();
    writing.join().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.lines().count(), deliveries.len());
    let wrong = said.lines().filter(|line| *line != "ok");
    wrong.map(str::to_owned).collect()
}
