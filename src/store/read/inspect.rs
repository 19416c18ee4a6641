//! Reads a store for `check` without changing it: creates no file, takes no lock, and leaves the
//! write-ahead log as it is.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;
use rustix::process::geteuid;
use secrecy::ExposeSecret as _;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::files::{beside, folder_of};
use crate::store::engine::postgres::{PostgresServer, examine};
use crate::store::engine::sqlite;
use crate::store::engine::sqlite::access::check_access;
use crate::store::engine::sqlite::disk_space::{Reserve, Room, check_free_files};
use crate::store::engine::sqlite::expected::{check_database, check_files};
use crate::store::engine::sqlite::files::{log_file, real_path};
use crate::store::engine::sqlite::locks::{check_names, lock_files};
use crate::store::engine::sqlite::reserve_file;
use crate::store::engine::sqlite::{connect_options, look_options, with_file};
use crate::store::is_postgres;
use crate::store::read::callback_keys::{HAS_TASKS, SeenKey, seen_on_server};
use crate::store::{Location, StoreError};

/// The state of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inspected {
    /// The file does not exist yet.
    Absent { path: PathBuf },
    /// A process has the file open. That process is responsible for its content.
    InUse { path: PathBuf, process: u32 },
    /// The database itself has no tables of ours. An unfinished write-ahead log may hold
    /// everything.
    Empty { path: PathBuf, has_log: bool },
    /// The schema is known. The start upgrades it from `schema` to `newest`.
    Known {
        path: PathBuf,
        schema: i64,
        newest: i64,
        has_tasks: bool,
    },
    /// A database on a server. `schema` is `None` if it has no tables of ours.
    Server {
        name: String,
        schema: Option<i64>,
        newest: i64,
        /// Settings by which the server does not wait for its disk.
        careless: Vec<&'static str>,
        has_tasks: bool,
        /// The callback keys of its processes.
        keys: Vec<SeenKey>,
    },
}

/// The free space for a SQLite store, and how much there should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomFound {
    pub free_bytes: u64,
    pub wanted_bytes: u64,
    /// Whether submits would be refused.
    pub is_short: bool,
}

/// What a first start needs, rounded up. It writes the tables, which stay in the write-ahead log,
/// the log's index, the high-water mark and the files of secrets (measured: 360 KiB).
pub const START_BYTES: u64 = 512 * 1024;

/// Returns how many bytes this process may still write. Only root may use the blocks that a file
/// system reserves for it.
pub fn bytes_to_fill(folder: &Path) -> io::Result<u64> {
    let found = statvfs(folder)?;
    let blocks = if geteuid().is_root() {
        found.f_bfree
    } else {
        found.f_bavail
    };
    Ok(blocks.saturating_mul(found.f_frsize))
}

impl RoomFound {
    /// Reads the free space of the file system of `folder`, for the store in `database`.
    pub fn of(database: &Path, folder: &Path, min_free: u64) -> io::Result<Self> {
        let room = Room::of(folder)?;
        let reserve = Reserve::of(&room, min_free);
        let has_reserve_file = reserve_file::exists(database);
        Ok(Self {
            free_bytes: room.free_bytes,
            wanted_bytes: reserve.bytes_wanted(has_reserve_file),
            is_short: reserve.is_short(&room, has_reserve_file, false),
        })
    }
}

impl Inspected {
    /// Returns whether the store has tasks; `None` where the process that has it open would have to
    /// be asked.
    pub fn has_tasks(&self) -> Option<bool> {
        match self {
            Self::Known { has_tasks, .. } | Self::Server { has_tasks, .. } => Some(*has_tasks),
            Self::Absent { .. } | Self::Empty { has_log: false, .. } => Some(false),
            Self::InUse { .. } | Self::Empty { has_log: true, .. } => None,
        }
    }

    /// Returns the path of a SQLite store.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Absent { path }
            | Self::InUse { path, .. }
            | Self::Empty { path, .. }
            | Self::Known { path, .. } => Some(path),
            Self::Server { .. } => None,
        }
    }
}

/// # Errors
/// `CannotOpen`, `Unsuitable`, `Damaged`, `SchemaTooNew`, `SchemaDiffers`: the same errors as
/// `Store::open`.
pub async fn inspect(location: &Location) -> Result<Inspected, StoreError> {
    let url = location.url.expose_secret();
    if is_postgres(url) {
        inspect_server(location).await
    } else {
        inspect_file(url).await
    }
}

async fn inspect_server(location: &Location) -> Result<Inspected, StoreError> {
    let server = PostgresServer::new(location)?;
    let connection = server.connect().await?;
    let (examined, mut connection) = examine(&server, connection).await?;
    let keys = seen_on_server(&mut connection).await?;
    let has_tasks = match examined.schema.version {
        Some(_) => {
            sqlx::query_scalar(HAS_TASKS)
                .fetch_one(&mut connection)
                .await?
        }
        None => false,
    };
    connection.close().await?;
    Ok(Inspected::Server {
        name: server.name().to_owned(),
        schema: examined.schema.version,
        newest: examined.schema.newest,
        careless: examined.careless,
        has_tasks,
        keys,
    })
}

async fn inspect_file(url: &str) -> Result<Inspected, StoreError> {
    let given = connect_options(url)?.get_filename().to_owned();
    // The folder need not exist yet.
    let path = real_path(&given).unwrap_or_else(|_| given.clone());
    inspect_path(&given, path.clone())
        .await
        .map_err(|error| with_file(&path, error))
}

async fn inspect_path(given: &Path, path: PathBuf) -> Result<Inspected, StoreError> {
    let folder = folder_of(&path);
    check_access(&path)?;
    if !path.try_exists().unwrap_or(true) {
        check_files(&path)?;
        // The start creates a folder that does not exist yet.
        if folder.exists() {
            check_free_files(&path, &folder)?;
        }
        return Ok(Inspected::Absent { path });
    }
    // Checked beside a running service too, because its next start would be refused.
    check_names(&path)?;
    let locks = lock_files(given, &path);
    if let Some(process) = locks.iter().find_map(|file| lock_holder(file)) {
        return Ok(Inspected::InUse { path, process });
    }
    check_free_files(&path, &folder)?;
    let expected = check_files(&path)?;
    let has_log = has_log(&path);
    let mut connection = look_without_trace(&path, has_log).connect().await?;
    if fs::metadata(&path).is_ok_and(|found| found.len() > 0) && can_read_log(&path, has_log) {
        check_database(expected, &path, &mut connection).await?;
    }
    let schema = sqlite::schema(&mut connection).await?;
    let has_tasks = match schema.version {
        Some(_) => {
            sqlx::query_scalar(HAS_TASKS)
                .fetch_one(&mut connection)
                .await?
        }
        None => false,
    };
    connection.close().await?;
    Ok(match schema.version {
        Some(version) => Inspected::Known {
            path,
            schema: version,
            newest: schema.newest,
            has_tasks,
        },
        None => Inspected::Empty { path, has_log },
    })
}

/// Returns whether a read-only connection sees what the start would see. SQLite reads a log only if
/// its index exists. A killed process leaves both.
fn can_read_log(database: &Path, has_log: bool) -> bool {
    !has_log || beside(database, "-shm").exists()
}

/// Options of a connection that changes no file beside the database either. Usually even a reader
/// creates and changes files there.
fn look_without_trace(database: &Path, has_log: bool) -> SqliteConnectOptions {
    if !(has_log && can_read_log(database, has_log)) {
        return look_options(database).immutable(true);
    }
    // SQLite then reads the log into an index in memory.
    let mut uri = "file:".to_owned();
    for byte in database.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' => uri.push('/'),
            byte if byte.is_ascii_alphanumeric() => uri.push(char::from(*byte)),
            byte => {
                let _ = write!(uri, "%{byte:02x}");
            }
        }
    }
    uri.push_str("?readonly_shm=1");
    look_options(Path::new(&uri))
}

fn has_log(database: &Path) -> bool {
    fs::metadata(log_file(database)).is_ok_and(|log| log.len() > 0)
}

/// Returns the process that holds the lock on `file`, from the kernel's list. Trying the lock, even
/// for an instant, could make the start of a service fail. A holder in another container is not
/// listed, but the read that follows does no harm.
fn lock_holder(file: &Path) -> Option<u32> {
    let file = fs::metadata(file).ok()?;
    let (device, inode) = (file.dev(), file.ino());
    let name = format!(
        "{:02x}:{:02x}:{inode}",
        rustix::fs::major(device),
        rustix::fs::minor(device)
    );
    (0..LOOKS).find_map(|_| {
        let locks = fs::read_to_string("/proc/locks").ok()?;
        locks.lines().find_map(|line| holder(line, &name))
    })
}

/// How often the kernel's list is read. It is returned in pieces, so an entry may be missed while
/// many others change.
const LOOKS: usize = 4;

/// Parses a line such as `3: FLOCK  ADVISORY  WRITE 2406 fe:00:10010675 0 EOF`.
fn holder(line: &str, name: &str) -> Option<u32> {
    let mut words = line.split_whitespace().skip(1);
    let kind = words.next()?;
    let process = words.nth(2)?;
    let is_it = kind == "FLOCK" && words.next()? == name;
    is_it.then(|| process.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_lock_is_read_from_the_kernels_list() {
        let line = "3: FLOCK  ADVISORY  WRITE 2406 fe:00:10010675 0 EOF";
        assert_eq!(holder(line, "fe:00:10010675"), Some(2406));
        assert_eq!(holder(line, "fe:00:1001067"), None);
        for other in [
            "3: POSIX  ADVISORY  WRITE 2406 fe:00:10010675 0 EOF",
            "3: -> FLOCK  ADVISORY  WRITE 2406 fe:00:10010675 0 EOF",
            "3: FLOCK",
            "",
        ] {
            assert_eq!(holder(other, "fe:00:10010675"), None, "{other}");
        }
    }

    #[test]
    fn a_lock_of_this_process_is_found() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(lock_holder(file.path()), None);
        file.as_file().try_lock().unwrap();
        assert_eq!(lock_holder(file.path()), Some(std::process::id()));
    }
}
