//! The manifests for Kubernetes, the unit for systemd, the files for Compose and the configuration
//! in them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::machine::needs::{Root, are_met};

const OVERLAYS: [&str; 2] = ["sqlite", "postgres"];

fn run(program: &str, args: &[&str]) -> Output {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
    output
}

#[test]
fn kubernetes_knows_every_member_of_the_manifests() {
    if !are_met(Root::NotNeeded, &["kubectl", "kubernetes-validate"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for overlay in OVERLAYS {
        let path = format!("deploy/kubernetes/overlays/{overlay}");
        let manifests = run("kubectl", &["kustomize", &path]).stdout;
        let file = folder.path().join(format!("{overlay}.yaml"));
        fs::write(&file, &manifests).unwrap();
        let validated = run("kubernetes-validate", &["--strict", file.to_str().unwrap()]);
        let [out, err] =
            [validated.stdout, validated.stderr].map(|text| String::from_utf8(text).unwrap());
        let said = format!("{out}{err}");
        for kind in [
            "deployment",
            "service",
            "poddisruptionbudget",
            "networkpolicy",
            "secret",
        ] {
            let passed = format!("passed for resource {kind}/");
            assert!(said.contains(&passed), "{overlay}: {kind}: {said}");
        }
    }
}

#[test]
fn the_configuration_in_the_manifests_is_valid() {
    for overlay in OVERLAYS {
        let folder = tempfile::tempdir().unwrap();
        let path = format!("deploy/kubernetes/overlays/{overlay}/config.toml");
        let text = fs::read_to_string(path).unwrap();
        let mut secrets = vec![(
            "evolink_api_key",
            "sk-example-of-a-key-of-evolink".to_owned(),
        )];
        if overlay == "postgres" {
            let ring = run(
                env!("CARGO_BIN_EXE_evolink-receiver"),
                &["keys", "new", "--ring"],
            );
            let hooks = run(
                env!("CARGO_BIN_EXE_evolink-receiver"),
                &["keys", "new", "--webhook"],
            );
            secrets.push((
                "callback_tokens.key",
                String::from_utf8(ring.stdout).unwrap(),
            ));
            secrets.push(("forward.whsec", String::from_utf8(hooks.stdout).unwrap()));
            secrets.push(("db_password", "an-example-password".to_owned()));
        }
        for (name, secret) in secrets {
            assert!(overlay == "sqlite" || name == "evolink_api_key" || text.contains(name));
            let manifest = format!("deploy/kubernetes/overlays/{overlay}/secret.yaml");
            let manifest = fs::read_to_string(manifest).unwrap();
            assert!(
                manifest.contains(&format!("  {name}: ")),
                "{overlay}: {name}"
            );
            fs::write(folder.path().join(name), secret).unwrap();
        }
        let place = folder.path().to_str().unwrap();
        let text = text.replace("/run/secrets/receiver", place);
        let file = folder.path().join("config.toml");
        fs::write(&file, text).unwrap();
        let mut check = Command::new(env!("CARGO_BIN_EXE_evolink-receiver"));
        check.args(["check", "--config"]).arg(&file).env_clear();
        check.env("AWS_REGION", "eu-central-1");
        check.env("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
        let key_file = format!("{place}/evolink_api_key");
        check.env("EVOLINK_RECEIVER__EVOLINK__API_KEY_FILE", key_file);
        let output = check.current_dir(folder.path()).output().unwrap();
        // The database and the bucket are not there, but every value can be.
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            said.contains("all values can hold"),
            "{overlay}: {output:?}"
        );
    }
}

#[test]
fn systemd_accepts_the_unit_and_finds_it_confined() {
    if !are_met(Root::NotNeeded, &["systemd-analyze"]) {
        return;
    }
    let unit = fs::read_to_string("deploy/systemd/evolink-receiver.service").unwrap();
    let program = env!("CARGO_BIN_EXE_evolink-receiver");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("evolink-receiver.service");
    fs::write(
        &file,
        unit.replace("/usr/local/bin/evolink-receiver", program),
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let verified = run("systemd-analyze", &["verify", file]);
    let said = String::from_utf8(verified.stderr).unwrap();
    assert!(!said.contains("evolink-receiver.service:"), "{said}");
    // 10 is open, 0 is closed. A web server of Debian has 9.
    let args = ["security", "--offline=true", "--threshold=20", file];
    run("systemd-analyze", &args);
}

#[test]
fn caddy_accepts_its_file() {
    if !are_met(Root::NotNeeded, &["caddy"]) {
        return;
    }
    let mut command = Command::new("caddy");
    command.args([
        "validate",
        "--adapter",
        "caddyfile",
        "--config",
        "deploy/Caddyfile",
    ]);
    let output = command.env("DOMAIN", "hooks.example.com").output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// The variables that the files for Compose take from `.env`.
#[test]
fn every_variable_of_the_files_for_compose_is_explained() {
    let example = fs::read_to_string("deploy/env.example").unwrap();
    // Nobody but a test or a rehearsal sets these.
    let inner = [
        "EVOLINK_BASE_URL",
        "EVOLINK_RECEIVER_COMMIT",
        "CADDY_IMAGE",
        "HTTP_PORT",
        "HTTPS_PORT",
        "RECEIVER_BASE_URL",
    ];
    let mut seen = 0;
    for name in [
        "compose.yaml",
        "compose.tunnel.yaml",
        "compose.replicas.yaml",
    ] {
        let text = fs::read_to_string(Path::new("deploy").join(name)).unwrap();
        for variable in text.split("${").skip(1) {
            let variable = variable.split([':', '}']).next().unwrap();
            let is_explained = example.contains(&format!("{variable}="));
            assert!(
                is_explained || inner.contains(&variable),
                "{name}: {variable}"
            );
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}
