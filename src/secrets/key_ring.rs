//! The file of the callback key ring. It is read at startup. The first start creates it.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use tracing::info;

use crate::config::{Config, ConfigError};
use crate::domain::callback::KeyRing;
use crate::exit::CommandError;
use crate::files::folder_of;
use crate::observe::telemetry::CONFIGURATION;
use crate::secret_file;
use crate::store::backup;
use crate::store::engine::sqlite::expected::is_gone;
use crate::store::engine::sqlite::mark;
use crate::store::read::callback_keys::Agreement;
use crate::store::{Store, StoreError};

/// The configuration key that names the file.
const KEY: &str = "callback_tokens.key_file";

/// Reads the ring in `path`, or creates one if this is the first start. Registers its keys in the
/// store.
///
/// # Errors
/// If the file is not a key ring, or cannot be read or created. If there is none although the store
/// has tasks, or other processes use the database with other keys; then no ring is created.
pub async fn open(store: &Store, path: &Path) -> Result<KeyRing, CommandError> {
    if !path.try_exists().unwrap_or(true) {
        let traces = store.traces().await?;
        let knows_keys = store.is_shared() && traces.has_keys;
        let refusal = refusal_to_make(path, knows_keys, traces.has_tasks);
        // A replica that shares the folder makes its ring before it registers the keys, so look
        // again.
        if let Some(refusal) = refusal.filter(|_| !path.try_exists().unwrap_or(true)) {
            return Err(refusal.into());
        }
    }
    let (ring, is_made) = load_or_create(path)?;
    if let Some(refusal) = refusal(&agree(store, &ring).await?) {
        if !is_made {
            return Err(refusal.into());
        }
        // Another process registered its keys after we had looked.
        fs::remove_file(path).map_err(|error| failed(path, &error))?;
        return Err(absent(path).into());
    }
    if is_made {
        info!(target: CONFIGURATION, file = %path.display(), "made a new key ring, {}", path.display());
    }
    Ok(ring)
}

/// Returns why a start that finds no ring in `path` makes none. `knows_keys` says whether other
/// processes of a shared database have registered theirs.
pub fn refusal_to_make(path: &Path, knows_keys: bool, has_tasks: bool) -> Option<ConfigError> {
    if knows_keys {
        Some(absent(path))
    } else {
        has_tasks.then(|| lost(path))
    }
}

/// The error where the store has tasks, and there is no ring.
fn lost(path: &Path) -> ConfigError {
    let shown = secret_file::shown_path(path);
    ConfigError::new(
        KEY,
        format!(
            "{shown} is absent, but the store has tasks: with a new ring, EvoLink's callbacks for them get 404. Is the path \
             right, or is the file in a backup? If it is lost for good, {}, and the outcomes of the open tasks are found by \
             polling",
            make_one(path)
        ),
    )
}

/// What to do where a ring is lost for good.
fn make_one(path: &Path) -> String {
    let shown = secret_file::shown_path(path);
    format!("make a new one with: (umask 077; evolink-receiver keys new --ring > {shown})")
}

/// The error where a shared database knows keys, and there is no ring.
fn absent(path: &Path) -> ConfigError {
    let make_one = make_one(path);
    let path = secret_file::shown_path(path);
    ConfigError::new(
        KEY,
        format!(
            "{path} is absent, and the database's other processes have one: copy theirs here (if it is lost for good, empty \
             the table callback_key, and {make_one})"
        ),
    )
}

/// Returns the ring in `path`, and whether it was created because there was none.
fn load_or_create(path: &Path) -> Result<(KeyRing, bool), ConfigError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok((parse(path, &text)?, false)),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            create(path).map_err(|error| failed(path, &error))?;
            Ok((load(path)?, true))
        }
        Err(error) => Err(failed(path, &error)),
    }
}

/// Reads the ring in `path`, if there is one, without making it.
///
/// # Errors
/// If the file is not a key ring, or cannot be read.
pub fn load_if_there(path: &Path) -> Result<Option<KeyRing>, ConfigError> {
    let is_there = path.try_exists().map_err(|error| failed(path, &error))?;
    is_there.then(|| load(path)).transpose()
}

/// Refuses a key ring beside a SQLite database that is missing: the start creates the ring after
/// the database. A ring in another folder may have been provided by an operator.
///
/// # Errors
/// `Gone`.
pub fn check_database_is_there(config: &Config) -> Result<(), StoreError> {
    let database = backup::database_file(&config.store.url)?;
    let (Some(database), ring) = (database, &config.callback_tokens.key_file) else {
        return Ok(());
    };
    let folder = |path: &Path| fs::canonicalize(folder_of(path)).ok();
    let is_beside = folder(&database).is_some_and(|of_it| Some(of_it) == folder(ring));
    // A high-water mark says more, and the store refuses the start for it.
    let is_gone_without_mark = !database.exists() && !mark::file(&database).exists();
    if is_beside && ring.exists() && is_gone_without_mark {
        return Err(is_gone(&database, ring));
    }
    Ok(())
}

/// Reads the ring in `path`. The file must exist.
///
/// # Errors
/// If it is not a key ring, or cannot be read.
pub fn load(path: &Path) -> Result<KeyRing, ConfigError> {
    let text = fs::read_to_string(path).map_err(|error| failed(path, &error))?;
    parse(path, &text)
}

async fn agree(store: &Store, ring: &KeyRing) -> Result<Agreement, StoreError> {
    match store.agree_on_keys(&ring.fingerprints()).await {
        // A SQLite store has no other process, so the next start may note the keys.
        Err(StoreError::Full) if !store.is_shared() => Ok(Agreement::Agreed),
        agreement => agreement,
    }
}

/// Returns why the start is refused, if the ring does not match the keys of the other processes
/// that use the database. Says what must be done.
pub fn refusal(agreement: &Agreement) -> Option<ConfigError> {
    let refuse = |message: String| Some(ConfigError::new(KEY, message));
    match agreement {
        Agreement::Agreed => None,
        Agreement::Differs { id } => refuse(format!(
            "key {id} is not the key of that id that the database's other processes have; give all of them the same file"
        )),
        Agreement::NoKnownKey => refuse(
            "holds none of the keys that the database's other processes have, so they would refuse the callback URLs made here; \
             give all of them the same file (if theirs is lost for good, empty the table callback_key)"
                .to_owned(),
        ),
    }
}

fn parse(path: &Path, text: &str) -> Result<KeyRing, ConfigError> {
    if let Some(oddity) = secret_file::oddity(text) {
        let path = secret_file::shown_path(path);
        return Err(ConfigError::new(KEY, format!("{path} {oddity}")));
    }
    KeyRing::parse(text)
        .map_err(|error| ConfigError::new(KEY, format!("{}: {error}", path.display())))
}

fn create(path: &Path) -> std::io::Result<()> {
    let ring = KeyRing::generate().map_err(|error| std::io::Error::other(error.to_string()))?;
    secret_file::make(path, &ring)
}

fn failed(path: &Path, error: &std::io::Error) -> ConfigError {
    ConfigError::new(KEY, format!("{}: {error}", secret_file::shown_path(path)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::callback::Subject;

    #[test]
    fn a_ring_is_made_once_and_kept_from_others() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/ring");
        let subject = Subject::Standing("shop".parse().unwrap());
        let (ring, is_made) = load_or_create(&path).unwrap();
        let (again, is_made_again) = load_or_create(&path).unwrap();
        assert!(is_made && !is_made_again);
        assert_eq!(again.mint(&subject), ring.mint(&subject));
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_broken_ring_is_an_error_that_names_the_key_and_not_the_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ring");
        fs::write(&path, "k1 5ec7e7").unwrap();
        let error = load_or_create(&path).unwrap_err().to_string();
        assert!(
            error.starts_with("callback_tokens.key_file") && !error.contains("5ec7e7"),
            "{error}"
        );
    }
}
