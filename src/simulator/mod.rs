//! The stand-in for EvoLink. It is built from EvoLink's documentation, because no test account is
//! available. It shares nothing with the receiver except that documentation: no test would notice a
//! bug that both have.
//!
//! | route | does |
//! | --- | --- |
//! | `POST /v1/images/generations` | accepts a task as EvoLink documents it |
//! | `GET /v1/tasks/{id}`, `GET /v1/credits` | answers as EvoLink documents it |
//! | `GET /files/{id}/0.webp` | the result: a real image of the requested size |
//! | `GET /simulator/stats` | [`Stats`] as JSON, for other processes |
//! | `GET /simulator/submits` | `{"data": […]}` of [`SubmitSeen`], oldest first |
//! | `GET /simulator/tasks` | `{"data": […]}` of [`TaskSeen`], oldest first |
//! | `GET /simulator/queries` | `{"data": […]}` of [`QuerySeen`], oldest first |
//! | `GET /simulator/callbacks` | `{"data": […]}` of [`CallbackAttempt`], in order of their end |
//! | `GET /simulator/magic-prompts` | a Markdown table of the magic prompts |
//!
//! The routes under `/simulator/` need no key and show callback URLs including their tokens: this
//! is a tool for tests.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio_util::sync::DropGuard;

mod addresses;
mod api;
mod args;
mod callbacks;
mod options;
mod plan;
mod records;
mod results;
mod server;
mod state;
mod task;

pub use args::SimulateArgs;
pub use options::Options;
pub use plan::faults::{Fault, Faults};
pub use plan::magic::{magic_prompts, magic_prompts_markdown};
pub use records::{CallbackAttempt, QuerySeen, Stats, SubmitSeen, TaskSeen};

/// A running simulator. Dropping it stops it. [`Simulator::shutdown`] also waits until all its
/// futures have ended.
pub struct Simulator {
    addr: SocketAddr,
    shared: Arc<state::Shared>,
    _stop_on_drop: DropGuard,
}

impl Simulator {
    /// # Errors
    /// Fails if the address cannot be bound or a certificate file cannot be read.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let client = callbacks::client(&options)?;
        let listener = TcpListener::bind(options.listen)
            .await
            .with_context(|| format!("could not listen on {}", options.listen))?;
        let addr = listener.local_addr()?;
        let public_url = match &options.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("http://{addr}"),
        };
        let shared = Arc::new(state::Shared::new(options, public_url, client));
        let stop = shared.stop.clone();
        let router = crate::simulator::api::router(Arc::clone(&shared));
        let workers = shared.workers.clone();
        shared
            .workers
            .spawn(server::serve(listener, router, stop.clone(), workers));
        Ok(Self {
            addr,
            shared,
            _stop_on_drop: stop.drop_guard(),
        })
    }

    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URL that a client uses as EvoLink's base URL, without a trailing slash.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.addr)
    }

    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.remembered().stats
    }

    /// The submits received, oldest first.
    #[must_use]
    pub fn submits(&self) -> Vec<SubmitSeen> {
        self.shared.remembered().submits.iter().cloned().collect()
    }

    /// The accepted tasks, oldest first.
    #[must_use]
    pub fn tasks(&self) -> Vec<TaskSeen> {
        self.shared.tasks_seen()
    }

    /// The queries of tasks received, oldest first.
    #[must_use]
    pub fn queries(&self) -> Vec<QuerySeen> {
        self.shared.remembered().queries.iter().cloned().collect()
    }

    /// The attempts to deliver callbacks, in the order in which they ended.
    #[must_use]
    pub fn callback_attempts(&self) -> Vec<CallbackAttempt> {
        self.shared.remembered().attempts.iter().cloned().collect()
    }

    /// Stops accepting, abandons unsent callbacks, and waits until every future of the simulator
    /// has ended.
    pub async fn shutdown(self) {
        self.shared.stop.cancel();
        self.shared.workers.close();
        self.shared.workers.wait().await;
    }
}

/// The only place where the simulator reads the system clock. Durations are measured by Tokio's
/// clock.
#[expect(
    clippy::disallowed_methods,
    reason = "EvoLink has a clock of its own, which the receiver's tests must not move"
)]
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
