//! Tests a folder that is not there, that loses its folders, or that has little space.

use std::fs;

use super::super::*;
use super::folder::{files, opened, root};
use super::{bytes, kept, later, listed, read};

#[tokio::test]
async fn a_volume_that_is_not_there_is_no_missing_file() {
    let (folder, storage) = opened().await;
    let digest = kept(&storage, b"abc").await;
    let moved = folder.path().join("moved");
    fs::rename(root(&folder), &moved).unwrap();
    // An empty mount point, and none.
    fs::create_dir(root(&folder)).unwrap();
    for _ in 0..2 {
        let failed = [
            storage.read(digest, None).await.err(),
            storage.bytes_of(digest).await.err(),
            storage.delete(digest).await.err(),
            storage.delete_older(digest, later()).await.err(),
            storage.identity().await.err(),
            storage.is_empty().await.err(),
            storage.sweep(later()).await.err(),
        ];
        for (n, failed) in failed.into_iter().enumerate() {
            let is_folder = matches!(failed, Some(StorageError::Folder { .. }));
            assert!(is_folder, "{n}: {failed:?}");
        }
        let _ = fs::remove_dir(root(&folder));
    }
    fs::rename(&moved, root(&folder)).unwrap();
    assert_eq!(read(&storage, digest, None).await, b"abc");
}

#[tokio::test]
async fn a_folder_that_was_deleted_is_made_again() {
    let (folder, storage) = opened().await;
    let digest = kept(&storage, b"abc").await;
    storage.delete(digest).await.unwrap();
    fs::remove_dir(root(&folder).join("ba")).unwrap();
    assert!(listed(&storage).await.is_empty());
    assert_eq!(kept(&storage, b"abc").await, digest);
    assert_eq!(read(&storage, digest, None).await, b"abc");
}

#[tokio::test]
async fn a_file_is_refused_while_it_grows_if_too_little_space_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::Folder(folder.path().join("data/results"));
    // More than there is.
    let storage = Storage::open(&place, u64::MAX).await.unwrap();
    let mut writer = storage.writer().await.unwrap();
    let refused = writer.require_space(1).await;
    assert!(matches!(refused, Err(StorageError::Full)));
    // It is not looked at more often, because looking takes time.
    writer
        .write(bytes(8 * 1024 * 1024 - 1).into())
        .await
        .unwrap();
    let refused = writer.write(bytes(300_000).into()).await;
    assert!(matches!(refused, Err(StorageError::Full)));
    assert!(writer.finish().await.is_err());
    assert!(files(&root(&folder)).is_empty());
    // A small file still fits: the caller asks for the free space before it fetches.
    kept(&storage, b"abc").await;
}

#[tokio::test]
async fn space_for_the_declared_bytes_must_be_free() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::Folder(folder.path().join("data/results"));
    let free = Storage::open(&place, 0).await.unwrap();
    let free = free.bytes_free().await.unwrap().unwrap();
    // Half of what is free must stay.
    let storage = Storage::open(&place, free / 2).await.unwrap();
    let mut writer = storage.writer().await.unwrap();
    writer.require_space(free / 4).await.unwrap();
    for too_many in [free / 4 * 3, u64::MAX] {
        let refused = writer.require_space(too_many).await;
        assert!(matches!(refused, Err(StorageError::Full)), "{too_many}");
    }
    // No limit.
    let storage = Storage::open(&place, 0).await.unwrap();
    let mut writer = storage.writer().await.unwrap();
    writer.require_space(u64::MAX).await.unwrap();
}
