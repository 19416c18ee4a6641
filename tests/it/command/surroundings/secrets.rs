//! `check` of files of secrets.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use evolink_receiver::config::Endpoint;
use evolink_receiver::store::Store;

use super::super::binary::{code, run, run_env, stderr, stdout};
use super::place::Place;

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
    assert_eq!(place.finding(key).await, made, "a store without tasks");
    let store = Store::open(&place.config.store.url).await.unwrap();
    let in_use = place.finding(key).await;
    let warning = format!("warning {key}: ring: absent, though the store");
    assert!(in_use.starts_with(&warning), "{in_use}");
    store.close().await;
    drop(store);
    fs::write(place.database(), "no database").unwrap();
    let unknown = place.finding(key).await;
    assert!(unknown.starts_with(&warning), "{unknown}");
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

/// What tools leave in a file, and what is said of it.
const ODD: [(&str, &str); 7] = [
    ("\u{feff}SECRET\n", "has a byte order mark"),
    ("\"SECRET\"\n", "is in quotes"),
    ("'SECRET'\r\n", "is in quotes"),
    ("NAME=SECRET\n", "looks like NAME=value"),
    ("export NAME=SECRET\n", "looks like NAME=value"),
    ("${SECRET}\n", "has a placeholder"),
    ("SEC\rRET\n", "has a carriage return"),
];

#[tokio::test]
async fn what_is_wrong_with_a_secret_file_is_named_and_its_content_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let toml = format!(
        "[public]\nbase_url = 'https://hooks.acme.io'\nlisten = '127.0.0.1:0'\n\
         [public.tls]\nmode = 'off'\n[internal]\nlisten = '127.0.0.1:0'\n[archive]\nenabled = false\n\
         [evolink]\napi_key_file = '{}'\n[callback_tokens]\nkey_file = '{}'\n\
         [store]\nurl = 'sqlite:{}'\n[forward]\nallowed_hosts = ['app']\nsecret_file = '{}'\n\
         [[forward.endpoints]]\nname = 'a'\nurl = 'http://a'\nsecret_file = '{}'\nevents = ['task.failed']\n",
        path("api"),
        path("ring"),
        path("store/receiver.db"),
        path("whsec"),
        path("endpoint"),
    );
    let config = folder.path().join("receiver.toml");
    fs::write(&config, toml).unwrap();
    let whsec = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    let ring = format!("k1 {}", "5ec7e7".repeat(10) + "5ec7");
    let files = [
        ("api", "evolink.api_key_file", "sk-5ec7e75ec7e75ec7e75ec7e7"),
        ("endpoint", "forward.endpoints[0].secret_file", whsec),
        ("whsec", "forward.secret_file", whsec),
        ("ring", "callback_tokens.key_file", ring.as_str()),
    ];
    for (name, key, secret) in files {
        for (odd, says) in ODD {
            for (name, _, good) in files {
                fs::write(folder.path().join(name), good).unwrap();
            }
            let (half, rest) = secret.split_at(secret.len() / 2);
            let content = odd.replace("SECRET", secret);
            let content = content.replace("SEC\rRET", &format!("{half}\r{rest}"));
            fs::write(folder.path().join(name), content).unwrap();
            let line = format!("{key}: {} {says}", path(name));
            for command in ["check", "serve"] {
                let args = [command, "--config", config.to_str().unwrap()];
                let output = run(&args);
                let said = [stdout(&output), stderr(&output)].concat();
                assert_eq!(code(&output), Some(78), "{odd:?}: {said}");
                assert!(said.contains(&line), "{command} {odd:?}: {said}");
                assert!(!said.contains(half) && !said.contains(rest), "{said}");
            }
        }
    }
}

#[test]
fn a_key_in_the_environment_is_looked_at_too() {
    let env = [("EVOLINK_API_KEY", "\"sk-5ec7e75ec7e75ec7e75ec7e7\"")];
    let output = run_env(&["check"], &env);
    let says = "error   EVOLINK_API_KEY: is in quotes";
    assert!(stdout(&output).contains(says), "{}", stdout(&output));
}

#[tokio::test]
async fn an_odd_password_is_a_warning() {
    let key = "store.password_file";
    let mut place = Place::new();
    let file = place.path("password");
    place.config.store.password_file = Some(file.clone());
    for (content, says) in [
        ("\"5ec7e7\"\n", "is in quotes"),
        ("${5ec7e7}", "has a placeholder"),
        (" 5ec7e7", "begins or ends with a blank"),
        ("5ec7e7\n", ""),
    ] {
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let finding = place.finding(key).await;
        let warning = format!("warning {key}: password {says}");
        let has_it = finding.lines().any(|line| line.starts_with(&warning));
        assert_eq!(has_it, !says.is_empty(), "{finding}");
        assert!(!finding.contains("5ec7e7"), "{finding}");
    }
}

#[tokio::test]
async fn a_secret_that_others_may_read_is_a_warning() {
    let mut place = Place::new();
    let [api, endpoint] = ["api", "endpoint"].map(|name| place.path(name));
    place.config.evolink.api_key_file = Some(api.clone());
    place.config.forward.endpoints = vec![Endpoint {
        name: "a".to_owned(),
        url: "http://a".parse().unwrap(),
        secret_file: endpoint.clone(),
        events: Vec::new(),
    }];
    for (file, key) in [
        (&api, "evolink.api_key_file"),
        (&endpoint, "forward.endpoints[0].secret_file"),
    ] {
        fs::write(file, "x").unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o604)).unwrap();
        let finding = place.finding(key).await;
        let name = file.file_name().unwrap().to_str().unwrap();
        let warning = format!("warning {key}: {name}: others may read it: mode 604");
        assert_eq!(finding, warning);
    }
}
