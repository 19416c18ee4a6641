//! A server that refuses clients without TLS and a password.

use std::path::Path;

use evolink_receiver::config::Config;
use evolink_receiver::exit::Exit;
use url::Url;

use super::check::findings;
use super::completed;
use crate::support::app::TestAppBuilder;
use crate::support::certificates::Pem;
use crate::support::postgres::{Cluster, Guard, Options};
use crate::support::store::TestStore;

const PASSWORD: &str = "canary-database-password";

/// The new password, set while a receiver runs.
const NEW_PASSWORD: &str = "canary-database-rotated";

/// Callbacks that may be refused before the recorder has noticed that its connection is gone.
const TRIES: u32 = 4;

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
async fn whoever_is_not_let_in_is_told_why_and_not_the_password() {
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
