//! `serve` and `simulate`: commands that run until they are stopped.

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::app::App;
use crate::cli::ConfigArgs;
use crate::clock::Clock;
use crate::commands::{environment, load_config};
use crate::config::strays;
use crate::exit::CommandError;
use crate::observe::telemetry::CONFIGURATION;
use crate::process;
use crate::simulator::{self, SimulateArgs};

/// Runs the service until SIGTERM or SIGINT; a second one ends it at once. SIGHUP reloads the
/// certificate files.
///
/// # Errors
/// The reason why it could not start or why it ended, with its exit code.
pub async fn serve(args: &ConfigArgs) -> Result<(), CommandError> {
    process::forbid_core_dumps();
    for stray in strays(environment()) {
        let message = &stray.message;
        warn!(target: CONFIGURATION, "{message}");
    }
    let config = load_config(args.config.as_deref())?;
    let stop = stop_on_signal()?;
    let app = App::build(config, Clock::System).await?;
    let reload = app.reload();
    let mut hangups = signal(SignalKind::hangup()).context("could not listen for SIGHUP")?;
    let running = app.run(stop);
    tokio::pin!(running);
    loop {
        tokio::select! {
            ended = &mut running => return ended,
            Some(()) = hangups.recv() => reload.notify_one(),
        }
    }
}

/// Runs the simulator until SIGTERM or SIGINT.
pub async fn simulate(args: SimulateArgs) -> Result<(), CommandError> {
    simulator::run_until(args.into(), stop_on_signal()?).await?;
    Ok(())
}

/// Returns a token that the first SIGTERM or SIGINT cancels. A second one exits with code 130 at
/// once.
pub fn stop_on_signal() -> Result<CancellationToken, CommandError> {
    let mut terminate = signal(SignalKind::terminate()).context("could not listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("could not listen for SIGINT")?;
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    #[expect(
        clippy::disallowed_methods,
        reason = "it outlives every tracker: it is what stops them"
    )]
    tokio::spawn(async move {
        let mut wait = async || {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        let name = wait().await;
        info!("{name}: stopping");
        stopping.cancel();
        let name = wait().await;
        info!("{name} again: ending at once");
        std::process::exit(130);
    });
    Ok(stop)
}
