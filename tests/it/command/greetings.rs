//! What commands that run for long say first: where what is, and what to do next.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use tokio::task::spawn_blocking;

use crate::support::process::place::Place;
use crate::support::process::terminal::Terminal;

#[test]
fn the_simulator_says_its_address_and_what_the_receiver_needs() {
    let mut simulator = Command::new(env!("CARGO_BIN_EXE_evolink-receiver"))
        .args(["simulate", "--listen", "127.0.0.1:0"])
        .env_clear()
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(simulator.stdout.take().unwrap()).lines();
    let lines: Vec<String> = lines.take(3).map(Result::unwrap).collect();
    simulator.kill().unwrap();
    simulator.wait().unwrap();
    let url = lines[0].strip_prefix("simulator  ").unwrap();
    let (host, port) = url.rsplit_once(':').unwrap();
    assert_eq!(host, "http://127.0.0.1");
    assert_ne!(port.parse::<u16>().unwrap(), 0);
    let needed = format!("evolink.base_url to \"{url}\", and evolink.api_key to any key");
    assert!(lines[1].contains(&needed), "{lines:?}");
    assert!(lines[2].contains("simulate --help"), "{lines:?}");
}

#[tokio::test]
async fn the_service_greets_a_person_with_its_addresses_and_the_next_command() {
    let place = Place::new();
    let config = place.config().display().to_string();
    let serving = spawn_blocking(move || {
        let terminal = Terminal {
            ctrl_c_after: Some("--wait"),
            ..Terminal::of(120)
        };
        terminal.run(&["serve", "--config", &config], &[])
    });
    let Some(ended) = serving.await.unwrap() else {
        return;
    };
    assert_eq!(ended.code, Some(0), "{}", ended.stdout);
    let internal = place.internal();
    for line in [
        format!("apps       http://{internal}\n"),
        format!("dashboard  http://{internal}/\n"),
        format!("next       evolink-receiver submit \"a cute cat\" --wait --url http://{internal}"),
    ] {
        assert!(ended.stdout.contains(&line), "{line}: {}", ended.stdout);
    }
    assert!(
        ended.stdout.contains("callbacks  https://"),
        "{}",
        ended.stdout
    );
}
