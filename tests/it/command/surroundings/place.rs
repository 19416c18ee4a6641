//! A configuration whose surroundings are checked, and proof that a check changes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use evolink_receiver::clock::Clock;
use evolink_receiver::commands::check::surroundings;
use evolink_receiver::config::{Config, TlsMode};
use evolink_receiver::domain::callback::KeyRing;
use evolink_receiver::store::Store;
use tempfile::TempDir;

/// Everything in the folder that a check could change: names, contents, times and modes.
pub fn tree(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, i64, i64, u32)> {
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

pub struct Place {
    pub folder: TempDir,
    pub config: Config,
    pub clock: Clock,
}

impl Place {
    pub fn new() -> Self {
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
        config.archive.url = format!("file:{}", folder.path().join("results").display());
        Self {
            folder,
            config,
            clock: Clock::System,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn database(&self) -> PathBuf {
        self.path("receiver.db")
    }

    /// The finding about `key` as `check` prints it, with shortened paths. Asserts that the folder
    /// is unchanged.
    pub async fn finding(&self, key: &str) -> String {
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

    pub async fn store(&self) -> String {
        self.finding("store.url").await
    }

    pub async fn certificate(&self) -> String {
        self.finding("public.tls").await
    }

    pub fn keep_ring(&self) {
        let file = &self.config.callback_tokens.key_file;
        fs::write(file, KeyRing::generate().unwrap()).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub async fn keep_store(&self) {
        Store::open(&self.config.store.url)
            .await
            .unwrap()
            .close()
            .await;
    }
}
