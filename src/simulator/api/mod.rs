//! EvoLink's routes as the simulator answers them, and the simulator's own under `/simulator/`.

pub mod catalog;
pub mod error;
pub mod payload;
pub mod queries;
pub mod request;

use std::sync::Arc;

use axum::body::{Bytes, to_bytes};
use axum::extract::{Extension, Request, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::plan::magic;
use super::plan::{AnswerFault, When};
use super::records::SubmitSeen;
use super::results::files;
use super::server::ConnectionReset;
use super::state::{Accepted, Shared};
use super::task::{Task, remove};
use super::{addresses, callbacks, now};
use error::{ApiError, REQUEST_ID};
use request::{Generation, Route};

const BODY_BYTES_MAX: usize = 1024 * 1024;

/// A page of a proxy that checks whether the client is a browser.
pub const JUST_A_MOMENT: &str = "<!DOCTYPE html><html><body>Just a moment…</body></html>";

pub fn router(shared: Arc<Shared>) -> Router {
    let router = Route::ALL.into_iter().fold(Router::new(), |router, route| {
        router.route(route.path(), post(submit).layer(Extension(route)))
    });
    router
        .route("/v1/tasks/{id}", get(queries::query))
        .route("/v1/models", get(catalog::models))
        .route("/v1/catalog/{part}", get(catalog::catalog))
        .route(
            "/v1/catalog/models/{id}/pricing-rules",
            get(catalog::pricing_rules),
        )
        .route("/v1/credits", get(credits))
        .route("/files/{id}/{name}", get(files::file))
        .route("/storage/{id}/{name}", get(files::stored_file))
        .route("/simulator/stats", get(stats))
        .route("/simulator/submits", get(submits))
        .route("/simulator/tasks", get(tasks))
        .route("/simulator/queries", get(queries_seen))
        .route("/simulator/callbacks", get(callback_attempts))
        .route(
            "/simulator/magic-prompts",
            get(async || magic::magic_prompts_markdown()),
        )
        .fallback(async || ApiError::not_found())
        .method_not_allowed_fallback(async || StatusCode::METHOD_NOT_ALLOWED)
        .layer(middleware::map_response(add_request_id))
        .with_state(shared)
}

async fn add_request_id(mut response: Response) -> Response {
    let id = uuid::Uuid::now_v7().simple().to_string();
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

async fn submit(
    State(shared): State<Arc<Shared>>,
    Extension(reset): Extension<ConnectionReset>,
    Extension(route): Extension<Route>,
    request: Request,
) -> Response {
    match accept(&shared, route, request).await {
        Ok(Accepted::Replayed(answer)) => {
            ([("idempotency-replayed", "true")], Json(answer)).into_response()
        }
        Ok(Accepted::New(task)) => {
            let fault = task.plan.answer_fault;
            let answer = match fault {
                Some(AnswerFault::AlreadyEnded) => {
                    shared.end_task(&task.id);
                    task.terminal_body(task.plan.ending, &shared.public_url)
                }
                _ => task.submit_answer(),
            };
            start(&shared, task).await;
            answer_with(fault, answer, reset).await
        }
        Err(error) => error.into_response(),
    }
}

async fn accept(shared: &Shared, route: Route, request: Request) -> Result<Accepted, ApiError> {
    let (head, body) = request.into_parts();
    let headers = head.headers;
    let raw_body = to_bytes(body, BODY_BYTES_MAX).await;
    let raw_body = raw_body.map_err(|_| ApiError::too_large());
    let json = raw_body
        .as_ref()
        .ok()
        .map(|raw| serde_json::from_slice(raw));
    let body: Option<Value> = json.and_then(Result::ok);
    shared.record_submit(SubmitSeen {
        at: now(),
        headers: headers.clone(),
        idempotency_key: header_text(&headers, "idempotency-key").map(str::to_owned),
        body: body.clone().unwrap_or_default(),
    });
    authorize(shared, &headers)?;
    let raw_body = raw_body?;
    check_content_type(&headers)?;
    let body = body.ok_or_else(|| ApiError::unreadable("the request body is not valid JSON"))?;
    let generation = Generation::parse(route, &body)?;
    check_callback_address(shared, &generation).await?;
    let idempotency_key = idempotency_key(shared, &headers)?;
    shared.accept(generation, idempotency_key, &raw_body, now().as_second())
}

/// Starts the task. With an early callback, waits until the receiver has answered it.
async fn start(shared: &Arc<Shared>, task: Box<Task>) {
    let first_answer = CancellationToken::new();
    let is_early = task.plan.callbacks.when == When::BeforeTheSubmitAnswer;
    let life = callbacks::live(Arc::clone(shared), task, first_answer.clone());
    shared.workers.spawn(life);
    if is_early {
        first_answer.cancelled().await;
    }
}

async fn answer_with(
    fault: Option<AnswerFault>,
    mut answer: Value,
    reset: ConnectionReset,
) -> Response {
    match fault {
        None | Some(AnswerFault::AlreadyEnded) => Json(answer).into_response(),
        Some(AnswerFault::Reset) => reset.now().await,
        Some(AnswerFault::Stall(duration)) => {
            tokio::time::sleep(duration).await;
            Json(answer).into_response()
        }
        Some(AnswerFault::Status(status)) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
            let page =
                format!("<html><head><title>{status}</title></head><body>nginx</body></html>");
            (status, Html(page)).into_response()
        }
        Some(AnswerFault::Html) => Html(JUST_A_MOMENT).into_response(),
        Some(AnswerFault::NoId) => {
            remove(&mut answer, &["id"]);
            Json(answer).into_response()
        }
        Some(AnswerFault::NumberAsId) => {
            answer["id"] = json!(1_757_165_031);
            Json(answer).into_response()
        }
        Some(AnswerFault::UnknownStatus) => {
            answer["status"] = json!("archived");
            answer["unheard_of"] = json!({"nested": [1]});
            Json(answer).into_response()
        }
        Some(AnswerFault::Truncated) => {
            let headers = [(header::CONTENT_TYPE, "application/json")];
            (headers, files::truncated(&Bytes::from(answer.to_string()))).into_response()
        }
    }
}

fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

pub fn authorize(shared: &Shared, headers: &HeaderMap) -> Result<(), ApiError> {
    let bearer = header_text(headers, "authorization")
        .and_then(|value| value.strip_prefix("Bearer "))
        .map(str::trim)
        .filter(|token| !token.is_empty())
        .ok_or_else(ApiError::unauthorized)?;
    match &shared.options.api_key {
        Some(api_key) if api_key != bearer => Err(ApiError::unauthorized()),
        Some(_) | None => Ok(()),
    }
}

fn check_content_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let content_type = header_text(headers, "content-type").unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default();
    if essence.trim().eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(ApiError::unreadable(
        "Content-Type must be application/json",
    ))
}

async fn check_callback_address(shared: &Shared, generation: &Generation) -> Result<(), ApiError> {
    let Some(url) = &generation.callback_url else {
        return Ok(());
    };
    if shared.options.allow_private_callbacks || !addresses::is_internal(url).await {
        return Ok(());
    }
    let message = "callback_url must not point to an internal address";
    Err(ApiError::invalid("callback_url", message))
}

fn idempotency_key<'a>(
    shared: &Shared,
    headers: &'a HeaderMap,
) -> Result<Option<&'a str>, ApiError> {
    let Some(key) = headers
        .get("idempotency-key")
        .filter(|_| shared.options.idempotency_keys)
    else {
        return Ok(None);
    };
    let is_key_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    key.to_str()
        .ok()
        .filter(|key| (16..=96).contains(&key.len()) && key.bytes().all(is_key_byte))
        .map(Some)
        .ok_or_else(|| {
            let message = "Idempotency-Key must be 16 to 96 characters of A-Z a-z 0-9 . _ -";
            ApiError::invalid("Idempotency-Key", message)
        })
}

async fn credits(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    authorize(&shared, &headers)?;
    Ok(Json(shared.credits()))
}

async fn stats(State(shared): State<Arc<Shared>>) -> Response {
    let stats = shared.remembered().stats;
    Json(stats).into_response()
}

async fn submits(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let submits = shared.remembered().submits.clone();
    Json(json!({ "data": submits }))
}

async fn tasks(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!({ "data": shared.tasks_seen() }))
}

async fn queries_seen(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let queries = shared.remembered().queries.clone();
    Json(json!({ "data": queries }))
}

async fn callback_attempts(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let attempts = shared.remembered().attempts.clone();
    Json(json!({ "data": attempts }))
}
