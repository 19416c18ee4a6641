//! `check` of files of secrets.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use evolink_receiver::store::Store;

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
