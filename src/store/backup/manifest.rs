//! The manifest of a backup: its files, their digests, and the state of the store when it was
//! copied.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize, de};
use sha2::{Digest as _, Sha256};

use crate::domain::event::id::Epoch;
use crate::domain::timestamp::Timestamp;

/// The backup format that this program writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// The name of the manifest in the folder of a backup.
pub const NAME: &str = "manifest.json";

/// The size limit of a manifest. It has a line for each endpoint.
pub const BYTES_MAX: u64 = 4 * 1024 * 1024;

#[derive(Debug, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// The version of the program that made the backup.
    pub version: String,
    /// Parsed rather than kept as text, because a command prints it.
    #[serde(deserialize_with = "made_at")]
    pub made_at: Timestamp,
    pub store: Stored,
    pub files: Vec<BackedUp>,
}

/// The state of the store.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stored {
    pub engine: Engine,
    /// The number of the newest migration; `None` if the database had no tables yet.
    pub schema: Option<i64>,
    /// `None` in a store that was created before epochs existed.
    pub epoch: Option<Epoch>,
    pub newest_task: i64,
    pub newest_event: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    Sqlite,
    /// The database itself is not in the backup.
    Postgres,
}

/// One file of a backup.
#[derive(Debug, Serialize, Deserialize)]
pub struct BackedUp {
    /// The name within the backup's folder.
    pub name: String,
    pub role: Role,
    pub bytes: u64,
    /// 64 hex digits.
    pub sha256: String,
}

/// The purpose of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Database,
    /// `callback_tokens.key_file`
    KeyRing,
    /// `forward.secret_file`
    ForwardSecret,
    /// `secret_file` of the endpoint with this name.
    EndpointSecret(String),
}

fn made_at<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    Timestamp::parse(&text).ok_or_else(|| de::Error::custom("made_at is not a time in RFC 3339"))
}

impl Manifest {
    /// Returns whether every file name stays within the folder, and no two files have the same
    /// role.
    pub fn is_plausible(&self) -> bool {
        let is_plain = |name: &str| {
            !name.starts_with('.')
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
        };
        let files = self.files.iter().enumerate();
        files.clone().all(|(nth, file)| {
            let mut before = self.files[..nth].iter();
            is_plain(&file.name) && before.all(|other| other.role != file.role)
        })
    }
}

/// Returns the length and the SHA-256 of a file.
pub fn digest(path: &Path) -> io::Result<(u64, String)> {
    digest_unless(path, || false)
}

/// Like [`digest`], but fails soon after `is_stopped` returns true.
pub fn digest_unless(path: &Path, is_stopped: impl Fn() -> bool) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let (mut hasher, mut bytes) = (Sha256::new(), 0);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        if is_stopped() {
            return Err(io::Error::other("stopped"));
        }
        hasher.update(&buffer[..read]);
        bytes += read as u64;
    }
    let digest = hasher.finalize();
    let mut hex = String::with_capacity(2 * digest.len());
    for byte in digest {
        write!(hex, "{byte:02x}").expect("a String takes any text");
    }
    Ok((bytes, hex))
}
