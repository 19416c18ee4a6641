//! Tests the storage in a folder: what is kept is whole, and nothing else stays.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::super::*;
use super::{SHOWN, bytes, kept, listed, read};

pub(super) async fn opened() -> (TempDir, Storage) {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::Folder(folder.path().join("data/results"));
    let storage = Storage::open(&place, 0).await.unwrap();
    (folder, storage)
}

pub(super) fn root(folder: &TempDir) -> PathBuf {
    folder.path().join("data/results")
}

/// All files below `folder`, relative to it.
pub(super) fn files(folder: &Path) -> Vec<String> {
    fn collect(folder: &Path, root: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, root, found);
            } else {
                let path = path.strip_prefix(root).unwrap();
                found.push(path.display().to_string());
            }
        }
    }
    let mut found = Vec::new();
    collect(folder, folder, &mut found);
    found.sort();
    found
}

#[tokio::test]
async fn a_file_is_kept_under_its_digest() {
    let (folder, storage) = opened().await;
    let digest = kept(&storage, b"abc").await;
    let expected = "ba/7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(files(&root(&folder)), [expected]);
    assert_eq!(read(&storage, digest, None).await, b"abc");
    assert_eq!(storage.bytes_of(digest).await.unwrap(), 3);
    let [entry] = listed(&storage).await.try_into().unwrap();
    assert_eq!((entry.digest, entry.bytes), (digest, 3));
    storage.delete(digest).await.unwrap();
    storage.delete(digest).await.unwrap();
    assert!(files(&root(&folder)).is_empty());
    let gone = storage.read(digest, None).await.err();
    assert!(matches!(gone, Some(StorageError::NotFound)), "{gone:?}");
}

#[tokio::test]
async fn equal_bytes_are_kept_once() {
    let (folder, storage) = opened().await;
    let large = bytes(1_000_000);
    let digest = kept(&storage, &large).await;
    assert_eq!(kept(&storage, &large).await, digest);
    assert_eq!(files(&root(&folder)).len(), 1);
    // Damage is repaired by the next fetch.
    let path = root(&folder).join(&files(&root(&folder))[0]);
    fs::write(&path, b"damaged").unwrap();
    kept(&storage, &large).await;
    assert_eq!(read(&storage, digest, None).await, large);
}

#[tokio::test]
async fn a_part_of_a_file_is_read() {
    let (_folder, storage) = opened().await;
    let large = bytes(700_000);
    let digest = kept(&storage, &large).await;
    assert_eq!(read(&storage, digest, None).await, large);
    for (range, part) in [
        (0..1, &large[0..1]),
        (0..700_000, &large[..]),
        (262_143..524_290, &large[262_143..524_290]),
        (699_999..u64::MAX, &large[699_999..]),
    ] {
        assert_eq!(read(&storage, digest, Some(range)).await, part);
    }
    for outside in [5..5, 700_000..700_001, 700_000..u64::MAX] {
        let refused = storage.read(digest, Some(outside)).await.err();
        let is_outside = matches!(
            refused,
            Some(StorageError::RangeOutside {
                bytes_total: 700_000
            })
        );
        assert!(is_outside, "{refused:?}");
    }
}

#[tokio::test]
async fn nothing_is_visible_before_the_end_and_nothing_stays_without_one() {
    let (folder, storage) = opened().await;
    let mut writer = storage.writer().await.unwrap();
    writer.write(bytes(600_000).into()).await.unwrap();
    assert!(listed(&storage).await.is_empty());
    assert_eq!(files(&root(&folder)).len(), 1, "the draft");
    drop(writer);
    assert!(files(&root(&folder)).is_empty(), "dropped");
    let mut writer = storage.writer().await.unwrap();
    writer.write(bytes(600_000).into()).await.unwrap();
    writer.abort().await;
    assert!(files(&root(&folder)).is_empty(), "aborted");
}

#[tokio::test]
async fn what_a_kill_leaves_is_swept_and_what_was_placed_stays() {
    let (folder, storage) = opened().await;
    let digest = kept(&storage, b"abc").await;
    // A kill before the rename leaves a draft, whole or not.
    let drafts = root(&folder).join("tmp");
    fs::write(drafts.join("0123456789abcdef.draft"), b"whole").unwrap();
    fs::write(drafts.join("fedcba9876543210.draft"), b"").unwrap();
    // Neither a draft nor a kept file.
    fs::write(drafts.join("notes.txt"), b"x").unwrap();
    fs::write(root(&folder).join("ba/README"), b"x").unwrap();
    // On restart, a file that was renamed is whole, and there are no drafts in the list.
    let place = Place::Folder(root(&folder));
    let restarted = Storage::open(&place, 0).await.unwrap();
    let [entry] = listed(&restarted).await.try_into().unwrap();
    assert_eq!(entry.digest, digest);
    let long_ago = Timestamp::from_millis(0);
    assert_eq!(restarted.sweep(long_ago).await.unwrap(), 0, "all are young");
    let later = Timestamp::from_millis(i64::MAX);
    assert_eq!(restarted.sweep(later).await.unwrap(), 2);
    assert_eq!(restarted.sweep(later).await.unwrap(), 0);
    assert_eq!(files(&drafts), ["notes.txt"]);
    assert_eq!(read(&restarted, digest, None).await, b"abc");
    // A folder that a killed process made is used.
    fs::create_dir(root(&folder).join("00")).unwrap();
    assert_eq!(listed(&restarted).await.len(), 1);
}

#[tokio::test]
async fn a_file_that_lost_its_end_is_an_error_and_not_a_short_file() {
    let (folder, storage) = opened().await;
    let digest = kept(&storage, &bytes(600_000)).await;
    let mut reading = storage.read(digest, None).await.unwrap();
    let path = root(&folder).join(&files(&root(&folder))[0]);
    fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(400_000)
        .unwrap();
    assert!(reading.chunks.next().await.unwrap().is_ok());
    assert!(reading.chunks.next().await.unwrap().is_err());
}

#[tokio::test]
async fn the_check_leaves_nothing() {
    let (folder, storage) = opened().await;
    storage.check().await.unwrap();
    assert!(files(&root(&folder)).is_empty());
    assert!(storage.bytes_free().await.unwrap().unwrap() > 0);
    let digest = Digest::of(b"abc");
    let lifetime = Duration::from_mins(1);
    let signed = storage.presign(digest, lifetime, SHOWN).await;
    assert_eq!(signed.unwrap(), None);
    // Without its folder of drafts, the storage cannot be written.
    fs::remove_dir(root(&folder).join("tmp")).unwrap();
    let failed = storage.check().await.unwrap_err();
    assert!(matches!(failed, StorageError::Folder { .. }), "{failed}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"x").unwrap();
    let place = Place::Folder(file.join("results"));
    assert!(Storage::open(&place, 0).await.is_err());
    let place = Place::Folder(file);
    assert!(Storage::open(&place, 0).await.is_err());
}

#[tokio::test]
async fn two_writers_of_equal_bytes_do_not_disturb_each_other() {
    let (_folder, storage) = opened().await;
    let mut first = storage.writer().await.unwrap();
    let mut second = storage.writer().await.unwrap();
    first.write(bytes(300_000).into()).await.unwrap();
    second.write(bytes(300_000).into()).await.unwrap();
    let (first, second) = (
        first.finish().await.unwrap(),
        second.finish().await.unwrap(),
    );
    assert_eq!(first, second);
    assert_eq!(
        read(&storage, first.sha256, None).await,
        bytes(300_000),
        "whole"
    );
}
