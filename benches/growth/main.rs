//! Measures what a store costs once it is large: `cargo bench --bench growth`. Fills a small and a
//! large store by SQL, on SQLite and on PostgreSQL. Sends both the same queries in turns, and
//! writes the ratios into `benches/README.md`, section Growth.
//!
//! Reading order: `fill` defines the content of a store, `questions` and `callbacks` what is
//! measured, and `report` the output. `cluster` and `receiver` are the processes under test.
#![expect(
    clippy::print_stdout,
    reason = "the results of a bench are read on the terminal"
)]

mod fill;

mod callbacks;
mod questions;

#[path = "../cluster/mod.rs"]
mod cluster;
mod receiver;

mod report;

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use evolink_receiver::store::Store;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tokio::runtime::Runtime;

use cluster::Cluster;
use fill::{Filler, Stand};
use receiver::Receiver;
use report::{Line, Report};

/// Tasks in the small store, with which the large one is compared.
const SMALL: i64 = 10_000;

/// Tasks that are open when the receiver starts.
const OPEN: i64 = 1_000_000;

/// Measures what a small and a large store cost, in turns.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench growth --")]
struct Arguments {
    /// Tasks in the large store; ten million take about 10 GB of disk on each database, one after
    /// the other
    #[arg(long, default_value_t = 10_000_000)]
    tasks: i64,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Only this database
    #[arg(long, value_enum)]
    only: Option<Engine>,
    /// The folder in which the stores are created and removed
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"))]
    folder: PathBuf,
    /// Print the table only, and do not change `benches/README.md`
    #[arg(long)]
    no_readme: bool,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Engine {
    Sqlite,
    Postgres,
}

/// A filled store, and what is needed to run a receiver on it.
struct Place {
    folder: tempfile::TempDir,
    url: String,
    filler: Filler,
    bytes: i64,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let report = Runtime::new()?.block_on(measure(&arguments))?;
    println!("{}", report.table());
    if arguments.no_readme {
        return Ok(());
    }
    report.write_readme()
}

async fn measure(arguments: &Arguments) -> anyhow::Result<Report> {
    let mut report = Report::new(arguments.tasks, SMALL, arguments.rounds)?;
    for engine in [Engine::Sqlite, Engine::Postgres] {
        if arguments.only.is_none_or(|only| only == engine) {
            report.add(measure_on(engine, arguments).await?);
        }
    }
    Ok(report)
}

async fn measure_on(engine: Engine, arguments: &Arguments) -> anyhow::Result<report::Part> {
    let cluster = match engine {
        Engine::Sqlite => None,
        Engine::Postgres => Some(start_cluster(&arguments.folder).await?),
    };
    let make = async |name: &str, count, stand| {
        Place::fill(arguments, cluster.as_ref(), name, count, stand).await
    };
    let large = make("large", arguments.tasks, Stand::Mixed).await?;
    let mut lines: Vec<Line> = Vec::new();
    for round in 1..=arguments.rounds {
        let small = make("small", SMALL, Stand::Mixed).await?;
        for (place, is_large) in [(&small, false), (&large, true)] {
            for (name, micros) in place.costs().await? {
                report::add_to(&mut lines, name, is_large, micros);
            }
        }
        eprintln!("{engine:?}: round {round} of {}", arguments.rounds);
    }
    let bytes = (large.bytes, arguments.tasks);
    drop(large);
    let open = make("open", OPEN, Stand::Open).await?;
    let mut ready_ms = Vec::new();
    for _ in 0..arguments.rounds {
        let receiver = Receiver::start(&open).await?;
        ready_ms.push(receiver.ready_after.as_secs_f64() * 1e3);
        receiver.stop().await?;
    }
    Ok(report::Part {
        engine: format!("{engine:?}"),
        lines,
        ready_ms,
        bytes,
    })
}

impl Place {
    async fn fill(
        arguments: &Arguments,
        cluster: Option<&Cluster>,
        name: &str,
        count: i64,
        stand: Stand,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir_in(&arguments.folder)?;
        let url = match cluster {
            Some(cluster) => make_database(cluster, name).await?,
            None => format!("sqlite:{}/receiver.db", folder.path().display()),
        };
        let filler = Filler::new(count, stand);
        let started = Instant::now();
        let bytes = filler.fill(&url).await?;
        if count > SMALL {
            let took = started.elapsed();
            eprintln!("{name}: {count} tasks in {took:.0?}, {bytes} bytes");
        }
        Ok(Self {
            folder,
            url,
            filler,
            bytes,
        })
    }

    /// Measures each operation, in microseconds.
    async fn costs(&self) -> anyhow::Result<Vec<(&'static str, f64)>> {
        let store = Store::open(&self.url).await?;
        let mut costs = questions::ask_all(&store, &self.filler).await?;
        store.close().await;
        // The store holds the lock that keeps other processes out.
        drop(store);
        let receiver = Receiver::start(self).await?;
        costs.extend(callbacks::send(&receiver).await?);
        receiver.stop().await?;
        Ok(costs)
    }
}

async fn start_cluster(within: &Path) -> anyhow::Result<Cluster> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port();
    Cluster::start(tempfile::tempdir_in(within)?, port, |_| {}).await
}

/// Creates an empty database. An existing one of that name is dropped.
async fn make_database(cluster: &Cluster, name: &str) -> anyhow::Result<String> {
    let mut connection = PgConnection::connect(&cluster.url("postgres")).await?;
    let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
    connection.execute(AssertSqlSafe(drop)).await?;
    let make = format!("CREATE DATABASE {name}");
    connection.execute(AssertSqlSafe(make)).await?;
    connection.close().await?;
    Ok(cluster.url(name))
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
