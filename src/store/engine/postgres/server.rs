//! A PostgreSQL server, and how to connect to it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions as _, Executor as _, PgConnection};
use tokio::time::timeout;
use url::Url;

use crate::secrets::secret_file::{self, shown_path};
use crate::store::error::{is_without_tls, shown};
use crate::store::{Location, StoreError, epochs};

/// The time limit of a connection attempt. A slower server counts as unreachable.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

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
}

impl PostgresServer {
    /// # Errors
    /// `CannotOpen` if the URL is not one that the driver understands.
    pub fn new(location: &Location) -> Result<Self, StoreError> {
        let options = parse(&location.url).map_err(|reason| StoreError::CannotOpen {
            path: "the PostgreSQL server".to_owned(),
            reason,
        })?;
        Ok(Self {
            url: location.url.clone(),
            password_file: location.password_file.clone(),
            name: name(&options),
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
    /// `CannotOpen` if the password cannot be read.
    pub fn options(&self) -> Result<PgConnectOptions, StoreError> {
        let options = parse(&self.url).map_err(|reason| self.cannot_open(reason))?;
        let Some(file) = &self.password_file else {
            return Ok(options);
        };
        let password =
            secret_file::read(file).map_err(|error| self.cannot_open(error.to_string()))?;
        Ok(options.password(password.expose_secret()))
    }

    /// # Errors
    /// `NoConnectionLeft` if the server has too many connections already, `CannotOpen` if it
    /// refuses the login for another reason.
    pub async fn connect(&self) -> Result<PgConnection, StoreError> {
        let options = self.options()?;
        let connecting = async {
            let mut connection = options.connect().await?;
            connection.execute(SESSION).await?;
            Ok(connection)
        };
        match timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(self.refused(&error)),
            Err(_) => Err(self.cannot_open(format!("no answer within {CONNECT_TIMEOUT:?}"))),
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
    /// The errors of `connect`.
    pub async fn connect_reader(&self) -> Result<PgConnection, StoreError> {
        let mut connection = self.connect().await?;
        connection.execute(READER).await?;
        Ok(connection)
    }

    fn refused(&self, error: &sqlx::Error) -> StoreError {
        if is_for_want_of_connections(error) {
            return StoreError::NoConnectionLeft {
                path: self.name.clone(),
                reason: shown(error),
            };
        }
        let explained = match error {
            sqlx::Error::Io(error) => self.unreadable_file(error),
            error if is_without_tls(error) => self.missing_tls(),
            _ => None,
        };
        self.cannot_open(explained.unwrap_or_else(|| shown(error)))
    }

    /// Names the `sslmode` that a server without TLS cannot satisfy.
    fn missing_tls(&self) -> Option<String> {
        let mode = match self.options().ok()?.get_ssl_mode() {
            PgSslMode::Require => "require",
            PgSslMode::VerifyCa => "verify-ca",
            PgSslMode::VerifyFull => "verify-full",
            PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer => return None,
        };
        Some(format!(
            "the server does not offer TLS, and sslmode={mode} requires it"
        ))
    }

    /// Names the file of a TLS parameter that cannot be read, if `error` is the error of reading
    /// it.
    fn unreadable_file(&self, error: &io::Error) -> Option<String> {
        let url = Url::parse(self.url.expose_secret()).ok()?;
        url.query_pairs().find_map(|(name, value)| {
            // The driver also accepts a certificate itself in place of its path.
            if !TLS_FILES.contains(&&*name) || value.trim_start().starts_with("-----") {
                return None;
            }
            let path = Path::new(&*value);
            let reading = File::open(path).and_then(|mut file| file.read(&mut [0]));
            let found = reading.err().filter(|found| found.kind() == error.kind())?;
            Some(format!("{name}: {}: {found}", shown_path(path)))
        })
    }

    pub fn cannot_open(&self, reason: String) -> StoreError {
        StoreError::CannotOpen {
            path: self.name.clone(),
            reason,
        }
    }
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
