//! What `backup` and `restore` refuse. A refused command changes nothing.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{at, fail, modes, succeed};
use crate::support::process::Place;
use crate::support::process::disk::Disk;
use crate::support::process::filler::fill;
use crate::support::store::database::Database;
use crate::support::store::is_postgres;

fn change_manifest(copy: &Path, change: impl FnOnce(&mut Value)) {
    let file = copy.join("manifest.json");
    let mut manifest = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    change(&mut manifest);
    fs::write(file, manifest.to_string()).unwrap();
}

/// Copies a backup.
fn duplicate(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for (name, _) in modes(from) {
        fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_restored_is_refused_and_nothing_is_touched() {
    if is_postgres() {
        return;
    }
    let (place, folder) = (Place::new(), tempfile::tempdir().unwrap());
    let receiver = place.start().await;
    assert_eq!(
        receiver
            .callback(json!({"id": "task-1", "status": "failed"}).to_string())
            .await
            .unwrap()
            .0,
        200
    );
    let copy = at(folder.path(), "copy");
    succeed(&place, &["backup", &copy]).await;
    let exists = fail(&place, &["backup", &copy], 64).await;
    assert!(exists.contains("overwrites nothing"), "{exists}");
    fs::create_dir(folder.path().join("empty")).unwrap();
    fail(&place, &["backup", &at(folder.path(), "empty")], 64).await;
    fail(&place, &["backup", &at(folder.path(), "no/such")], 69).await;
    let absent = fail(&place, &["restore", &at(folder.path(), "nosuch")], 64).await;
    assert!(
        absent.contains("nosuch: there is no such folder"),
        "{absent}"
    );
    let running = fail(&place, &["restore", &copy, "--replace"], 75).await;
    assert!(running.contains("in use"), "{running}");
    assert!(running.contains("stop the service first"), "{running}");
    let running = fail(&place, &["restore", "--new-epoch"], 75).await;
    assert!(running.contains("stop the service first"), "{running}");
    receiver.stop().await;
    let there = modes(place.data());
    let over = fail(&place, &["restore", &copy], 64).await;
    assert!(over.contains("--replace"), "{over}");
    let changed = |name: &str, change: &dyn Fn(&Path)| {
        let to = folder.path().join(name);
        duplicate(copy.as_ref(), &to);
        change(&to);
        to.to_str().unwrap().to_owned()
    };
    let flip = |name: &'static str| {
        move |copy: &Path| {
            let mut bytes = fs::read(copy.join(name)).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(copy.join(name), bytes).unwrap();
        }
    };
    for (name, change, code, says) in [
        (
            "flipped",
            &flip("receiver.db") as &dyn Fn(&Path),
            65,
            "receiver.db",
        ),
        (
            "flipped-key",
            &flip("callback_tokens.key"),
            65,
            "callback_tokens.key",
        ),
        (
            "no-manifest",
            &|copy: &Path| fs::remove_file(copy.join("manifest.json")).unwrap(),
            65,
            "manifest",
        ),
        (
            "no-database",
            &|copy: &Path| fs::remove_file(copy.join("receiver.db")).unwrap(),
            65,
            "receiver.db",
        ),
        (
            "newer",
            &|copy: &Path| change_manifest(copy, |it| it["format"] = json!(2)),
            78,
            "format 2",
        ),
        (
            "older",
            &|copy: &Path| change_manifest(copy, |it| it["format"] = json!(0)),
            65,
            "format 0",
        ),
        (
            "no-time",
            &|copy: &Path| change_manifest(copy, |it| it["made_at"] = json!("\u{1b}[2Jyesterday")),
            65,
            "made_at",
        ),
        (
            "hostile-version",
            &|copy: &Path| {
                change_manifest(copy, |it| {
                    it["format"] = json!(2);
                    it["version"] = json!("\u{1b}[2J\u{202e}9");
                });
            },
            78,
            "format 2",
        ),
        (
            "hostile-role",
            &|copy: &Path| change_manifest(copy, |it| it["files"][0]["role"] = json!("\u{1b}[2J")),
            65,
            "manifest",
        ),
        (
            "outside",
            &|copy: &Path| change_manifest(copy, |it| it["files"][0]["name"] = json!("../x")),
            65,
            "impossible",
        ),
        (
            "less",
            &|copy: &Path| {
                change_manifest(copy, |it| {
                    it["files"].as_array_mut().unwrap().remove(0);
                });
            },
            65,
            "misses",
        ),
    ] {
        let refused = fail(
            &place,
            &["restore", &changed(name, change), "--replace"],
            code,
        )
        .await;
        assert!(refused.contains(says), "{name}: {refused}");
        assert!(!refused.contains(['\u{1b}', '\u{202e}']), "{name}");
        assert_eq!(modes(place.data()), there, "{name}");
    }
    // A backup whose database has a schema version from a newer release.
    let newer = folder.path().join("schema");
    duplicate(copy.as_ref(), &newer);
    let database =
        Database::connect(&format!("sqlite:{}", newer.join("receiver.db").display())).await;
    database
        .execute(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
            SELECT 9999, 'of the future', success, checksum, 0 FROM _sqlx_migrations LIMIT 1",
        )
        .await;
    database.close().await;
    let (bytes, sha256) =
        evolink_receiver::store::backup::manifest::digest(&newer.join("receiver.db")).unwrap();
    change_manifest(&newer, |it| {
        it["files"][0]["bytes"] = json!(bytes);
        it["files"][0]["sha256"] = json!(sha256);
    });
    fail(
        &place,
        &["restore", newer.to_str().unwrap(), "--replace"],
        78,
    )
    .await;
    assert_eq!(modes(place.data()), there);
    place.start().await.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_does_not_fit_names_its_folder_and_leaves_nothing() {
    if is_postgres() {
        return;
    }
    let Some((disk, place)) = Disk::with_place("16M") else {
        return;
    };
    place.start().await.stop().await;
    fill(&place.data().join("filler"));
    let there = modes(place.data());
    let copy = disk.path("copy");
    let mut command = disk.command(env!("CARGO_BIN_EXE_evolink-receiver"));
    command.arg("backup").arg(&copy);
    command.arg("--config").arg(place.config());
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(75), "{stderr}");
    let says = format!(
        "could not write the backup {}: its disk is full; nothing of it is left",
        copy.display()
    );
    assert!(stderr.contains(&says), "{stderr}");
    assert_eq!(modes(place.data()), there);
}
