//! The schema of a database: which migrations were applied, and whether this program can continue
//! from there. The start and `check` both use `Schema::of`, before anything is written.

use sqlx::migrate::{MigrateError, Migrator};

use crate::store::StoreError;

/// An applied migration: its version, and the SHA-384 of its text.
pub type Applied = (i64, Vec<u8>);

pub const APPLIED: &str = "SELECT version, checksum FROM _sqlx_migrations ORDER BY version";

/// A schema that this program can use or upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schema {
    /// The last migration that was applied; `None` if none was.
    pub version: Option<i64>,
    /// The last migration of this program.
    pub newest: i64,
    is_current: bool,
}

impl Schema {
    /// # Errors
    /// `SchemaTooNew` if a migration was applied that this program does not know, `SchemaDiffers`
    /// if one was applied with a different text.
    pub fn of(applied: &[Applied], migrations: &Migrator) -> Result<Self, StoreError> {
        let newest = migrations.iter().map(|ours| ours.version).max();
        let newest = newest.unwrap_or_default();
        for (version, checksum) in applied {
            let ours = migrations.iter().find(|ours| ours.version == *version);
            let Some(ours) = ours else {
                let found = *version;
                return Err(StoreError::SchemaTooNew { found, newest });
            };
            if *checksum != *ours.checksum {
                return Err(StoreError::SchemaDiffers(*version));
            }
        }
        let is_applied = |version| applied.iter().any(|(applied, _)| *applied == version);
        Ok(Self {
            version: applied.iter().map(|(version, _)| *version).max(),
            newest,
            is_current: migrations.iter().all(|ours| is_applied(ours.version)),
        })
    }

    /// Returns whether there is nothing to apply.
    pub const fn is_current(&self) -> bool {
        self.is_current
    }

    /// Logs that an existing database is being upgraded, which may take a while.
    pub fn announce(&self) {
        if let Some(version) = self.version {
            let newest = self.newest;
            tracing::info!(
                version,
                newest,
                "upgrading the schema of the store from {version} to {newest}"
            );
        }
    }
}

/// Converts an error of the migrator. It detects what another process did between our check and our
/// migrations.
pub fn migration_error(error: MigrateError, migrations: &Migrator) -> StoreError {
    match error {
        MigrateError::VersionMissing(found) => StoreError::SchemaTooNew {
            found,
            newest: migrations
                .iter()
                .map(|ours| ours.version)
                .max()
                .unwrap_or(0),
        },
        MigrateError::VersionMismatch(version) => StoreError::SchemaDiffers(version),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        other => sqlx::Error::Migrate(Box::new(other)).into(),
    }
}

#[cfg(test)]
mod tests {
    use sqlx::SqlSafeStr as _;
    use sqlx::migrate::{Migration, MigrationType};

    use super::*;

    fn migration(version: i64) -> Migration {
        let text = "SELECT 1".into_sql_str();
        Migration::new(version, "test".into(), MigrationType::Simple, text, false)
    }

    fn applied(versions: &[i64]) -> Vec<Applied> {
        let checksum = migration(0).checksum.to_vec();
        let versions = versions.iter();
        versions
            .map(|version| (*version, checksum.clone()))
            .collect()
    }

    #[test]
    fn a_schema_is_new_old_current_too_new_or_not_ours() {
        let migrations = Migrator::with_migrations(vec![migration(1), migration(2)]);
        let of = |versions: &[i64]| Schema::of(&applied(versions), &migrations);
        let found = |versions: &[i64]| {
            let schema = of(versions).unwrap();
            (schema.version, schema.newest, schema.is_current())
        };
        assert_eq!(found(&[]), (None, 2, false));
        assert_eq!(found(&[1]), (Some(1), 2, false));
        assert_eq!(found(&[1, 2]), (Some(2), 2, true));
        let newer = of(&[1, 2, 3]).unwrap_err();
        let is_newer = matches!(
            newer,
            StoreError::SchemaTooNew {
                found: 3,
                newest: 2
            }
        );
        assert!(is_newer, "{newer:?}");
        let other = Schema::of(&[(1, vec![0; 48])], &migrations).unwrap_err();
        assert!(matches!(other, StoreError::SchemaDiffers(1)), "{other:?}");
    }
}
