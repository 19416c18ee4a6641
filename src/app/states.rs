//! Builds the state that each component works with.

use std::sync::Arc;
use std::time::Duration;

use super::parts::Parts;
use super::{App, settings};
use crate::cli;
use crate::config::Level;
use crate::evolink::Relay;
use crate::http::internal::InternalState;
use crate::http::internal::access::origin::OwnOrigin;
use crate::http::internal::access::session::{Sessions, Transport};
use crate::http::internal::access::wait_permits::WaitPermits;
use crate::http::internal::events::CatchUpPermit;
use crate::http::internal::operators::endpoint_test::Endpoints;
use crate::http::internal::operators::outside::Outside;
use crate::http::internal::operators::readiness::Readiness;
use crate::http::internal::operators::status::About;
use crate::http::internal::results::ArchiveAccess;
use crate::http::public::PublicState;
use crate::http::public::unfinished::UnfinishedCallbacks;
use crate::http::serve::body::BodyBudget;
use crate::http::tls::expiry::Left;
use crate::observe::callback_path::causes::Facts;
use crate::self_test::SelfTest;
use crate::submit::Submits;
use crate::workers::archiver::{self, Archiver};
use crate::workers::forwarder::{self, Forwarder};
use crate::workers::janitor::{self, Export, Janitor};
use crate::workers::reconciler::{self, Reconciler};
use crate::workers::upkeep::poll_only::PollOnlyWatch;
use crate::workers::upkeep::self_tester::SelfTester;

/// The total size of all bodies in memory. Small compared to a container's 256 MiB, and large
/// compared to what EvoLink sends.
const PUBLIC_BODIES_BYTES_MAX: usize = 64 * 1024 * 1024;
const INTERNAL_BODIES_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The time after the start of a new or upgraded store until old rows are deleted. An operator who
/// sees the log of the start can still stop it.
const FIRST_DELETION_AFTER: Duration = Duration::from_mins(1);

impl App {
    pub(super) fn public_state(&self) -> PublicState {
        let public = &self.config.public;
        PublicState {
            recorder: self.recorder.clone(),
            key_ring: Arc::clone(&self.key_ring),
            evolink_key: self.evolink.api_key().clone(),
            token_lifetime: self.config.retention.tasks,
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            callback_path: self.callback_path.clone(),
            body_bytes_max: public.max_body.as_usize(),
            body_timeout: public.body_timeout,
            body_budget: BodyBudget::new(PUBLIC_BODIES_BYTES_MAX),
            unfinished: UnfinishedCallbacks::new(public.max_connections),
            request_timeout: public.request_timeout,
        }
    }

    pub(super) fn internal_state(&self, parts: &Parts) -> InternalState {
        InternalState {
            store: Arc::clone(&self.store),
            recorder: self.recorder.clone(),
            evolink: Arc::clone(&self.evolink),
            relay: Relay::new(Arc::clone(&self.evolink)),
            passes_unknown_tasks: self.config.evolink.pass_unknown_tasks,
            rate_limits: Arc::clone(&self.rate_limits),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            submits: self.submits(parts),
            task_objects: self.task_objects.for_readers(),
            archive: self.archive_access(),
            stopping: parts.stopping.clone(),
            own_origin: OwnOrigin::new(self.config.internal.base_url.as_ref()),
            allow_unknown_fields: self.config.evolink.allow_unknown_fields,
            models: self.config.evolink.models.clone(),
            body_bytes_max: self.config.internal.max_body.as_usize(),
            endpoints: Endpoints {
                egress: self.egress.clone(),
                signing_files: Arc::clone(&self.signing_files),
                urls: self.endpoint_urls.clone(),
            },
            body_budget: BodyBudget::new(
                // One body of the largest size leaves room for the others.
                INTERNAL_BODIES_BYTES_MAX + self.config.internal.max_body.as_usize(),
            ),
            catch_up_permit: CatchUpPermit::default(),
            about: About {
                version: cli::version(),
                started_at: self.clock.wall_now(),
            },
            readiness: Readiness::new(self.seen_from_outside(), Arc::clone(&self.in_use)),
            wait_permits: WaitPermits::new(
                self.config.internal.max_connections,
                self.metrics.clone(),
            ),
        }
    }

    pub(super) fn sessions(&self) -> Sessions {
        let internal = &self.config.internal;
        // TLS may end here or at a proxy.
        let of_proxy = (internal.base_url.as_ref()).is_some_and(|url| url.scheme() == "https");
        let is_https = internal.scheme() == "https" || of_proxy;
        Sessions {
            key_ring: Arc::clone(&self.key_ring),
            clock: self.clock.clone(),
            transport: if is_https {
                Transport::Https
            } else {
                Transport::Http
            },
        }
    }

    fn archive_access(&self) -> Option<ArchiveAccess> {
        let archive = self.archive.as_ref()?;
        let address = self.internal_address().ok()?;
        Some(ArchiveAccess {
            storage: archive.storage.clone(),
            fetches: archive.fetches.clone(),
            background: archive.background.clone(),
            key_ring: Arc::clone(&self.key_ring),
            base_url: settings::internal_base_url(&self.config, address).into(),
            link_lifetime: self.config.archive.link_lifetime,
            min_free: self.config.archive.min_free.as_u64(),
            redirects: self.config.archive.redirect_to_bucket,
        })
    }

    pub(super) fn archiver(&self, parts: &Parts) -> Option<Archiver> {
        let archive = self.archive.as_ref()?;
        Some(Archiver::new(archiver::Dependencies {
            store: Arc::clone(&self.store),
            recorder: self.recorder.clone(),
            evolink: Arc::clone(&self.evolink),
            rate_limits: Arc::clone(&self.rate_limits),
            storage: archive.storage.clone(),
            fetcher: archive.fetcher.clone(),
            fetches: archive.fetches.clone(),
            background: archive.background.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            holder: self.holder.clone(),
            fetches_at_once: self.config.archive.fetches_at_once,
            min_free: self.config.archive.min_free.as_u64(),
            retention: settings::retention(&self.config.retention).results,
            // A fetch may take half an hour, and can be made again: it never delays a stop.
            stop: parts.stopping.clone(),
            giving_up: parts.stopping.clone(),
        }))
    }

    pub(super) fn janitor(&self) -> Janitor {
        Janitor::new(janitor::Dependencies {
            store: Arc::clone(&self.store),
            recorder: self.recorder.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            holder: self.holder.clone(),
            retention: settings::retention(&self.config.retention),
            first_after: FIRST_DELETION_AFTER,
            export: self
                .config
                .retention
                .export_to
                .clone()
                .map(|folder| Export::new(folder, self.task_objects.for_readers(), &self.holder)),
        })
    }

    fn submits(&self, parts: &Parts) -> Submits {
        Submits {
            store: Arc::clone(&self.store),
            recorder: self.recorder.clone(),
            evolink: Arc::clone(&self.evolink),
            rate_limits: Arc::clone(&self.rate_limits),
            key_ring: Arc::clone(&self.key_ring),
            public: Arc::new(self.config.public.clone()),
            task_objects: self.task_objects.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            running: parts.calls.clone(),
            stopping: parts.stopping.clone(),
            giving_up: parts.giving_up.clone(),
            evolink_timeout: self.config.evolink.timeout,
            repeat_window: self.config.submits.repeat_window,
        }
    }

    fn seen_from_outside(&self) -> Outside {
        let public = &self.config.public;
        Outside {
            has_callbacks: public.has_callbacks(),
            tls: self.certificates.public.clone(),
            internal_tls: self.certificates.internal.clone(),
            callback_path: self.callback_path.clone(),
            self_tested: self.self_tested.clone(),
            self_test: public.self_test,
        }
    }

    /// `None` if the service does not test itself.
    pub(super) fn self_tester(&self) -> Option<SelfTester> {
        let public = &self.config.public;
        (public.has_callbacks() && !public.self_test.is_zero()).then(|| SelfTester {
            test: SelfTest {
                evolink: Ok(Arc::clone(&self.evolink)),
                base_url: public.base_url.clone(),
                key_ring: Some(Arc::clone(&self.key_ring)),
                clock: self.clock.clone(),
            },
            every: public.self_test,
            rate_limits: Arc::clone(&self.rate_limits),
            metrics: self.metrics.clone(),
            last: self.self_tested.clone(),
        })
    }

    pub(super) fn poll_only_watch(&self) -> PollOnlyWatch {
        let tls = self.certificates.public.clone();
        let findings = self.config.findings();
        let of_base_url = findings
            .iter()
            .filter(|finding| finding.level == Level::Warning && finding.key == "public.base_url");
        let base_url = of_base_url.map(|finding| format!("{} {}", finding.key, finding.message));
        let base_url: Vec<String> = base_url.collect();
        PollOnlyWatch {
            store: Arc::clone(&self.store),
            clock: self.clock.clone(),
            callback_path: self.callback_path.clone(),
            facts: Box::new(move || Facts {
                is_certificate_expired: tls.as_ref().is_some_and(|tls| tls.left() == Left::Expired),
                base_url: base_url.clone(),
            }),
        }
    }

    pub(super) fn reconciler(&self, parts: &Parts) -> Reconciler {
        Reconciler::new(reconciler::Dependencies {
            store: Arc::clone(&self.store),
            recorder: self.recorder.clone(),
            evolink: Arc::clone(&self.evolink),
            rate_limits: Arc::clone(&self.rate_limits),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            pace: settings::pace(&self.config),
            evolink_timeout: self.config.evolink.timeout,
            stop: parts.stopping.clone(),
            giving_up: parts.giving_up.clone(),
        })
    }

    pub(super) fn forwarder(&self, parts: &Parts) -> Forwarder {
        Forwarder::new(forwarder::Dependencies {
            store: Arc::clone(&self.store),
            recorder: self.recorder.clone(),
            egress: self.egress.clone(),
            signing_files: Arc::clone(&self.signing_files),
            endpoints: self.endpoint_urls.clone(),
            task_objects: self.task_objects.for_readers(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            holder: self.holder.clone(),
            at_once: self.attempts_at_once,
            stop: parts.stopping.clone(),
            giving_up: parts.giving_up.clone(),
        })
    }
}
