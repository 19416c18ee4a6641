//! PostgreSQL, in a private cluster for each trial: batches compared with one transaction for each
//! callback.

use std::path::Path;

use crate::Bench;
use crate::cluster::PROGRAMS;
use crate::database::migrations;
use crate::disk::Disk;
use crate::figures::Bound::{AtLeast, Beside};
use crate::figures::Findings;
use crate::targets::Target::{CommitsEachOnPostgres, ReceiverOnPostgres};
use crate::trial::Case;

/// Compares one transaction for many callbacks with one for each.
pub async fn postgres(bench: &Bench) -> anyhow::Result<Findings> {
    let mut found = Findings::default();
    if let Some(reason) = missing() {
        found.note(format!("postgres: skipped, {reason}"));
        return Ok(found);
    }
    let (fast, real) = (Disk::FAST, Disk::Real);
    let rounds = bench
        .alternate(vec![
            Case::new("PostgreSQL, B", CommitsEachOnPostgres, fast, 256),
            Case::new("PostgreSQL, receiver", ReceiverOnPostgres, fast, 256),
            Case::new("PostgreSQL, B, 64", CommitsEachOnPostgres, fast, 64),
            Case::new("PostgreSQL, receiver, 64", ReceiverOnPostgres, fast, 64),
            Case::new("PostgreSQL, B, real", CommitsEachOnPostgres, real, 256),
            Case::new("PostgreSQL, receiver, real", ReceiverOnPostgres, real, 256),
        ])
        .await?;
    found = Findings::of(&rounds);
    let mut ratio = |what: &str, bound, one, other| {
        found.goal(what, bound, "", rounds.ratio(one, other));
    };
    ratio(
        "PostgreSQL, batched : one transaction for each callback, 256 connections",
        AtLeast(4.0),
        "PostgreSQL, receiver",
        "PostgreSQL, B",
    );
    ratio(
        "the same, 64 connections",
        Beside,
        "PostgreSQL, receiver, 64",
        "PostgreSQL, B, 64",
    );
    ratio(
        "the same, 256 connections, real disk",
        Beside,
        "PostgreSQL, receiver, real",
        "PostgreSQL, B, real",
    );
    found.note("On PostgreSQL, CPU and memory are those of the program under test, without the database's.");
    Ok(found)
}

fn missing() -> Option<String> {
    if !Path::new(PROGRAMS).join("postgres").exists() {
        return Some(format!("needs PostgreSQL in {PROGRAMS}"));
    }
    let has_schema = migrations().exists();
    (!has_schema).then(|| "this version of the receiver has no PostgreSQL".to_owned())
}
