//! Commands on the service's own machine know the certificate of the internal listener from the
//! configuration, whatever its name and issuer.

use std::fs;
use std::path::Path;
use std::process::Command;

use tokio::time::{Duration, Instant, sleep};

use crate::support::net::certificates::{Files, Pem};
use crate::support::process::command::{Ended, command};
use crate::support::process::place::Place;
use crate::support::until::PATIENCE;

/// A running service, which is killed when dropped.
struct Service<'a> {
    place: &'a Place,
    child: std::process::Child,
    log: std::path::PathBuf,
}

impl Drop for Service<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl<'a> Service<'a> {
    async fn start(place: &'a Place) -> Self {
        let (child, log) = place.spawn();
        let service = Self { place, child, log };
        let is_ready = async || run(place, &["healthcheck"]).await.code == Some(0);
        service.until("it is ready", is_ready).await;
        service
    }

    async fn until(&self, what: &str, is_so: impl AsyncFn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so().await {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            assert!(Instant::now() < deadline, "{what}: {log}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Has everything read again.
    fn hang_up(&self) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-HUP", &id]).status();
        assert!(sent.unwrap().success());
    }

    async fn tasks(&self) -> Ended {
        run(self.place, &["tasks", "list"]).await
    }
}

async fn run(place: &Place, args: &[&str]) -> Ended {
    run_with(command(place, args)).await
}

async fn run_with(mut command: Command) -> Ended {
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    output.unwrap().unwrap().into()
}

/// Lists tasks as an app elsewhere would, with the system's authorities, or those in `roots`.
async fn from_elsewhere(place: &Place, roots: Option<&Path>) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evolink-receiver"));
    let url = format!("https://{}", place.internal());
    command.args(["tasks", "list", "--url", &url]).env_clear();
    if let Some(roots) = roots {
        command.env("SSL_CERT_FILE", roots);
    }
    run_with(command).await
}

#[tokio::test]
async fn a_self_signed_service_is_known_by_its_configuration_and_by_nothing_else() {
    let place = Place::new();
    let own = format!(
        "[internal]\ntls = {{ mode = \"self-signed\", self_signed_dir = \"{}\" }}\n",
        place.data().display()
    );
    place.configure("[internal]\n", &own);
    let checked = place.check();
    let made = "self-signed-internal.crt";
    assert!(
        checked.contains("internal.tls.self_signed_dir: "),
        "{checked}"
    );
    assert!(checked.contains(made), "{checked}");
    let service = Service::start(&place).await;
    let listed = service.tasks().await;
    assert_eq!(listed.code, Some(0), "{}", listed.stderr);
    let status = run(&place, &["status"]).await;
    assert_eq!(status.code, Some(0), "{}", status.stderr);
    assert!(
        status.stdout.contains("internal_certificate"),
        "{}",
        status.stdout
    );

    let roots = place.data().join(made);
    let trusted = from_elsewhere(&place, Some(&roots)).await;
    assert_eq!(trusted.code, Some(0), "{}", trusted.stderr);
    let untrusted = from_elsewhere(&place, None).await;
    assert_eq!(untrusted.code, Some(69), "{}", untrusted.stdout);
    assert!(
        untrusted.stderr.contains("certificate"),
        "{}",
        untrusted.stderr
    );
    // Both listeners have their own certificate in the same folder.
    let public = fs::read(place.data().join("self-signed.crt")).unwrap();
    assert_ne!(public, fs::read(&roots).unwrap());
}

#[tokio::test]
async fn a_certificate_is_replaced_while_the_service_runs_and_a_bad_one_is_not_taken() {
    // For another name, so that only the configuration tells who it is.
    let (old, new) = (
        Pem::good_for(&["receiver.example"]),
        Pem::good_for(&["receiver.example"]),
    );
    let files = Files::with(&old);
    let place = Place::new();
    let own = format!(
        "[internal]\ntls = {{ mode = \"files\", cert_file = \"{}\", key_file = \"{}\" }}\n",
        files.cert.display(),
        files.key.display()
    );
    place.configure("[internal]\n", &own);
    let service = Service::start(&place).await;
    assert_eq!(service.tasks().await.code, Some(0));

    // Not a pair: the service keeps the old one, which is not the one in the file.
    fs::write(&files.cert, &new.cert).unwrap();
    service.hang_up();
    let refused = service.tasks().await;
    assert_eq!(refused.code, Some(69), "{}", refused.stdout);
    let says = "the certificate is not the one in the file that the configuration names";
    assert!(refused.stderr.contains(says), "{}", refused.stderr);
    let health = run(&place, &["healthcheck"]).await;
    assert_eq!(health.code, Some(0), "{}", health.stderr);

    fs::write(&files.key, &new.key).unwrap();
    service.hang_up();
    let is_new = async || service.tasks().await.code == Some(0);
    service.until("the new certificate is served", is_new).await;
}
