//! A server that refuses clients without TLS and a password.

use std::path::Path;
use std::time::Duration;

use evolink_receiver::config::Config;
use evolink_receiver::exit::Exit;
use evolink_receiver::store::Store;
use tokio::time::timeout;
use url::Url;

use super::findings::findings;
use crate::replicas::three::completed;
use crate::support::app::TestAppBuilder;
use crate::support::net::certificates::Pem;
use crate::support::process::Place;
use crate::support::process::load::callback;
use crate::support::store::TestStore;
use crate::support::store::postgres::{Cluster, Guard, Options};

const PASSWORD: &str = "canary-database-password";

/// The new password, set while a receiver runs.
const NEW_PASSWORD: &str = "canary-database-rotated";

/// Callbacks that may be refused before the recorder has noticed that its connection is gone.
const TRIES: u32 = 4;

/// EvoLink disconnects after this time.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// A busy machine may need seconds for any answer.
const LIVE_WITHIN: Duration = Duration::from_secs(5);

type Change = Box<dyn FnOnce(&mut Config)>;

/// Returns the builder of a receiver on `cluster`, and its `store.url` without the password, which
/// is in a file.
async fn builder(cluster: &Cluster) -> (TestAppBuilder, Url) {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, format!("{PASSWORD}\n")).unwrap();
    let store = TestStore::on_cluster(cluster).await;
    let mut url = Url::parse(store.url()).unwrap();
    url.set_password(None).unwrap();
    let builder = TestAppBuilder::new(folder, store).with(|config| {
        config.store.url = url.to_string();
        config.store.password_file = Some(password);
    });
    (builder, url)
}

async fn guarded() -> Option<Cluster> {
    let guard = Guard {
        password: PASSWORD.to_owned(),
        certificate: Pem::good(),
    };
    Cluster::start(Options {
        guard: Some(guard),
        ..Options::quick()
    })
    .await
}

#[tokio::test]
async fn with_the_password_of_a_file_all_connections_are_made_over_verified_tls() {
    let Some(cluster) = guarded().await else {
        return;
    };
    let (builder, _) = builder(&cluster).await;
    let app = builder.start().await;
    let token = app.standing_token("shop");
    let body = completed("task-unified-1757165031-guarded0");
    assert_eq!(app.callback_result(&token, body).await, "recorded");
    assert_eq!(app.get("/v1/tasks").await.0, 200);
    let sql = "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'evolink-receiver'";
    let are_encrypted: Vec<bool> = app.database().await.values(sql, &[]).await;
    assert!(are_encrypted.len() >= 2, "one writes, others read");
    assert!(are_encrypted.iter().all(|is| *is), "{are_encrypted:?}");
    assert!(!format!("{:?}", app.config).contains("canary-database"));
}

#[tokio::test]
async fn a_password_that_is_changed_while_we_run_is_read_again() {
    let Some(cluster) = guarded().await else {
        return;
    };
    let (builder, _) = builder(&cluster).await;
    let app = builder.start().await;
    let file = app.config.store.password_file.clone().unwrap();
    let token = app.standing_token("shop");
    let body = |n| completed(&format!("task-unified-1757165031-rotated{n}"));
    assert_eq!(app.callback_result(&token, body(0)).await, "recorded");
    let admin = app.database().await;
    let change = format!("ALTER ROLE postgres PASSWORD '{NEW_PASSWORD}'");
    admin.execute(&change).await;
    std::fs::write(file, NEW_PASSWORD).unwrap();
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE application_name = 'evolink-receiver'";
    let ended: i64 = admin.value(end, &[]).await;
    assert!(ended >= 2, "one writes, others read");
    let mut tries = 0;
    while app.callback(&token, body(1)).await.0 != 200 {
        tries += 1;
        assert!(tries < TRIES, "it is refused with the new password, too");
    }
    assert_eq!(app.get("/v1/tasks").await.0, 200);
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_refused_login_reports_its_reason_without_the_password() {
    let Some(cluster) = guarded().await else {
        return;
    };
    let (builder, url) = builder(&cluster).await;
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other.crt");
    std::fs::write(&other, Pem::good().cert).unwrap();
    let wrong = folder.path().join("wrong");
    std::fs::write(&wrong, "canary-database-guess").unwrap();
    let with_query = |query: &str| {
        let mut url = url.clone();
        url.set_query(Some(query));
        move |config: &mut Config| config.store.url = url.to_string()
    };
    let roots = |file: &Path| format!("sslmode=verify-full&sslrootcert={}", file.display());
    let wrong_password = move |config: &mut Config| config.store.password_file = Some(wrong);
    let refused: [(&str, Change); 3] = [
        ("a wrong password", Box::new(wrong_password)),
        ("another root", Box::new(with_query(&roots(&other)))),
        ("no TLS", Box::new(with_query("sslmode=disable"))),
    ];
    for (what, change) in refused {
        let built = builder.clone().with(change).try_build().await;
        let refusal = built.err().expect(what);
        assert_eq!(refusal.exit, Exit::Unavailable, "{what}: {refusal}");
        let message = refusal.to_string();
        println!("{what}: {message}");
        assert!(message.contains("localhost"), "{what}: {message}");
        assert!(!message.contains("canary-database"), "{what}: {message}");
    }
    assert!(builder.try_build().await.is_ok(), "as it was meant");
}

#[tokio::test]
async fn a_connection_without_tls_says_which_side_is_to_change() {
    let Some(cluster) = Cluster::start(Options::quick()).await else {
        return;
    };
    let url = cluster.url("postgres");
    for mode in ["require", "verify-full"] {
        let found = findings(&format!("{url}?sslmode={mode}")).await;
        let says = format!("the server does not offer TLS, and sslmode={mode} requires it");
        assert!(found[0].contains(&says), "{found:?}");
    }
}

#[tokio::test]
async fn a_file_of_tls_that_is_absent_is_named_with_its_parameter() {
    let Some(cluster) = guarded().await else {
        return;
    };
    let mut url = Url::parse(&cluster.url("postgres")).unwrap();
    for (query, says) in [
        (
            "sslmode=verify-full&sslrootcert=/nosuch.pem",
            "sslrootcert: /nosuch.pem: No such file or directory",
        ),
        (
            "sslmode=require&sslcert=/nosuch.crt&sslkey=/nosuch.key",
            "sslcert: /nosuch.crt: No such file or directory",
        ),
    ] {
        url.set_query(Some(query));
        let found = findings(url.as_str()).await;
        assert!(found[0].contains(says), "{found:?}");
    }
}

#[tokio::test]
async fn a_server_whose_certificate_is_a_ca_certificate_is_explained() {
    let guard = Guard {
        password: PASSWORD.to_owned(),
        certificate: Pem::of_ca(),
    };
    let options = Options {
        guard: Some(guard),
        ..Options::quick()
    };
    let Some(cluster) = Cluster::start(options).await else {
        return;
    };
    let found = findings(&cluster.url("postgres")).await;
    let says = "the server's certificate is a CA certificate; make one that is signed by it";
    assert!(found[0].contains(says), "{found:?}");
}

/// A file system that does not answer blocks a read in the same way as a FIFO that nobody writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_file_that_blocks_does_not_stop_the_process() {
    let Some(cluster) = Cluster::start(Options::quick()).await else {
        return;
    };
    let place = Place::on(TestStore::on_cluster(&cluster).await);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "any\n").unwrap();
    let key = format!("[store]\npassword_file = \"{}\"", file.display());
    place.configure("[store]", &key);
    let receiver = place.start().await;
    assert_eq!(receiver.callback(callback(0, 0).body).await.unwrap().0, 200);
    std::fs::remove_file(&file).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&file).status();
    assert!(made.unwrap().success());
    let admin = place.store().connect().await;
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE application_name = 'evolink-receiver'";
    let ended: i64 = admin.value(end, &[]).await;
    assert!(ended >= 2, "one writes, one listens");
    for n in 1..=8 {
        let refused = timeout(ANSWERED_WITHIN, receiver.callback(callback(0, n).body)).await;
        assert!(refused.is_ok(), "a callback is answered");
        let live = timeout(LIVE_WITHIN, receiver.status("/livez")).await;
        assert_eq!(live, Ok(Some(200)), "{}", receiver.log_tail());
    }
    let log = receiver.log();
    assert!(log.contains("is not a regular file"), "{log}");
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, "any\n").unwrap();
    let mut tries = 0;
    while receiver.callback(callback(1, tries).body).await != Some((200, None)) {
        tries += 1;
        assert!(tries < 8, "{}", receiver.log_tail());
    }
    receiver.stop().await;
}

/// Port 1 of loopback refuses connections, so nothing here is reached.
const SPELLINGS: [&str; 32] = [
    "postgres:u:CANARY@127.0.0.1:1/d",
    "postgres:/u:CANARY@127.0.0.1:1/d",
    "postgres:///u:CANARY@127.0.0.1:1/d",
    "postgres:///u:CANARY@127.0.0.1:1/d?host=127.0.0.1",
    "postgres:u:CANARY@127.0.0.1:1/d?host=127.0.0.1&port=1",
    "postgres:/u:CANARY@127.0.0.1:1/d?host=/tmp&sslmode=disable",
    "postgres:////u:CANARY@127.0.0.1:1/d?host=/tmp",
    "postgresql:u:CANARY@127.0.0.1:1/d?host=127.0.0.1&port=1",
    "postgresql:/u:CANARY@127.0.0.1:1/d?host=/tmp",
    "postgres://u@127.0.0.1:1/u:CANARY",
    "postgres://u@127.0.0.1:1/u%3ACANARY",
    "postgres://u@127.0.0.1:1/CANARY%40h",
    "postgres://u@127.0.0.1:1/x?dbname=u:CANARY",
    "postgres://u@127.0.0.1:1/x?host=u:CANARY@h",
    "postgres://u@127.0.0.1:1/x?host=/u:CANARY@h",
    "postgres://u@127.0.0.1:1/x?password=CANARY",
    "postgres://u@127.0.0.1:1/x?passwd=CANARY",
    "postgres://u:1/CANARY@127.0.0.1:1/d",
    "postgres://u:1?CANARY@127.0.0.1:1/d",
    "postgres://u:1?CANARY&x@127.0.0.1:1/d",
    "postgres://u:1#CANARY@127.0.0.1:1/d",
    "postgres://u:CANARY/@127.0.0.1:1/d",
    "postgres://u:CANARY@127.0.0.1:1/d",
    "postgres://:CANARY@127.0.0.1:1/d",
    "postgres://u:CANARY@/d?host=/nowhere",
    "POSTGRES://u:CANARY@127.0.0.1:1/d",
    "POSTGRES://u:1?CANARY@127.0.0.1:1/d",
    "postgresql+psycopg://u:CANARY@127.0.0.1:1/d",
    "sqlite://u:CANARY@127.0.0.1:1/d",
    "sqlite:postgres://u:CANARY@127.0.0.1:1/d",
    "sqlite:u:CANARY@127.0.0.1:1/d",
    "sqlite://u:1?CANARY@127.0.0.1:1/d",
];

#[tokio::test]
async fn no_spelling_of_the_url_shows_the_password() {
    for spelling in SPELLINGS {
        let mut config = Config::default();
        config.store.url = spelling.replace("CANARY", "sekretpass9");
        let mut said: Vec<String> = config.findings().iter().map(ToString::to_string).collect();
        said.extend(findings(&config.store.url).await);
        // The start refuses the others before it opens a store.
        if ["postgres:", "postgresql:"]
            .iter()
            .any(|scheme| spelling.starts_with(scheme))
        {
            let opened = Store::open(&config.store.url).await;
            said.push(opened.expect_err(spelling).to_string());
        }
        let shown: Vec<&String> = said
            .iter()
            .filter(|line| line.contains("sekretpass9"))
            .collect();
        assert!(shown.is_empty(), "{spelling}: {shown:?}");
        let is_refused = said
            .iter()
            .any(|line| line.starts_with("error   store.url"));
        assert!(is_refused, "{spelling}: {said:?}");
    }
}
