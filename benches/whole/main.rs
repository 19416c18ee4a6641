//! The program as a whole under load, beside what it is compared with: `cargo bench --bench whole`. What is compared, how,
//! and the results: `benches/README.md`.
//!
//! Reading order: `comparisons` says what runs against what, `trial` how one of them is run, `load` and `servers` are the
//! two sides of it, `figures` and `report` what is made of the numbers.
#![expect(
    clippy::print_stdout,
    reason = "the results of a bench are read on the terminal"
)]

mod comparisons;
mod consumers;
mod half_load;
mod postgres;
mod qhook;
mod versions;

mod trial;

// What is sent, and how.
mod callback;
mod connection;
mod load;

// What it is sent to.
mod baselines;
mod check;
#[path = "../cluster/mod.rs"]
mod cluster;
mod cpus;
mod disk;
mod fill;
mod network;
mod process;
mod servers;
mod targets;
mod writes;

// What comes of it.
mod facts;
mod figures;
mod report;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use clap::{Parser, Subcommand, ValueEnum};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use facts::Facts;
use figures::{Findings, Rounds};
use report::{Report, Section};
use trial::{Case, Setting};

/// Runs the receiver and what it is compared with alternately, under load.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench whole --")]
struct Arguments {
    /// How often each comparison is made
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How long each part of a round is measured, after a warm-up
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// One short round, for a first look; writes no table
    #[arg(long)]
    quick: bool,
    /// Only these comparisons
    #[arg(long, value_enum)]
    only: Vec<Comparison>,
    /// Processors for the programs under test, such as 0,1
    #[arg(long)]
    server_cpus: Option<String>,
    /// Processors for the load, such as 2,3
    #[arg(long)]
    client_cpus: Option<String>,
    /// Another build of the program, compared with this one and with nothing else; writes no table
    #[arg(long)]
    before: Option<PathBuf>,
    /// Given by `cargo bench`, and by nothing else of cargo
    #[arg(long, hide = true)]
    bench: bool,
    /// Set once this runs in a network of its own.
    #[arg(long, hide = true)]
    inside: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, ValueEnum)]
enum Comparison {
    Durable,
    Disks,
    Handshakes,
    Steady,
    Duplicates,
    Guesses,
    Reads,
    Postgres,
    HalfLoad,
    Qhook,
    Latency,
    Crowd,
    Endpoints,
    Standing,
}

/// What this program is when it starts itself.
#[derive(Debug, Subcommand)]
#[command(hide = true)]
enum Role {
    /// What the receiver is compared with.
    Baseline {
        listen: SocketAddr,
        folder: PathBuf,
        #[arg(long)]
        store: Option<String>,
    },
    /// Measures how long a sync takes.
    Probe { folder: PathBuf },
    /// Measures how long a commit of so many tasks takes.
    Commits { folder: PathBuf, tasks: i64 },
}

/// What every comparison works with.
pub struct Bench {
    pub rounds: usize,
    /// That consumers are told of in a round.
    pub tasks: usize,
    pub setting: Setting,
    pub has_own_network: bool,
}

impl Bench {
    pub async fn alternate(&self, cases: Vec<Case>) -> anyhow::Result<Rounds> {
        Rounds::run(cases, self.rounds, &self.setting).await
    }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(role) = arguments.role {
        return play(role);
    }
    if !arguments.bench {
        eprintln!("takes minutes and is no test: cargo bench --bench whole");
        return Ok(());
    }
    let wants_qhook = arguments.only.is_empty() || arguments.only.contains(&Comparison::Qhook);
    if !arguments.inside && wants_qhook && arguments.before.is_none() {
        qhook::install()?;
    }
    if !arguments.inside && network::can_be_own() {
        bail!(network::run_in_own());
    }
    disk::prepare()?;
    if let Some(cpus) = &arguments.client_cpus {
        cpus::keep_to(cpus)?;
    }
    // The servers inherit what the load is kept to.
    Runtime::new()?.block_on(async {
        // Whoever interrupts it leaves no server and no gigabytes behind: both go when what holds them is dropped.
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            done = run_all(&arguments) => done,
            _ = terminate.recv() => bail!("terminated"),
            _ = interrupt.recv() => bail!("interrupted"),
        }
    })
}

fn play(role: Role) -> anyhow::Result<()> {
    match role {
        Role::Baseline {
            listen,
            folder,
            store,
        } => Runtime::new()?.block_on(baselines::serve(listen, &folder, store.as_deref())),
        Role::Probe { folder } => {
            let probe = disk::run_probe(&folder)?;
            println!("{}", serde_json::to_string(&probe)?);
            Ok(())
        }
        Role::Commits { folder, tasks } => {
            let p99 = Runtime::new()?.block_on(half_load::time_commits(&folder, tasks))?;
            println!("{}", serde_json::to_string(&p99)?);
            Ok(())
        }
    }
}

async fn run_all(arguments: &Arguments) -> anyhow::Result<()> {
    let seconds = Duration::from_secs(if arguments.quick {
        2
    } else {
        arguments.seconds
    });
    let bench = Bench {
        rounds: if arguments.quick { 1 } else { arguments.rounds },
        tasks: if arguments.quick { 1000 } else { 10_000 },
        setting: Setting {
            warm_up: Duration::from_secs(if arguments.quick { 1 } else { 2 }),
            window: seconds,
            server_cpus: server_cpus(arguments),
        },
        has_own_network: arguments.inside,
    };
    if let Some(before) = &arguments.before {
        return versions::compare(before, &bench).await;
    }
    let all = Comparison::value_variants();
    let chosen = if arguments.only.is_empty() {
        all
    } else {
        &arguments.only
    };
    for &comparison in chosen {
        let name = name_of(comparison);
        eprintln!("{name}");
        let facts = Facts::gather(&bench)?;
        let findings = compare(comparison, &bench).await?;
        let report = Report {
            name,
            facts,
            findings,
        };
        println!("\n{}", report::lines(&report.findings));
        if !arguments.quick {
            report.save()?;
        }
    }
    if !arguments.quick {
        for section in sections() {
            let is_new = |name: &String| chosen.iter().any(|made| name_of(*made) == *name);
            if section.comparisons.iter().any(is_new) {
                report::write_readme(&section)?;
            }
        }
    }
    Ok(())
}

/// Consumers have a section of their own.
fn sections() -> [Section; 2] {
    let (consumers, others): (Vec<Comparison>, _) = Comparison::value_variants()
        .iter()
        .partition(|one| **one >= Comparison::Latency);
    let names = |some: Vec<Comparison>| some.into_iter().map(name_of).collect();
    [("results", "##", others), ("consumers", "###", consumers)].map(|(name, level, some)| {
        Section {
            name,
            level,
            comparisons: names(some),
        }
    })
}

async fn compare(comparison: Comparison, bench: &Bench) -> anyhow::Result<Findings> {
    match comparison {
        Comparison::Durable => comparisons::durable(bench).await,
        Comparison::Disks => comparisons::disks(bench).await,
        Comparison::Handshakes => comparisons::handshakes(bench).await,
        Comparison::Steady => comparisons::steady(bench).await,
        Comparison::Duplicates => comparisons::duplicates(bench).await,
        Comparison::Guesses => comparisons::guesses(bench).await,
        Comparison::Reads => comparisons::reads(bench).await,
        Comparison::Postgres => postgres::postgres(bench).await,
        Comparison::HalfLoad => half_load::half_load(bench).await,
        Comparison::Qhook => qhook::qhook(bench).await,
        Comparison::Latency => consumers::latency(bench).await,
        Comparison::Crowd => consumers::crowd(bench).await,
        Comparison::Endpoints => consumers::endpoints(bench).await,
        Comparison::Standing => consumers::standing(bench).await,
    }
}

fn name_of(comparison: Comparison) -> String {
    let value = comparison.to_possible_value();
    value.expect("none is hidden").get_name().to_owned()
}

/// All processors, if only the load is kept to some.
fn server_cpus(arguments: &Arguments) -> Option<String> {
    let all = || {
        let online = std::fs::read_to_string("/sys/devices/system/cpu/online").ok()?;
        Some(online.trim().to_owned())
    };
    match (&arguments.server_cpus, &arguments.client_cpus) {
        (Some(cpus), _) => Some(cpus.clone()),
        (None, Some(_)) => all(),
        (None, None) => None,
    }
}
