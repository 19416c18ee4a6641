//! `check` of the surroundings of a configuration: each kind of finding, and that nothing is
//! changed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use evolink_receiver::clock::Clock;
use evolink_receiver::commands::check::surroundings;
use evolink_receiver::config::{Config, Level, TlsMode};
use evolink_receiver::domain::callback::KeyRing;
use evolink_receiver::domain::timestamp::Timestamp;
use evolink_receiver::http::tls::TlsSource;
use evolink_receiver::store::Store;
use tempfile::TempDir;

use crate::support::net::certificates::Pem;
use crate::support::store::schema;

const DAY: Duration = Duration::from_hours(24);

/// Everything in the folder that a check could change: names, contents, times and modes.
fn tree(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, i64, i64, u32)> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut tree = BTreeMap::new();
    for path in entries.chain([folder.to_owned()]) {
        let about = fs::metadata(&path).unwrap();
        let content = fs::read(&path).unwrap_or_default();
        let changed = about.ctime() * 1_000_000_000 + about.ctime_nsec();
        let written = about.mtime() * 1_000_000_000 + about.mtime_nsec();
        tree.insert(path, (content, changed, written, about.mode()));
    }
    tree
}

struct Place {
    folder: TempDir,
    config: Config,
    clock: Clock,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.public.tls.mode = TlsMode::Off;
        // Not the default ports, which another program may have.
        config.public.listen.set_port(0);
        config.internal.listen.set_port(0);
        folder
            .path()
            .clone_into(&mut config.public.tls.self_signed_dir);
        config.store.url = format!("sqlite:{}", folder.path().join("receiver.db").display());
        config.callback_tokens.key_file = folder.path().join("ring");
        config.forward.secret_file = folder.path().join("whsec");
        Self {
            folder,
            config,
            clock: Clock::System,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn database(&self) -> PathBuf {
        self.path("receiver.db")
    }

    /// The finding about `key` as `check` prints it, with shortened paths. Asserts that the folder
    /// is unchanged.
    async fn finding(&self, key: &str) -> String {
        let before = tree(self.folder.path());
        let findings = surroundings(&self.config, &self.clock).await;
        assert!(
            tree(self.folder.path()) == before,
            "{key}: something was touched"
        );
        let lines = findings.iter().filter(|finding| finding.key == key);
        let lines: Vec<String> = lines.map(ToString::to_string).collect();
        let folder = format!("{}/", self.folder.path().display());
        lines.join("\n").replace(&folder, "")
    }

    async fn store(&self) -> String {
        self.finding("store.url").await
    }

    async fn certificate(&self) -> String {
        self.finding("public.tls").await
    }

    fn keep_ring(&self) {
        let file = &self.config.callback_tokens.key_file;
        fs::write(file, KeyRing::generate().unwrap()).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    }

    async fn keep_store(&self) {
        Store::open(&self.config.store.url)
            .await
            .unwrap()
            .close()
            .await;
    }
}

#[tokio::test]
async fn the_secret_of_deliveries_is_there_or_can_be_made_where_it_is_needed() {
    let key = "forward.secret_file";
    let mut place = Place::new();
    let made = format!("ok      {key}: whsec: will be made");
    assert_eq!(place.finding(key).await, made);
    let file = place.path("whsec");
    fs::write(&file, "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(
        place.finding(key).await,
        format!(
            "ok      {key}: whsec: signs deliveries\nwarning {key}: whsec: others may read it: mode 640"
        )
    );
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&file, "5ec7e7").unwrap();
    let bad = format!("{key}: whsec: line 1: want whsec_ and the base64 of 24 to 64 bytes");
    assert_eq!(place.finding(key).await, format!("warning {bad}"));
    place.config.forward.allowed_hosts = vec!["app".to_owned()];
    assert_eq!(place.finding(key).await, format!("error   {bad}"));
}

#[tokio::test]
async fn a_key_ring_is_there_or_can_be_made() {
    let key = "callback_tokens.key_file";
    let mut place = Place::new();
    let made = format!("ok      {key}: ring: will be made");
    assert_eq!(place.finding(key).await, made);
    place.keep_store().await;
    let lost = place.finding(key).await;
    assert!(
        lost.starts_with(&format!("warning {key}: ring: absent, though the store")),
        "{lost}"
    );
    place.keep_ring();
    assert_eq!(
        place.finding(key).await,
        format!("ok      {key}: ring: a key ring")
    );
    fs::set_permissions(place.path("ring"), fs::Permissions::from_mode(0o644)).unwrap();
    let open = place.finding(key).await;
    assert!(
        open.ends_with(&format!(
            "warning {key}: ring: others may read it: mode 644"
        )),
        "{open}"
    );
    fs::write(place.path("ring"), "k1 5ec7e7").unwrap();
    let broken = place.finding(key).await;
    assert!(
        broken.starts_with(&format!("error   {key}: ring: ")),
        "{broken}"
    );
    assert!(!broken.contains("5ec7e7"));
    place.config.callback_tokens.key_file = place.path("ring/below/a/file");
    let error = place.finding(key).await;
    let start = format!("error   {key}: ring/below/a/file: ");
    assert!(error.starts_with(&start), "{error}");
}

#[tokio::test]
async fn a_store_is_judged_without_being_opened_by_us() {
    let place = Place::new();
    assert_eq!(
        place.store().await,
        "ok      store.url: receiver.db: will be made"
    );
    let room = place.finding("store.min_free").await;
    assert!(room.ends_with(" MiB are free"), "{room}");
    let store = Store::open(&place.config.store.url).await.unwrap();
    let in_use = format!(
        "ok      store.url: receiver.db: in use by process {}",
        std::process::id()
    );
    assert_eq!(place.store().await, in_use);
    // The lock was not touched either: no other process can take it.
    assert!(Store::open(&place.config.store.url).await.is_err());

    let other = Place::new();
    for name in ["receiver.db", "receiver.db-wal"] {
        fs::copy(place.path(name), other.path(name)).unwrap();
    }
    let line = "ok      store.url: receiver.db: the start takes in its write-ahead log";
    assert_eq!(other.store().await, line);
    store.close().await;
    drop(store);
    let schema = schema::newest();
    assert_eq!(
        place.store().await,
        format!("ok      store.url: receiver.db: schema {schema}")
    );
    fs::set_permissions(place.database(), fs::Permissions::from_mode(0o644)).unwrap();
    let open = place.store().await;
    assert!(
        open.ends_with(
            "warning store.url: receiver.db: others may read it, prompts and all: mode 644"
        ),
        "{open}"
    );
}

#[tokio::test]
async fn a_store_that_would_stop_the_start_is_an_error() {
    let place = Place::new();
    fs::write(place.database(), "").unwrap();
    fs::set_permissions(place.database(), fs::Permissions::from_mode(0o600)).unwrap();
    let nothing = place.store().await;
    assert!(
        nothing.starts_with("warning store.url: receiver.db: a database with nothing"),
        "{nothing}"
    );
    fs::write(place.database(), "no database at all. ".repeat(500)).unwrap();
    let damaged = place.store().await;
    assert!(
        damaged.starts_with("error   store.url: the database is damaged: "),
        "{damaged}"
    );

    fs::remove_file(place.database()).unwrap();
    place.keep_store().await;
    let pool = sqlx::SqlitePool::connect(&place.config.store.url)
        .await
        .unwrap();
    let newer = "INSERT INTO _sqlx_migrations SELECT 9999, description, installed_on, success, checksum, execution_time
        FROM _sqlx_migrations LIMIT 1";
    sqlx::query(newer).execute(&pool).await.unwrap();
    pool.close().await;
    let newer = place.store().await;
    assert!(
        newer.starts_with("error   store.url: the database has a schema newer"),
        "{newer}"
    );
}

#[tokio::test]
async fn a_certificate_is_announced_to_expire_and_a_wrong_one_is_an_error() {
    let mut place = Place::new();
    assert_eq!(
        place.finding("public.tls.mode").await,
        "ok      public.tls.mode: off: a proxy ends TLS"
    );
    place.config.public.tls.mode = TlsMode::Files;
    let (cert, key) = (place.path("tls.crt"), place.path("tls.key"));
    place.config.public.tls.cert_file = Some(cert.clone());
    place.config.public.tls.key_file = Some(key.clone());
    let absent = place.certificate().await;
    assert!(
        absent.starts_with("error   public.tls: could not read tls.crt: "),
        "{absent}"
    );

    let pem = Pem::valid(2020, 2030);
    fs::write(&cert, &pem.cert).unwrap();
    fs::write(&key, &pem.key).unwrap();
    let end: jiff::Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    let end = Timestamp::from_millis(end.as_millisecond());
    for (days, says) in [
        (30, "ok      public.tls: tls.crt: valid until 2030"),
        (
            20,
            "warning public.tls: tls.crt: expires within 21 days, at 2030",
        ),
        (
            6,
            "warning public.tls: tls.crt: expires within 7 days, at 2030",
        ),
        (
            1,
            "warning public.tls: tls.crt: expires within a day, at 2030",
        ),
    ] {
        place.clock = Clock::manual(end.before(DAY * days));
        let finding = place.certificate().await;
        assert!(finding.starts_with(says), "{days}: {finding}");
    }
    place.clock = Clock::manual(end.after(DAY));
    let expired = place.certificate().await;
    assert!(
        expired.starts_with("error   public.tls: the certificate in tls.crt expired"),
        "{expired}"
    );

    place.clock = Clock::System;
    fs::write(&key, Pem::good().key).unwrap();
    let other = place.certificate().await;
    assert!(
        other.starts_with("error   public.tls: the key in tls.key does not belong"),
        "{other}"
    );
}

#[tokio::test]
async fn a_certificate_for_another_name_than_evolink_calls_is_a_warning() {
    let mut place = Place::new();
    let pem = Pem::good();
    let (cert, key) = (place.path("tls.crt"), place.path("tls.key"));
    fs::write(&cert, &pem.cert).unwrap();
    fs::write(&key, &pem.key).unwrap();
    place.config.public.tls.mode = TlsMode::Files;
    place.config.public.tls.cert_file = Some(cert);
    place.config.public.tls.key_file = Some(key);
    let warning =
        "warning public.tls: tls.crt: is not for hooks.example.com, the host of public.base_url: ";
    let finding = place.certificate().await;
    assert!(finding.contains(warning), "{finding}");
    place.config.public.base_url = "https://localhost/in".parse().unwrap();
    let finding = place.certificate().await;
    assert!(
        finding.starts_with("ok ") && !finding.contains("warning"),
        "{finding}"
    );
}

#[tokio::test]
async fn a_store_in_a_folder_that_cannot_be_made_is_an_error() {
    let mut place = Place::new();
    place.config.store.url = "sqlite:/proc/x/receiver.db".to_owned();
    let finding = place.store().await;
    let start = "error   store.url: /proc/x/receiver.db: absent, and cannot be made: ";
    assert!(finding.starts_with(start), "{finding}");
}

#[tokio::test]
async fn a_store_whose_url_is_wrong_is_not_looked_at() {
    let mut place = Place::new();
    for url in [
        "postgres://u@127.0.0.1:1/x?port=abc",
        "postgres://u@127.0.0.1:1/x?sslmode=requird",
        "mysql://x/y",
        "sqlite:receiver.db?mode=rwc",
    ] {
        url.clone_into(&mut place.config.store.url);
        assert_eq!(place.store().await, "", "{url}");
    }
}

#[tokio::test]
async fn an_address_in_use_is_a_warning_because_the_service_itself_may_run() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut place = Place::new();
    place.config.internal.listen = taken.local_addr().unwrap();
    let finding = place.finding("internal.listen").await;
    assert!(
        finding.starts_with("warning internal.listen: 127.0.0.1:")
            && finding.contains("in use by another process"),
        "{finding}"
    );
    drop(taken);
    assert_eq!(place.finding("internal.listen").await, "");
}

#[tokio::test]
async fn a_self_signed_certificate_is_there_or_will_be_made() {
    let mut place = Place::new();
    place.config.public.tls.mode = TlsMode::SelfSigned;
    let key = "public.tls.self_signed_dir";
    let made = format!("ok      {key}: self-signed.crt: will be made");
    assert_eq!(place.finding(key).await, made);
    TlsSource::self_signed_in(place.folder.path(), &["localhost".into()], Clock::System).unwrap();
    let there = place.certificate().await;
    assert!(
        there.starts_with("ok      public.tls: self-signed.crt: valid until "),
        "{there}"
    );
    fs::write(place.path("self-signed.crt"), "damaged").unwrap();
    let anew = place.finding(key).await;
    assert!(
        anew.starts_with("warning ") && anew.ends_with("; the start makes a new pair"),
        "{anew}"
    );
}

#[tokio::test]
async fn clock_and_roots_are_looked_at() {
    let mut place = Place::new();
    assert!(place.finding("clock").await.starts_with("ok      clock: 2"));
    assert!(
        place
            .finding("system roots")
            .await
            .starts_with("ok      system roots: ")
    );
    for millis in [0, 1_767_225_599_999, 4_102_444_800_000] {
        place.clock = Clock::manual(Timestamp::from_millis(millis));
        let wrong = place.finding("clock").await;
        assert!(wrong.starts_with("error   clock: shows "), "{wrong}");
    }
    let findings = surroundings(&Place::new().config, &Clock::System).await;
    assert!(
        findings.iter().all(|finding| finding.level == Level::Ok),
        "{findings:?}"
    );
}
