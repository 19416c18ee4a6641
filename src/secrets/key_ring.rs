//! The file of the callback key ring. It is read at startup. The first start creates it.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use tracing::warn;

use super::secret_file;
use crate::commands::backup_places;
use crate::config::{Config, ConfigError};
use crate::domain::callback::KeyRing;
use crate::exit::CommandError;
use crate::observe::telemetry::CONFIGURATION;
use crate::store::engine::sqlite::expected::is_gone;
use crate::store::engine::sqlite::files::folder_of;
use crate::store::engine::sqlite::mark;
use crate::store::read::callback_keys::Agreement;
use crate::store::{Store, StoreError};

/// The configuration key that names the file.
const KEY: &str = "callback_tokens.key_file";

/// Reads the ring in `path`. Creates a new one if there is no such file.
///
/// # Errors
/// If the file is not a key ring, or cannot be read or created.
pub fn load_or_create(path: &Path) -> Result<KeyRing, ConfigError> {
    match fs::read_to_string(path) {
        Ok(text) => parse(path, &text),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            create(path).map_err(|error| failed(path, &error))?;
            // This is normal at the first start. Later, it shows that the file was lost or its path
            // is misspelled.
            warn!(target: CONFIGURATION, file = %path.display(), "made a new key ring, {}: callback URLs minted before are void", path.display());
            load(path)
        }
        Err(error) => Err(failed(path, &error)),
    }
}

/// Checks the ring in `path`, if there is one, without making it.
///
/// # Errors
/// As `load_or_create`.
pub fn load_if_there(path: &Path) -> Result<(), ConfigError> {
    let is_there = path.try_exists().map_err(|error| failed(path, &error))?;
    if is_there {
        load(path)?;
    }
    Ok(())
}

/// Refuses a key ring beside a SQLite database that is missing: the start creates the ring after
/// the database. A ring in another folder may have been provided by an operator.
///
/// # Errors
/// `Damaged`.
pub fn check_database_is_there(config: &Config) -> Result<(), CommandError> {
    let places = backup_places::of(config)?;
    let (Some(database), ring) = (places.database, places.key_ring) else {
        return Ok(());
    };
    let folder = |path: &Path| fs::canonicalize(folder_of(path)).ok();
    let is_beside = folder(&database).is_some_and(|of_it| Some(of_it) == folder(&ring));
    // A high-water mark says more, and the store refuses the start for it.
    let is_gone_without_mark = !database.exists() && !mark::file(&database).exists();
    if is_beside && ring.exists() && is_gone_without_mark {
        return Err(is_gone(&database, &ring).into());
    }
    Ok(())
}

/// Reads the ring in `path`. The file must exist.
///
/// # Errors
/// The same as for `load_or_create`.
pub fn load(path: &Path) -> Result<KeyRing, ConfigError> {
    let text = fs::read_to_string(path).map_err(|error| failed(path, &error))?;
    parse(path, &text)
}

/// Refuses a ring that does not match the keys of the other processes that use this database.
///
/// # Errors
/// Says what must be done.
pub async fn agree(store: &Store, ring: &KeyRing) -> Result<(), CommandError> {
    let refuse = |message: String| Err(ConfigError::new(KEY, message).into());
    let agreement = match store.agree_on_keys(&ring.fingerprints()).await {
        // A SQLite store has no other process, so the next start may note the keys.
        Err(StoreError::Full) if !store.is_shared() => return Ok(()),
        agreement => agreement?,
    };
    match agreement {
        Agreement::Agreed => Ok(()),
        Agreement::Differs { id } => refuse(format!(
            "key {id} is not the key of that id that the database's other processes have; give all of them the same file"
        )),
        Agreement::Strange => refuse(
            "holds none of the keys that the database's other processes have, so they would refuse the callback URLs made here; \
             give all of them the same file (if theirs is lost for good, empty the table callback_key)"
                .to_owned(),
        ),
    }
}

fn parse(path: &Path, text: &str) -> Result<KeyRing, ConfigError> {
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
        let token = load_or_create(&path).unwrap().mint(&subject);
        assert_eq!(load_or_create(&path).unwrap().mint(&subject), token);
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
