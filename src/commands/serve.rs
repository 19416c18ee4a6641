//! `serve` and `simulate`: commands that run until they are stopped.

use std::io::{IsTerminal as _, Write, stdout};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::app::App;
use crate::app::reload::Reading;
use crate::cli::{ConfigArgs, SERVICE_URL};
use crate::clock::Clock;
use crate::commands::check::{configuration_of_start, with_surroundings};
use crate::commands::environment;
use crate::commands::service::loopback_url;
use crate::config::unknown_variables;
use crate::exit::CommandError;
use crate::observe::telemetry::{self, CONFIGURATION};
use crate::process;
use crate::simulator::{Options, SimulateArgs, Simulator};

/// How long a start may go on after SIGTERM. A start that waits for nothing ends within it, and is
/// then stopped in order.
const START_GRACE: Duration = Duration::from_secs(2);
/// Signals that follow the first one within this are the same request to stop: a terminal sends Ctrl-C to
/// all of its programs, and a wrapper like `timeout` or npm passes it on to its child once more.
const SAME_KEYSTROKE: Duration = Duration::from_millis(300);

/// Runs the service until SIGTERM or SIGINT; a second one ends it at once. SIGHUP has the
/// configuration and the certificate files read again.
///
/// # Errors
/// The reason why it could not start or why it ended, with its exit code.
pub async fn serve(args: &ConfigArgs, out: &mut impl Write) -> Result<(), CommandError> {
    process::forbid_core_dumps();
    for stray in unknown_variables(environment()?.into_iter()) {
        let message = &stray.message;
        warn!(target: CONFIGURATION, "{message}");
    }
    let config = match configuration_of_start(args) {
        Ok(config) => config,
        Err(refusal) => return Err(with_surroundings(refusal, args).await),
    };
    telemetry::set_level(&config.log.level);
    let again = args.clone();
    let reading = Reading {
        config: config.clone(),
        read: Arc::new(move || configuration_of_start(&again)),
    };
    let stop = stop_on_signal()?;
    let greeting = Greeting {
        base_url: config.public.base_url.to_string(),
        scheme: config.internal.scheme(),
        needs_key: !config.internal.api_keys.is_empty(),
        config: args.config.clone(),
    };
    let building = App::build(config, Clock::System);
    let app = tokio::select! {
        built = building => built?,
        // Dropping it is as safe as a power cut: what is not committed is rolled back.
        () = patience_is_over(&stop) => {
            info!("stopped before the start was complete");
            return Ok(());
        }
    };
    if stdout().is_terminal() {
        greeting.write(&app, out).context("could not print")?;
    }
    let app = app.reading_again(reading);
    let reload = app.reload();
    let mut hangups = signal(SignalKind::hangup()).context("could not listen for SIGHUP")?;
    let running = app.run(stop);
    tokio::pin!(running);
    loop {
        tokio::select! {
            ended = &mut running => return ended,
            Some(()) = hangups.recv() => reload.now(),
        }
    }
}

/// Waits until the start should have ended after `stop`.
async fn patience_is_over(stop: &CancellationToken) {
    stop.cancelled().await;
    sleep(START_GRACE).await;
}

/// What a person reads at the start: where what is, and what to try. The log says it to everybody
/// else.
struct Greeting {
    base_url: String,
    scheme: &'static str,
    needs_key: bool,
    config: Option<PathBuf>,
}

impl Greeting {
    fn write(&self, app: &App, out: &mut impl Write) -> anyhow::Result<()> {
        let url = loopback_url(self.scheme, app.internal_address()?)?;
        let url = url.as_str().trim_end_matches('/');
        match app.public_address() {
            Some(public) => {
                let base_url = &self.base_url;
                writeln!(out, "callbacks  {base_url} (listening on {public})")?;
            }
            None => writeln!(out, "callbacks  none: outcomes are found by polling")?,
        }
        writeln!(out, "apps       {url}")?;
        writeln!(out, "dashboard  {url}/")?;
        write!(
            out,
            "next       evolink-receiver submit \"a cute cat\" --wait"
        )?;
        match &self.config {
            // The configuration says which certificate is the service's.
            Some(config) if self.scheme == "https" => {
                write!(out, " --config {}", config.display())?;
            }
            _ if url != SERVICE_URL => write!(out, " --url {url}")?,
            _ => {}
        }
        if self.needs_key {
            write!(out, " --api-key-file FILE")?;
        }
        writeln!(out)?;
        Ok(())
    }
}

/// Runs the simulator until SIGTERM or SIGINT.
pub async fn simulate(args: SimulateArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let stop = stop_on_signal()?;
    let options = Options::from(args);
    let key = match &options.api_key {
        Some(_) => "its --api-key",
        None => "any key",
    };
    let simulator = Simulator::start(options).await?;
    let url = simulator.base_url();
    let greeting = format!(
        "simulator  {url}\n\
         receiver   set evolink.base_url to \"{url}\", and evolink.api_key to {key}\n\
         faults     evolink-receiver simulate --help lists what a prompt can cause\n"
    );
    let greeted = out.write_all(greeting.as_bytes());
    greeted.context("could not print")?;
    stop.cancelled().await;
    simulator.shutdown().await;
    Ok(())
}

/// Returns a token that the first SIGTERM or SIGINT cancels. Another one, not at the same moment,
/// exits with code 130 at once.
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
        let passed_on = async {
            loop {
                wait().await;
            }
        };
        let _: Result<(), _> = timeout(SAME_KEYSTROKE, passed_on).await;
        let name = wait().await;
        info!("{name} again: ending at once");
        std::process::exit(130);
    });
    Ok(stop)
}
