//! Tests fetches from a server on loopback that does whatever a test says.

mod bodies;
mod following;
mod headers;
mod resumed;
pub(in crate::archive) mod server;

use std::sync::Arc;

use tempfile::TempDir;

use server::{Asked, Server, Turn};

use super::*;
use crate::archive::content::samples::{all, png};
use crate::archive::content::{Media, RefusedContent};
use crate::archive::storage::StorageError;
use crate::domain::egress::AllowedHosts;
use crate::domain::result_file::Place;

/// A storage, a fetcher that may call loopback, and a server there.
struct Bed {
    folder: TempDir,
    storage: Storage,
    fetcher: Fetcher,
    server: Server,
}

/// Small bounds, so that tests are quick.
fn small_bounds() -> Bounds {
    let bound = |kibibytes: u64| Bound {
        bytes_max: kibibytes * 1024,
        time_max: Duration::from_secs(5),
    };
    Bounds {
        image: bound(512),
        audio: bound(1024),
        video: bound(8192),
        answer_time_max: Duration::from_millis(500),
        rate: Rate {
            window: Duration::from_millis(300),
            bytes_min: 1000,
        },
        resume_pause: Duration::from_millis(1),
        ..Bounds::default()
    }
}

fn rules() -> ResultRules {
    ResultRules {
        allowed_hosts: AllowedHosts::new(&["localhost".to_owned(), "*.localhost".to_owned()]),
        allow_networks: Arc::new(["127.0.0.0/8", "::1/128"].map(|n| n.parse().unwrap())),
    }
}

impl Bed {
    async fn new(turns: impl Fn(&Asked) -> Vec<Turn> + Send + Sync + 'static) -> Self {
        Self::with(small_bounds(), turns).await
    }

    async fn with(
        bounds: Bounds,
        turns: impl Fn(&Asked) -> Vec<Turn> + Send + Sync + 'static,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::Folder(folder.path().join("results"));
        Self {
            storage: Storage::open(&place, 0).await.unwrap(),
            fetcher: Fetcher::new(rules(), bounds, "evolink-receiver/test", &[]).unwrap(),
            server: Server::start(turns).await,
            folder,
        }
    }

    async fn fetch(&self, path: &str) -> Result<Fetched, Failure> {
        let url = format!("{}{path}", self.server.base());
        self.fetch_url(&url).await
    }

    async fn fetch_url(&self, url: &str) -> Result<Fetched, Failure> {
        let fetched = self.fetcher.fetch(&self.storage, url).await;
        let is_kept = fetched.is_ok();
        assert_eq!(self.has_files(), is_kept, "whole or not at all");
        fetched
    }

    async fn failure(&self, path: &str) -> Failure {
        self.fetch(path).await.unwrap_err()
    }

    fn has_files(&self) -> bool {
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if !path.is_dir() {
                    return true;
                }
                folders.push(path);
            }
        }
        false
    }
}

/// An answer with a Content-Length.
fn ok(body: &[u8]) -> Vec<Turn> {
    ok_with("", body)
}

/// `headers` are whole lines.
fn ok_with(headers: &str, body: &[u8]) -> Vec<Turn> {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{headers}\r\n");
    vec![Turn::Send(head.into()), Turn::Send(body.to_vec())]
}

fn head(text: &str) -> Vec<Turn> {
    vec![Turn::Send(text.replace('\n', "\r\n").into_bytes())]
}

fn is_retry(failure: &Failure) -> bool {
    matches!(failure.next, Next::Retry { .. })
}
