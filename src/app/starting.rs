//! Starts the components of the service.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::certificates::Certificates;
use super::exchange::Exchange;
use super::parts::Parts;
use super::reload::{Reload, Reloader};
use super::store_workers::{StoreWorkers, start};
use super::{App, settings};
use crate::http::internal::access::Gate;
use crate::http::serve::handshake::{Failures, Tls};
use crate::http::serve::listener;
use crate::http::{dashboard, internal, public};
use crate::observe::app_handshakes::AppHandshakes;
use crate::workers::archiver::Archiver;
use crate::workers::upkeep::periodic::SecretsWatch;

/// How often the certificate files are checked, even if nothing notified us of a change.
const CERTIFICATE_INTERVAL: Duration = Duration::from_secs(5);

impl App {
    /// Starts every component. Those that store data start before those that receive it.
    pub(super) fn start(mut self, parts: &Parts) {
        let (stop, drain) = (&parts.stopping, self.config.public.drain_timeout);
        let public = self.serving_public(stop);
        let internal = &self.config.internal;
        let keys = internal.api_keys.clone();
        self.metrics.api_keys_in_use(keys.len());
        (self.metrics).token_keys_in_use(self.key_ring.fingerprints().len());
        let gate = Gate::new(keys, self.sessions(), internal.isolate_keys);
        let state = self.internal_state(parts);
        let pages = dashboard::router(&state, &gate);
        let internal = internal::router(state, &gate, pages);
        let reloader = self.reloader(gate);
        let reconciler = self.reconciler(parts).worker();
        let forwarder = self.forwarder(parts).worker();
        let poll_only_watch = public.is_some().then(|| self.poll_only_watch());
        let self_tester = self.self_tester();
        let archiver = self.archiver(parts).map(Archiver::worker);
        let janitor = self.janitor();
        let internal_tls = self.internal_tls();
        self.store_workers().start(parts);
        let recording = self.recorder_worker.run(parts.recorder_stop.clone());
        parts.run(
            "the recorder",
            &parts.workers,
            &parts.recorder_stop,
            recording,
        );
        if let Some(serving) = public {
            parts.run("the public listener", &parts.listeners, stop, serving);
        }
        let limits = settings::internal_limits(&self.config);
        let serving = listener::serve(
            self.internal,
            internal_tls,
            limits,
            internal,
            stop.clone(),
            drain,
        );
        parts.run("the internal listener", &parts.listeners, stop, serving);
        start(parts, &parts.calls, stop, reconciler);
        start(parts, &parts.calls, stop, forwarder);
        start(parts, &parts.workers, stop, janitor);
        if let Some(poll_only_watch) = poll_only_watch {
            start(parts, &parts.workers, stop, poll_only_watch);
        }
        if let Some(self_tester) = self_tester {
            start(parts, &parts.calls, stop, self_tester);
        }
        if let Some(archiver) = archiver {
            start(parts, &parts.calls, stop, archiver);
        }
        if let Some(reloader) = reloader {
            let watching = reloader.watch(Arc::clone(&self.reload.configuration), stop.clone());
            parts.run(
                "the watch of the configuration",
                &parts.workers,
                stop,
                watching,
            );
        }
        let secrets = SecretsWatch {
            files: self.signing_files,
            metrics: self.metrics,
        };
        start(parts, &parts.workers, stop, secrets);
        watch_certificates(self.certificates, self.reload, parts);
    }

    fn store_workers(&self) -> StoreWorkers {
        StoreWorkers {
            store: Arc::clone(&self.store),
            recorder: self.recorder.clone(),
            metrics: self.metrics.clone(),
            min_free: self.config.store.min_free.as_u64(),
        }
    }

    /// `None` if the configuration is not read again.
    fn reloader(&mut self, gate: Gate) -> Option<Reloader> {
        let exchange = Exchange {
            routes: self.recorder_worker.routes(),
            policy: self.recorder_worker.policy(),
            endpoint_urls: self.endpoint_urls.clone(),
            signing_files: Arc::clone(&self.signing_files),
            egress: self.egress.clone(),
            fetcher: (self.archive.as_ref()).map(|archive| archive.fetcher.clone()),
            holder: self.holder.clone(),
        };
        Some(Reloader {
            reading: self.reading.take()?,
            evolink: Arc::clone(&self.evolink),
            gate,
            exchange,
            in_use: Arc::clone(&self.in_use),
            metrics: self.metrics.clone(),
            clock: self.clock.clone(),
            refused: None,
            read_last: None,
        })
    }

    fn internal_tls(&self) -> Option<Tls> {
        let source = self.certificates.internal.clone()?;
        let failures = Failures::Apps(AppHandshakes::new(self.metrics.clone()));
        Some(Tls { source, failures })
    }

    /// The public listener, if there are callbacks.
    fn serving_public(
        &mut self,
        stop: &CancellationToken,
    ) -> Option<impl Future<Output = anyhow::Result<()>> + Send + use<>> {
        let listener = self.public.take()?;
        let public = &self.config.public;
        let router = public::router(&public.callback_path(), self.public_state());
        let tls = self.certificates.public.clone().map(|source| Tls {
            source,
            failures: Failures::Callbacks(self.callback_path.clone()),
        });
        let limits = settings::public_limits(&self.config);
        let (stop, drain) = (stop.clone(), public.drain_timeout);
        Some(listener::serve(listener, tls, limits, router, stop, drain))
    }
}

/// Has the files of the certificates read again when they change.
fn watch_certificates(certificates: Certificates, reload: Reload, parts: &Parts) {
    let stop = &parts.stopping;
    let watched = [
        (certificates.public, reload.certificate),
        (certificates.internal, reload.internal_certificate),
    ];
    for (tls, reload) in watched {
        let Some(tls) = tls else { continue };
        let watching = tls.watch(CERTIFICATE_INTERVAL, reload, stop.clone());
        parts.run("the certificate watch", &parts.workers, stop, watching);
    }
}
