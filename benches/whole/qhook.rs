//! qhook: another receiver of webhooks that stores what it acknowledges, as its authors publish it.

use std::process::Command;

use crate::Bench;
use crate::disk::Disk;
use crate::figures::Bound::{AtLeast, AtMost, Beside};
use crate::figures::Findings;
use crate::targets::Target::{Qhook, ReceiverPlain};
use crate::targets::qhook_root;
use crate::trial::Case;

const VERSION: &str = "0.6.1";

const CONNECTIONS: usize = 64;

/// Builds qhook, unless that was done before. Needs the network, which the comparison itself does
/// not have.
pub fn install() -> anyhow::Result<()> {
    if qhook_root().join("bin/qhook").exists() {
        return Ok(());
    }
    eprintln!("building qhook {VERSION}, once");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args([
        "install",
        "qhook",
        "--version",
        VERSION,
        "--locked",
        "--root",
    ]);
    cargo.arg(qhook_root());
    // The comparison reports that qhook is missing.
    if !cargo.status()?.success() {
        eprintln!("qhook could not be built");
    }
    Ok(())
}

pub async fn qhook(bench: &Bench) -> anyhow::Result<Findings> {
    let mut found = Findings::default();
    if !qhook_root().join("bin/qhook").exists() {
        found.note(format!("qhook: skipped, {VERSION} could not be built here"));
        return Ok(found);
    }
    // qhook listens on every address.
    if !bench.has_own_network {
        found.note("qhook: skipped, needs a network of its own (root, unshare, ip)");
        return Ok(found);
    }
    let rounds = bench
        .alternate(vec![
            Case::new("qhook", Qhook, Disk::FAST, CONNECTIONS),
            Case::new(
                "receiver, plain HTTP",
                ReceiverPlain,
                Disk::FAST,
                CONNECTIONS,
            ),
            Case::new("qhook, real", Qhook, Disk::Real, CONNECTIONS),
            Case::new(
                "receiver, plain HTTP, real",
                ReceiverPlain,
                Disk::Real,
                CONNECTIONS,
            ),
        ])
        .await?;
    found = Findings::of(&rounds);
    let what = format!("durable callbacks, plain HTTP, 64 connections : qhook {VERSION}");
    let ratio = rounds.ratio("receiver, plain HTTP", "qhook");
    found.goal(&what, AtLeast(20.0), "", ratio);
    let p99 = rounds.figure(&["receiver, plain HTTP", "qhook"], |of| {
        of[0].p99 / of[1].p99
    });
    found.goal("the same, p99", AtMost(0.05), "", p99);
    let ratio = rounds.ratio("receiver, plain HTTP, real", "qhook, real");
    found.goal("the same, real disk, rate", Beside, "", ratio);
    Ok(found)
}
