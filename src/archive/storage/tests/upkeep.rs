//! Tests what looks after a storage, in a folder and in a bucket: what is old is deleted, and whose
//! storage it is can be told.

use std::fs;
use std::thread;
use std::time::SystemTime;

use object_store::ObjectStoreExt as _;
use tempfile::TempDir;
use tokio::time::sleep;

use super::super::root::Root;
use super::super::*;
use super::server::S3;
use super::{folder, kept, later, listed};

/// A folder, and a bucket if there is a server.
async fn storages() -> (TempDir, Vec<Storage>) {
    let (folder, storage) = folder::opened().await;
    let mut all = vec![storage];
    if let Some(s3) = S3::find() {
        all.push(s3.storage().await);
    }
    (folder, all)
}

#[tokio::test]
async fn only_a_file_that_was_stored_before_a_time_is_deleted() {
    let (_folder, storages) = storages().await;
    for storage in storages {
        let digest = kept(&storage, b"abc").await;
        let [listed_before] = listed(&storage).await.try_into().unwrap();
        // A bucket counts seconds.
        sleep(Duration::from_millis(1100)).await;
        let before = storage.now().await.unwrap();
        assert!(before > listed_before.modified_at);
        // Stored again, after a sweep listed it.
        kept(&storage, b"abc").await;
        assert!(!storage.delete_older(digest, before).await.unwrap());
        assert_eq!(storage.bytes_of(digest).await.unwrap(), 3);
        assert!(storage.delete_older(digest, later()).await.unwrap());
        assert!(!storage.delete_older(digest, later()).await.unwrap());
        assert!(listed(&storage).await.is_empty());
        assert_eq!(storage.sweep(later()).await.unwrap(), 0, "no probe stays");
    }
}

#[test]
fn a_file_is_not_deleted_while_it_is_stored_again() {
    const A_MOMENT: Duration = Duration::from_millis(100);
    let folder = tempfile::tempdir().unwrap();
    let root = Root::create(folder.path().join("results"), 0).unwrap();
    let digest = Digest::of(b"abc");
    let place = || {
        let draft = root.drafts().join("0.draft");
        fs::write(&draft, b"abc").unwrap();
        root.place(&draft, digest).unwrap();
    };
    place();
    let file = fs::File::options().write(true).open(root.file(digest));
    let long_ago = SystemTime::UNIX_EPOCH;
    file.unwrap().set_modified(long_ago).unwrap();
    let before = Timestamp::from_millis(1);
    thread::scope(|scope| {
        // Somebody is placing a file, which is old until then.
        let placing = root.lock();
        let deleted = scope.spawn(|| root.delete_older(digest, before).unwrap());
        thread::sleep(A_MOMENT);
        let young = fs::File::options().write(true).open(root.file(digest));
        young.unwrap().set_modified(long_ago + A_MOMENT).unwrap();
        drop(placing);
        assert!(!deleted.join().unwrap());
    });
    assert!(root.delete_older(digest, later()).unwrap());
    thread::scope(|scope| {
        // Somebody is deleting a file.
        let deleting = root.lock();
        let placed = scope.spawn(place);
        thread::sleep(A_MOMENT);
        assert!(!root.file(digest).exists());
        drop(deleting);
        placed.join().unwrap();
        assert!(root.file(digest).exists());
    });
}

#[tokio::test]
async fn an_identity_is_set_once() {
    let (_folder, storages) = storages().await;
    for storage in storages {
        assert_eq!(storage.identity().await.unwrap(), None);
        assert!(storage.is_empty().await.unwrap());
        assert!(storage.set_identity("first").await.unwrap());
        assert!(!storage.set_identity("second").await.unwrap());
        let found = storage.identity().await.unwrap();
        assert_eq!(found.as_deref(), Some("first"));
        // It is neither a kept file nor a draft.
        assert!(storage.is_empty().await.unwrap());
        assert_eq!(storage.sweep(later()).await.unwrap(), 0);
        let digest = kept(&storage, b"abc").await;
        assert!(!storage.is_empty().await.unwrap());
        storage.delete(digest).await.unwrap();
        assert!(storage.is_empty().await.unwrap());
    }
}

#[tokio::test]
async fn replicas_that_start_together_agree_on_the_identity() {
    let (_folder, storages) = storages().await;
    for storage in storages {
        let ids = ["a", "b", "c", "d"];
        let set = ids.map(|id| storage.set_identity(id));
        let set = futures_util::future::join_all(set).await;
        let winners: Vec<_> = ids
            .iter()
            .zip(set)
            .filter_map(|(id, set)| set.unwrap().then_some(*id))
            .collect();
        let [winner] = winners.try_into().unwrap();
        let found = storage.identity().await.unwrap();
        assert_eq!(found.as_deref(), Some(winner));
    }
}

#[tokio::test]
async fn a_marker_without_an_identity_is_damage() {
    let (folder, storages) = storages().await;
    for storage in storages {
        for bytes in [&b""[..], b" \n", b"\xff", &[b'x'; 2000]] {
            match &storage {
                Storage::Folder(_) => {
                    let marker = folder::root(&folder).join(".evolink-receiver");
                    fs::write(marker, bytes).unwrap();
                }
                Storage::Bucket(bucket) => {
                    let marker = bucket.drafts().to_string();
                    let marker = marker.replace("tmp", ".evolink-receiver");
                    let marker = marker.into();
                    let put = bucket.store.put(&marker, bytes.to_vec().into());
                    put.await.unwrap();
                }
            }
            let found = storage.identity().await;
            assert!(matches!(found, Err(StorageError::Damaged)), "{found:?}");
        }
    }
}

#[tokio::test]
async fn a_look_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"x").unwrap();
    let look = async |path: &str| {
        let place = Place::Folder(folder.path().join(path));
        Storage::look(&place).await
    };
    for path in ["", "missing", "missing/too"] {
        look(path).await.unwrap();
    }
    for path in ["file", "file/below", "file/far/below"] {
        let failed = look(path).await.unwrap_err();
        assert!(matches!(failed, StorageError::Folder { .. }), "{failed}");
    }
    assert_eq!(folder::files(folder.path()), ["file"]);
    let entries = fs::read_dir(folder.path()).unwrap();
    assert_eq!(entries.count(), 1, "no folder was made");
    let Some(s3) = S3::find() else {
        return;
    };
    let bucket = |name: &str| Place::Bucket {
        name: name.to_owned(),
        prefix: "looked-at".to_owned(),
    };
    Storage::look(&bucket(s3.bucket())).await.unwrap();
    let failed = Storage::look(&bucket("no-such-bucket")).await.unwrap_err();
    let failed = failed.to_string();
    assert!(failed.starts_with("could not list the bucket"), "{failed}");
    assert!(failed.contains("answered NoSuchBucket: "), "{failed}");
}
