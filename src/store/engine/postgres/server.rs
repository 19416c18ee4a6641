//! A PostgreSQL server, and how to connect to it.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Executor as _, PgConnection};
use tokio::sync::Mutex;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::address;
use crate::secret_file::{self, shown_path};
use crate::store::error::{is_without_tls, shown};
use crate::store::{Location, StoreError, epochs};

/// The time limit of a connection attempt. A slower server counts as unreachable.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The first retry delay of a connection that the server refuses.
pub const RETRY_AFTER: Duration = Duration::from_millis(20);

/// Session settings. Notices are for people at a terminal, so they are off. An index answers each
/// of our queries in its order. A plan that is made while the tables are small, and kept for good,
/// must use the index too. Our queries are short: compiling one (JIT), because the plan might cost
/// much over millions of rows, takes longer than running it.
const SESSION: &str =
    "SET client_min_messages = error; SET jit = off; SET plan_cache_mode = force_generic_plan;
    SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off;
    SET enable_hashjoin = off; SET enable_mergejoin = off";

/// Timeouts of the writer. A recorder that was cut off or frozen while it holds the write lock must
/// not block the others for long.
const WRITER: &str = "SET statement_timeout = '4s'; SET idle_in_transaction_session_timeout = '3s'";

const READER: &str = "SET default_transaction_read_only = on; SET statement_timeout = '5s';
    SET idle_in_transaction_session_timeout = '5s'";

/// The parameters of a URL that name files of TLS, in each spelling of the driver.
const TLS_FILES: [&str; 7] = [
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
];

/// A database on a PostgreSQL server.
#[derive(Clone, Debug)]
pub struct PostgresServer {
    url: SecretString,
    password_file: Option<PathBuf>,
    name: String,
    /// The files of a new connection are being read. At most one thread does that, because a file
    /// system that does not answer keeps it.
    reading: Arc<Mutex<Option<Reading>>>,
}

type Reading = JoinHandle<Result<PgConnectOptions, String>>;

impl PostgresServer {
    /// # Errors
    /// `Unsuitable` if the URL has not the form of one, `CannotOpen` if the driver does not
    /// understand it.
    pub fn new(location: &Location) -> Result<Self, StoreError> {
        if let Some(refusal) = address::refusal(location.url.expose_secret()) {
            return Err(StoreError::Unsuitable {
                path: "the PostgreSQL server".to_owned(),
                reason: format!("store.url {refusal}"),
            });
        }
        let options = parse(&location.url).map_err(|reason| StoreError::CannotOpen {
            path: "the PostgreSQL server".to_owned(),
            reason,
        })?;
        Ok(Self {
            url: location.url.clone(),
            password_file: location.password_file.clone(),
            name: name(&options),
            reading: Arc::default(),
        })
    }

    /// Host and database, without the password.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Builds the options of a new connection. They are read again for each connection: the
    /// password, in its file or in `.pgpass`, may have been rotated.
    ///
    /// # Errors
    /// `CannotOpen` if a file cannot be read, or not in time.
    pub async fn options_in_time(&self) -> Result<PgConnectOptions, StoreError> {
        self.options_until(Instant::now() + CONNECT_TIMEOUT).await
    }

    async fn options_until(&self, deadline: Instant) -> Result<PgConnectOptions, StoreError> {
        let options = match timeout_at(deadline, self.options()).await {
            Ok(options) => options,
            Err(_) => Err(format!(
                "the files of the password and of TLS could not be read within {CONNECT_TIMEOUT:?}"
            )),
        };
        options.map_err(|reason| self.cannot_open(reason))
    }

    async fn options(&self) -> Result<PgConnectOptions, String> {
        let mut reading = self.reading.lock().await;
        let task = reading.get_or_insert_with(|| {
            let (url, file) = (self.url.clone(), self.password_file.clone());
            spawn_blocking(move || read_options(&url, file.as_deref()))
        });
        let options = task.await;
        *reading = None;
        options.unwrap_or_else(|error| Err(error.to_string()))
    }

    /// # Errors
    /// `NoConnectionLeft` if the server has too many connections already, `CannotOpen` if it
    /// refuses the login for another reason.
    pub async fn connect(&self) -> Result<PgConnection, StoreError> {
        let connected = self.connect_in_time().await?;
        connected.ok_or_else(|| self.cannot_open(no_answer()))
    }

    /// Connects. Returns `None` if the server, or a pooler in front of it, does not answer in time.
    async fn connect_in_time(&self) -> Result<Option<PgConnection>, StoreError> {
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        let options = self.options_until(deadline).await?;
        let connecting = async {
            let mut connection = options.connect().await?;
            connection.execute(SESSION).await?;
            Ok(connection)
        };
        match timeout_at(deadline, connecting).await {
            Ok(Ok(connection)) => Ok(Some(connection)),
            Ok(Err(error)) => Err(self.refused(error).await),
            Err(_) => Ok(None),
        }
    }

    /// # Errors
    /// The errors of `connect`, and those of reading or beginning the epoch.
    pub async fn connect_writer(&self) -> Result<PgConnection, StoreError> {
        let mut connection = self.connect().await?;
        connection.execute(WRITER).await?;
        epochs::settle_postgres(&mut connection).await?;
        Ok(connection)
    }

    /// # Errors
    /// The errors of `connect`. No answer in time is `NoConnectionLeft`, because PgBouncer lets a
    /// connection that is too many wait.
    pub async fn connect_reader(&self) -> Result<PgConnection, StoreError> {
        let connected = self.connect_in_time().await?;
        let mut connection = connected.ok_or_else(|| self.no_connection_left(no_answer()))?;
        connection.execute(READER).await?;
        Ok(connection)
    }

    async fn refused(&self, error: sqlx::Error) -> StoreError {
        if is_for_want_of_connections(&error) {
            return self.no_connection_left(shown(&error));
        }
        let explained = match &error {
            sqlx::Error::Io(error) => {
                let (url, kind) = (self.url.clone(), error.kind());
                let looking = spawn_blocking(move || unreadable_file(&url, kind));
                let deadline = Instant::now() + CONNECT_TIMEOUT;
                let looked = timeout_at(deadline, looking).await;
                looked.ok().and_then(Result::ok).flatten()
            }
            error if is_without_tls(error) => self.missing_tls(),
            _ => None,
        };
        self.cannot_open(explained.unwrap_or_else(|| shown(&error)))
    }

    /// Names the `sslmode` that a server without TLS cannot satisfy.
    fn missing_tls(&self) -> Option<String> {
        let url = Url::parse(self.url.expose_secret()).ok()?;
        let mut parameters = url.query_pairs();
        let (_, mode) = parameters.find(|(name, _)| name == "sslmode" || name == "ssl-mode")?;
        let mode = ["require", "verify-ca", "verify-full"]
            .into_iter()
            .find(|known| known.eq_ignore_ascii_case(&mode))?;
        Some(format!(
            "the server does not offer TLS, and sslmode={mode} requires it"
        ))
    }

    pub fn no_connection_left(&self, reason: String) -> StoreError {
        StoreError::NoConnectionLeft {
            path: self.name.clone(),
            reason,
        }
    }

    pub fn cannot_open(&self, reason: String) -> StoreError {
        StoreError::CannotOpen {
            path: self.name.clone(),
            reason,
        }
    }
}

fn no_answer() -> String {
    format!("no answer within {CONNECT_TIMEOUT:?}")
}

/// Reads the files of a connection, and blocks meanwhile.
fn read_options(
    url: &SecretString,
    password_file: Option<&Path>,
) -> Result<PgConnectOptions, String> {
    // The driver reads them itself. It would wait for the writer of a FIFO each time.
    let is_blocking = |path: &Path| path.metadata().is_ok_and(|file| !file.is_file());
    if let Some((name, path)) = tls_files(url)
        .into_iter()
        .find(|(_, path)| is_blocking(path))
    {
        let path = shown_path(&path);
        return Err(format!("{name}: {path}: it is not a regular file"));
    }
    let options = parse(url)?;
    let Some(file) = password_file else {
        return Ok(options);
    };
    let password = secret_file::read(file).map_err(|error| error.to_string())?;
    Ok(options.password(password.expose_secret()))
}

/// Names the file of a TLS parameter that cannot be read, if its error is of this kind. Blocks.
fn unreadable_file(url: &SecretString, kind: io::ErrorKind) -> Option<String> {
    tls_files(url).into_iter().find_map(|(name, path)| {
        let reading = secret_file::open(&path).and_then(|mut file| file.read(&mut [0]));
        let found = reading.err().filter(|found| found.kind() == kind)?;
        Some(format!("{name}: {}: {found}", shown_path(&path)))
    })
}

/// The files that parameters of TLS name.
fn tls_files(url: &SecretString) -> Vec<(String, PathBuf)> {
    let Ok(url) = Url::parse(url.expose_secret()) else {
        return Vec::new();
    };
    // The driver also accepts a certificate itself in place of its path.
    url.query_pairs()
        .filter(|(name, value)| {
            TLS_FILES.contains(&&**name) && !value.trim_start().starts_with("-----")
        })
        .map(|(name, value)| (name.into_owned(), PathBuf::from(&*value)))
        .collect()
}

fn parse(url: &SecretString) -> Result<PgConnectOptions, String> {
    let options = PgConnectOptions::from_str(url.expose_secret());
    let options = options.map_err(|error| shown(&error))?;
    Ok(options
        // PgBouncer refuses a startup parameter that it does not know. We read no float as text.
        .extra_float_digits(None)
        .application_name("evolink-receiver")
        .disable_statement_logging())
}

fn name(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or(options.get_username());
    match options.get_socket() {
        Some(folder) => format!("postgres database {database} in {}", folder.display()),
        None => format!(
            "postgres database {database} at {}:{}",
            options.get_host(),
            options.get_port()
        ),
    }
}

/// Returns whether the server, the database, the role or a PgBouncer in front has reached its
/// limit.
fn is_for_want_of_connections(error: &sqlx::Error) -> bool {
    const TOO_MANY_CONNECTIONS: &str = "53300";
    // PgBouncer has no error code of its own for this.
    const OF_PGBOUNCER: &str = "no more connections allowed";
    error.as_database_error().is_some_and(|error| {
        error.code().as_deref() == Some(TOO_MANY_CONNECTIONS)
            || error.message().starts_with(OF_PGBOUNCER)
    })
}
