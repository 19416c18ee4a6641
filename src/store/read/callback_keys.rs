//! Checks that all processes of one database mint callback tokens with keys that all of them know.
//! A replica with its own key ring would hand out callback URLs that the others refuse.

use sqlx::PgConnection;

use crate::domain::callback::KeyFingerprint;
use crate::store::engine::rows::Rows;
use crate::store::engine::script::Script;
use crate::store::engine::writer::{Writer, on_writer};
use crate::store::{Store, StoreError};

static INSERT: Rows<2> = Rows::insert("callback_key", ["id", "fingerprint"]);

/// A key that a process has used: its id and its fingerprint.
pub type SeenKey = (String, Vec<u8>);

const SEEN: &str = "SELECT id, fingerprint FROM callback_key";

/// Whether there is any task.
pub const HAS_TASKS: &str = "SELECT max(seq) IS NOT NULL FROM task";

/// What earlier processes, and others that run, have left in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traces {
    pub has_keys: bool,
    pub has_tasks: bool,
}

/// How the keys of a ring compare with those that the database has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Agreement {
    Agreed,
    /// The database knows another key under this id.
    Differs {
        id: String,
    },
    /// The database has seen keys, but none of this ring.
    NoKnownKey,
}

impl Agreement {
    /// Compares a ring with the keys that the database has seen. A SQLite file is not shared: it
    /// has no second process that could refuse our URLs.
    pub fn of(ring: &[KeyFingerprint], seen: &[SeenKey], is_shared: bool) -> Self {
        let differs = |(id, fingerprint): &&SeenKey| {
            let ours = ring.iter().find(|key| key.id == *id);
            ours.is_some_and(|key| fingerprint[..] != key.fingerprint)
        };
        if let Some((id, _)) = seen.iter().find(differs) {
            return Self::Differs { id: id.clone() };
        }
        let is_new = |key: &KeyFingerprint| seen.iter().all(|(id, _)| *id != key.id);
        if is_shared && !seen.is_empty() && ring.iter().all(is_new) {
            return Self::NoKnownKey;
        }
        Self::Agreed
    }
}

/// Reads the keys that the processes of a PostgreSQL database have used. None if our tables are not
/// there.
///
/// # Errors
/// If the database cannot be read.
pub async fn seen_on_server(connection: &mut PgConnection) -> Result<Vec<SeenKey>, StoreError> {
    const TABLE: &str = "SELECT to_regclass('callback_key') IS NOT NULL";
    let is_there: bool = sqlx::query_scalar(TABLE)
        .fetch_one(&mut *connection)
        .await?;
    if !is_there {
        return Ok(Vec::new());
    }
    Ok(sqlx::query_as(SEEN).fetch_all(connection).await?)
}

impl Store {
    /// # Errors
    /// If the database cannot be read.
    pub async fn traces(&self) -> Result<Traces, StoreError> {
        const SQL: &str = "SELECT (SELECT count(*) FROM callback_key), (SELECT max(seq) FROM task)";
        let mut writer = self.connect_writer().await?;
        let found: Result<(i64, Option<i64>), _> =
            on_writer!(&mut writer, connection => sqlx::query_as(SQL).fetch_one(connection));
        writer.close().await;
        let (keys, newest_task) = found?;
        Ok(Traces {
            has_keys: keys > 0,
            has_tasks: newest_task.is_some(),
        })
    }

    /// Compares the ring with the keys that the database has seen. Adds the new ones unless they
    /// disagree.
    ///
    /// # Errors
    /// If the database cannot be read or written.
    pub async fn agree_on_keys(&self, ring: &[KeyFingerprint]) -> Result<Agreement, StoreError> {
        let mut writer = self.connect_writer().await?;
        writer.begin().await?;
        let agreement = self.compare(&mut writer, ring).await;
        writer.close().await;
        agreement
    }

    async fn compare(
        &self,
        writer: &mut Writer,
        ring: &[KeyFingerprint],
    ) -> Result<Agreement, StoreError> {
        let seen: Vec<SeenKey> =
            on_writer!(writer, connection => sqlx::query_as(SEEN).fetch_all(connection))?;
        let agreement = Agreement::of(ring, &seen, self.is_shared());
        if agreement != Agreement::Agreed {
            return Ok(agreement);
        }
        let new = ring
            .iter()
            .filter(|key| seen.iter().all(|(id, _)| *id != key.id));
        let rows: Vec<_> = new
            .map(|key| [key.id.as_str().into(), key.fingerprint.as_slice().into()])
            .collect();
        let mut script = Script::new(writer);
        INSERT.add_to(&mut script, &rows)?;
        script.commit();
        script.run(writer).await?;
        Ok(Agreement::Agreed)
    }
}
