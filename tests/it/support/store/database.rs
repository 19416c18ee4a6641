//! The test's own connection to a receiver's database, on either engine, to inspect and change it
//! directly.

use std::str::FromStr as _;

use sqlx::postgres::{PgArguments, PgPool, PgPoolOptions, PgRow};
use sqlx::query::QueryAs;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqlitePool, SqlitePoolOptions, SqliteRow,
};
use sqlx::{AssertSqlSafe, Executor as _, FromRow, Postgres, Sqlite};

/// One connection. On SQLite its `version` changes only when other connections write.
#[derive(Clone, Debug)]
pub enum Database {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// A value for a placeholder.
#[derive(Clone, Copy, Debug)]
pub enum Bind<'a> {
    Int(i64),
    Text(&'a str),
}

/// The types that can be read from a row of either engine: tuples of its columns.
pub trait Columns:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

impl<T> Columns for T where
    T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

/// The new rows that a trigger refuses.
#[derive(Clone, Copy, Debug)]
pub enum Refused<'a> {
    Events,
    /// Observations whose body contains this word.
    ObservationsWith(&'a str),
}

impl Database {
    /// Connects to the existing database of a `store.url`.
    pub async fn connect(url: &str) -> Self {
        Self::try_connect(url).await.unwrap()
    }

    pub async fn try_connect(url: &str) -> Result<Self, sqlx::Error> {
        if url.starts_with("postgres") {
            let options = PgPoolOptions::new().max_connections(1);
            return Ok(Self::Postgres(options.connect(url).await?));
        }
        let options = SqlitePoolOptions::new().max_connections(1);
        let file = SqliteConnectOptions::from_str(url)?;
        Ok(Self::Sqlite(options.connect_with(file).await?))
    }

    pub fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    pub async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }

    /// Runs one or more statements.
    pub async fn execute(&self, sql: &str) {
        self.try_execute(sql).await.unwrap();
    }

    pub async fn try_execute(&self, sql: &str) -> Result<(), sqlx::Error> {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Sqlite(pool) => pool.execute(sqlx::raw_sql(sql)).await.map(drop),
            Self::Postgres(pool) => pool.execute(sqlx::raw_sql(sql)).await.map(drop),
        }
    }

    /// Returns the SQL for this engine, where one text does not work for both.
    pub fn either<T>(&self, sqlite: T, postgres: T) -> T {
        match self {
            Self::Sqlite(_) => sqlite,
            Self::Postgres(_) => postgres,
        }
    }

    pub async fn rows<T: Columns>(&self, sql: &str, binds: &[Bind<'_>]) -> Vec<T> {
        self.try_rows(sql, binds).await.unwrap()
    }

    pub async fn try_rows<T: Columns>(
        &self,
        sql: &str,
        binds: &[Bind<'_>],
    ) -> Result<Vec<T>, sqlx::Error> {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Sqlite(pool) => {
                let query: QueryAs<'_, Sqlite, T, SqliteArguments> = sqlx::query_as(sql);
                let query = binds.iter().fold(query, |query, bind| match bind {
                    Bind::Int(number) => query.bind(*number),
                    Bind::Text(text) => query.bind((*text).to_owned()),
                });
                query.fetch_all(pool).await
            }
            Self::Postgres(pool) => {
                let query: QueryAs<'_, Postgres, T, PgArguments> = sqlx::query_as(sql);
                let query = binds.iter().fold(query, |query, bind| match bind {
                    Bind::Int(number) => query.bind(*number),
                    Bind::Text(text) => query.bind((*text).to_owned()),
                });
                query.fetch_all(pool).await
            }
        }
    }

    /// Returns the only row.
    pub async fn row<T: Columns>(&self, sql: &str, binds: &[Bind<'_>]) -> T {
        let mut rows = self.rows(sql, binds).await;
        assert_eq!(rows.len(), 1, "one row of {sql}");
        rows.remove(0)
    }

    /// Returns the only value of the only row.
    pub async fn value<T>(&self, sql: &str, binds: &[Bind<'_>]) -> T
    where
        (T,): Columns,
    {
        self.row::<(T,)>(sql, binds).await.0
    }

    /// Returns the only value of each row.
    pub async fn values<T>(&self, sql: &str, binds: &[Bind<'_>]) -> Vec<T>
    where
        (T,): Columns,
    {
        let rows = self.rows::<(T,)>(sql, binds).await;
        rows.into_iter().map(|(value,)| value).collect()
    }

    /// A value that changes with every commit that leaves a trace, and only then.
    pub async fn version(&self) -> String {
        match self {
            Self::Sqlite(_) => {
                let version: i64 = self.value("PRAGMA data_version", &[]).await;
                version.to_string()
            }
            // The transaction that wrote a row is a hidden column of it. The values alone are not
            // enough, because rewriting a row with the same values is a write too.
            Self::Postgres(_) => {
                let tables = self.tables().await;
                let each = tables.iter().map(|table| {
                    format!("SELECT '{table}' AS name, ctid::text AS place, xmin::text AS writer FROM {table}")
                });
                let all = each.collect::<Vec<_>>().join(" UNION ALL ");
                let sql = format!(
                    "SELECT coalesce(md5(string_agg(name || place || writer, ',' ORDER BY name, place)), '') FROM ({all}) AS x"
                );
                self.value(&sql, &[]).await
            }
        }
    }

    /// Runs `sql`, which deletes rows as if an older backup had been restored. The trigger that
    /// protects the newest event is off meanwhile.
    pub async fn restore(&self, sql: &str) {
        if self.is_postgres() {
            let sql = format!(
                "ALTER TABLE event DISABLE TRIGGER event_newest_stays; {sql};
                ALTER TABLE event ENABLE TRIGGER event_newest_stays"
            );
            return self.execute(&sql).await;
        }
        let kept = "SELECT sql FROM sqlite_schema WHERE name = 'event_newest_stays'";
        let trigger: String = self.value(kept, &[]).await;
        self.execute(&format!(
            "DROP TRIGGER event_newest_stays; {sql}; {trigger}"
        ))
        .await;
    }

    /// Blocks every other connection from writing task rows until `let_write`. Writers wait.
    pub async fn hold_writes(&self) {
        self.execute(self.either(
            "BEGIN IMMEDIATE",
            "BEGIN; LOCK TABLE task, observation, event, quarantine IN EXCLUSIVE MODE",
        ))
        .await;
    }

    pub async fn let_write(&self) {
        self.execute("ROLLBACK").await;
    }

    /// Makes the database refuse such rows with a statement error until `stop_refusing`. On SQLite
    /// `how` may be `FAIL` or `ROLLBACK` instead of `ABORT`.
    pub async fn refuse(&self, rows: Refused<'_>, how: &str) {
        let (table, when) = match rows {
            Refused::Events => ("event", "true".to_owned()),
            Refused::ObservationsWith(word) => (
                "observation",
                self.either(
                    format!("instr(NEW.body, CAST('{word}' AS BLOB)) > 0"),
                    format!("position('{word}'::bytea IN NEW.body) > 0"),
                ),
            ),
        };
        let trigger = format!("CREATE TRIGGER refuse BEFORE INSERT ON {table}");
        self.execute(&self.either(
            format!("{trigger} WHEN {when} BEGIN SELECT RAISE({how}, 'refused'); END"),
            format!(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
                    AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
                {trigger} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION refuse()"
            ),
        ))
        .await;
    }

    pub async fn stop_refusing(&self) {
        self.execute(self.either("DROP TRIGGER refuse", "DROP FUNCTION refuse CASCADE"))
            .await;
    }

    /// Returns every value of every row as text, for a search through everything that is stored.
    pub async fn dump(&self) -> String {
        let Self::Postgres(_) = self else {
            panic!("a SQLite store is read as a file, which shows more");
        };
        self.execute("SET bytea_output = 'escape'").await;
        let mut text = Vec::new();
        for table in self.tables().await {
            let sql = format!("SELECT row(x.*)::text FROM {table} AS x");
            text.extend(self.values::<String>(&sql, &[]).await);
        }
        text.join("\n")
    }

    /// The tables of a PostgreSQL database.
    async fn tables(&self) -> Vec<String> {
        let sql =
            "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public' ORDER BY 1";
        let tables = self.values(sql, &[]).await;
        assert!(!tables.is_empty(), "there is something to look at");
        tables
    }
}
