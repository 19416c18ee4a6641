//! The page that shows how the service does: what works, and the last hour in plots.

mod minutes;

use askama::Template;
use axum::Extension;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header;
use serde::Serialize;

use super::page::{Frame, PageError, Tab, Viewer, html};
use super::text::Moment;
use crate::http::internal::InternalState;
use crate::http::internal::error::ApiError;
use crate::http::internal::operators::detail::{Detail, DetailState};
use crate::http::internal::operators::readiness;
use crate::http::internal::operators::status::{self, EndpointStatus, Status};
pub use minutes::minutes;
use minutes::{Plot, Totals};

#[derive(Template)]
#[template(path = "health.html")]
struct HealthPage {
    frame: Frame,
    parts: Parts,
    plots: [Plot; 5],
}

/// What is asked for again while the page is open.
#[derive(Template)]
#[template(path = "health_parts.html")]
struct Parts {
    is_ready: bool,
    reason: Option<String>,
    started: Moment,
    totals: Totals,
    components: Vec<Component>,
    /// `None` if they are not known, or not for this viewer.
    endpoints: Option<Vec<EndpointStatus>>,
    may_operate: bool,
}

/// The state of one component.
struct Component {
    name: &'static str,
    state: &'static str,
    tone: &'static str,
    message: String,
}

/// What the head of every page shows.
#[derive(Debug, Serialize)]
pub struct Service {
    ready: bool,
    reason: Option<String>,
    /// The version of the assets. A page of another version reloads itself.
    assets: &'static str,
}

pub async fn show(
    State(state): State<InternalState>,
    Extension(viewer): Extension<Viewer>,
) -> Result<Response, PageError> {
    viewer.must_read()?;
    let page = HealthPage {
        parts: Box::pin(Parts::of(&state, &viewer)).await,
        plots: minutes::plots(),
        frame: Frame::new("Health", Tab::Health, Some(viewer)),
    };
    Ok(html(&page))
}

pub async fn fragment(
    State(state): State<InternalState>,
    Extension(viewer): Extension<Viewer>,
) -> Result<Response, ApiError> {
    if !viewer.may_read {
        return Err(ApiError::missing_scope("read"));
    }
    Ok(html(&Box::pin(Parts::of(&state, &viewer)).await))
}

pub async fn service(State(state): State<InternalState>) -> Response {
    let reason = readiness::trouble(&state).await;
    let service = Service {
        ready: reason.is_none(),
        reason,
        assets: super::assets::version(),
    };
    ([(header::CACHE_CONTROL, "no-store")], Json(service)).into_response()
}

impl Parts {
    async fn of(state: &InternalState, viewer: &Viewer) -> Self {
        let Status {
            service,
            tasks,
            endpoints,
            details,
            ..
        } = Box::pin(status::of(state)).await;
        let open = tasks.as_ref().map(|tasks| {
            let states = ["submitting", "pending", "processing"];
            let counts = states.iter().filter_map(|state| tasks[*state].as_u64());
            counts.sum::<u64>()
        });
        let components = [
            ("Recorder", &details.writer),
            ("Database", &details.reader),
            ("EvoLink", &details.evolink),
            ("Callbacks", &details.callbacks),
            ("Endpoints", &details.endpoints),
            ("Archive", &details.archive),
            ("Certificate", &details.certificate),
            ("Disk", &details.disk),
            ("Self-test", &details.self_test),
            ("Configuration", &details.configuration),
        ];
        Self {
            is_ready: service.ready,
            reason: service.reason,
            started: Moment::new(service.started_at, service.now),
            totals: Totals::of(&state.metrics.last_minutes(), open),
            components: components.map(Component::of).into(),
            endpoints: endpoints.filter(|_| viewer.may_operate),
            may_operate: viewer.may_operate,
        }
    }
}

impl Component {
    fn of((name, detail): (&'static str, &Detail)) -> Self {
        let (state, tone) = match detail.state {
            DetailState::Ok => ("ok", "good"),
            DetailState::Warning => ("warning", "warn"),
            DetailState::Failing => ("failing", "bad"),
        };
        Self {
            name,
            state,
            tone,
            message: detail.message.clone(),
        }
    }
}
