//! The internal API on one screen: the routes for apps and operators, and the layers around them.

pub mod access;
pub mod error;
pub mod events;
pub mod openapi;
pub mod operators;
pub mod passed_on;
pub mod query;
pub mod relayed;
pub mod results;
pub mod submits;
pub mod tasks;
pub mod usage;

use std::any::Any;
use std::sync::Arc;

use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use http::Uri;
use strum::VariantArray as _;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use crate::clock::Clock;
use crate::config::Scope;
use crate::domain::generation::models::ModelList;
use crate::domain::kind::Kind;
use crate::evolink::{EvolinkClient, RateLimits, Relay};
use crate::http::serve::body::BodyBudget;
use crate::observe::metrics::Metrics;
use crate::store::Store;
use crate::store::recorder::Recorder;
use crate::submit::Submits;
use crate::task_object::TaskObjects;
use access::Gate;
use access::origin::{self, OwnOrigin};
use access::request_id;
use access::request_log::{self, RequestLog};
use access::wait_permits::WaitPermits;
use error::ApiError;
use events::CatchUpPermit;
use operators::endpoint_test::{self, Endpoints};
use operators::readiness::Readiness;
use operators::status::{self, About};
use operators::{archive, deliveries, health, quarantine};
use results::ArchiveAccess;
use results::link::{self, LinkGate};
use tasks::{batch, history};

/// State that the handlers of the internal API share.
#[derive(Clone, Debug)]
pub struct InternalState {
    pub store: Arc<Store>,
    pub recorder: Recorder,
    pub evolink: Arc<EvolinkClient>,
    /// Reads of EvoLink for apps.
    pub relay: Relay,
    /// Whether EvoLink is asked about tasks that are not in the store.
    pub passes_unknown_tasks: bool,
    pub rate_limits: Arc<RateLimits>,
    pub clock: Clock,
    pub metrics: Metrics,
    pub submits: Submits,
    pub task_objects: TaskObjects,
    /// `None` if no results are archived.
    pub archive: Option<ArchiveAccess>,
    /// Cancelled when the process begins to stop. From then on nothing waits.
    pub stopping: CancellationToken,
    pub own_origin: OwnOrigin,
    pub allow_unknown_fields: bool,
    /// The models that may be spent on.
    pub models: ModelList,
    /// Maximum length of a request body.
    pub body_bytes_max: usize,
    pub endpoints: Endpoints,
    pub body_budget: BodyBudget,
    /// Permits for waiting queries and event streams.
    pub wait_permits: WaitPermits,
    pub readiness: Readiness,
    pub about: About,
    /// The permit that a reader of the event stream needs to catch up.
    pub catch_up_permit: CatchUpPermit,
}

/// `pages` are further routes for the same layers, which authorize by themselves.
pub fn router(state: InternalState, gate: &Gate, pages: Router) -> Router {
    let own = state.own_origin.clone();
    let requests = RequestLog::new(state.metrics.clone());
    let archive = state.archive.as_ref();
    let link_gate = LinkGate {
        keys: gate.for_scope(Scope::Read),
        key_ring: archive.map(|archive| Arc::clone(&archive.key_ring)),
        clock: state.clock.clone(),
    };
    routes(gate, link_gate)
        .fallback(async |uri: Uri| ApiError::no_route(uri.path()))
        .method_not_allowed_fallback(async || ApiError::wrong_method())
        .with_state(state)
        .merge(pages)
        .layer(from_fn_with_state(own, origin::refuse_cross_site))
        .layer(from_fn_with_state(
            gate.clone(),
            access::require_loopback_host,
        ))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(requests, request_log::log))
        .layer(from_fn(request_id::set))
}

/// All routes, each behind the API key that it needs. `openapi` describes them.
fn routes(gate: &Gate, link_gate: LinkGate) -> Router<InternalState> {
    let needs = |scope| from_fn_with_state(gate.for_scope(scope), access::require);
    let submits = Kind::VARIANTS.iter().fold(Router::new(), |router, kind| {
        let create = post(submits::create).layer(Extension(*kind));
        router.route(kind.submit_path(), create)
    });
    let reads = Router::new()
        .route("/v1/tasks", get(tasks::list))
        .route("/v1/tasks/{id}", get(tasks::show))
        .route("/v1/tasks/{id}/events", get(history::show))
        .route("/v1/events", get(events::show))
        .route("/v1/tasks/{id}/results/{n}/link", post(link::create))
        .route("/v1/credits", get(relayed::with_key))
        .route("/v1/models", get(relayed::with_key))
        .route("/v1/agent-estimates", post(relayed::estimate))
        .route("/v1/tasks/batch", post(batch::show))
        .route_layer(needs(Scope::Read));
    let files = Router::new()
        .route("/v1/tasks/{id}/results/{n}", get(results::show))
        .route_layer(from_fn_with_state(link_gate, link::require));
    let operators = operator_routes().route_layer(needs(Scope::Admin));
    let usage = Router::new()
        .route("/v1/usage", get(usage::show).layer(Extension(gate.clone())))
        .route_layer(from_fn_with_state(gate.for_any_scope(), access::require));
    let catalog = relayed::CATALOG.iter().fold(Router::new(), |router, path| {
        router.route(path, get(relayed::catalog))
    });
    let open = catalog
        .route(
            "/v1/catalog/models/{id}/pricing-rules",
            get(relayed::pricing_rules),
        )
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics));
    Router::new()
        .merge(submits.route_layer(needs(Scope::Submit)))
        .merge(reads)
        .merge(files)
        .merge(operators)
        .merge(usage)
        .merge(open)
        .merge(openapi::routes())
}

fn operator_routes() -> Router<InternalState> {
    Router::new()
        .route("/v1/status", get(status::show))
        .route("/v1/archive/retry", post(archive::retry))
        .route("/v1/archive/verify", post(archive::verify))
        .route("/v1/quarantine", get(quarantine::list))
        .route("/v1/quarantine/{id}", get(quarantine::show))
        .route("/v1/quarantine/{id}/replay", post(quarantine::replay))
        .route("/v1/deliveries", get(deliveries::list))
        .route("/v1/deliveries/retry", post(deliveries::retry_all))
        .route("/v1/deliveries/{id}", get(deliveries::show))
        .route("/v1/endpoints/{name}/test", post(endpoint_test::test))
        .route("/v1/deliveries/{id}/retry", post(deliveries::retry))
}

/// Answers 500 without the panic's message, which may contain the data that was being processed.
/// The message is in the log.
fn panicked(_: Box<dyn Any + Send>) -> Response {
    ApiError::internal().into_response()
}

#[cfg(test)]
mod tests {
    use http::{StatusCode, header};

    use super::*;

    #[tokio::test]
    async fn a_panic_is_answered_in_the_envelope_and_without_its_message() {
        let response = panicked(Box::new("sk-secret"));
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        let body = axum::body::to_bytes(response.into_body(), 4096)
            .await
            .unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["error"]["code"], "internal_error");
        assert_eq!(body["error"]["type"], "api_error");
        assert!(!body.to_string().contains("sk-secret"), "{body}");
    }
}
