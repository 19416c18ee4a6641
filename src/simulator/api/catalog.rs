//! EvoLink's routes about models: the list for a key, and the public catalog with its `ETag`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use super::authorize;
use super::error::ApiError;
use crate::simulator::state::Shared;

/// Some models, each with what it makes.
const MODELS: [(&str, &str); 4] = [
    ("z-image-turbo", "image"),
    ("gpt-image-2", "image"),
    ("sora-2", "video"),
    ("suno-v5", "audio"),
];

/// The tag of the catalog, which never changes.
const ETAG: &str = "\"simulator-1\"";

/// `GET /v1/models`.
pub async fn models(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    authorize(&shared, &headers)?;
    let models = MODELS.map(|(id, _)| json!({"id": id, "object": "model", "owned_by": "evolink"}));
    Ok(Json(json!({"object": "list", "data": models})))
}

/// `GET /v1/catalog/{part}`.
pub async fn catalog(Path(part): Path<String>, headers: HeaderMap) -> Response {
    let (name, items) = match part.as_str() {
        "models" => ("models", json!(MODELS.map(|(id, kind)| model(id, kind)))),
        "health" => (
            "models",
            json!(MODELS.map(|(id, _)| json!({"model_id": id, "status": "healthy"}))),
        ),
        "pricing" => ("pricing", json!(MODELS.map(|(id, _)| price(id)))),
        "pricing-rules" => ("rules", json!(MODELS.map(|(id, _)| price(id)))),
        "setup" => ("setup", json!({"base_url": "/v1"})),
        _ => return ApiError::not_found().into_response(),
    };
    tagged(&headers, name, &items)
}

/// `GET /v1/catalog/models/{id}/pricing-rules`.
pub async fn pricing_rules(Path(id): Path<String>, headers: HeaderMap) -> Response {
    if !MODELS.iter().any(|(known, _)| *known == id) {
        return ApiError::not_found().into_response();
    }
    tagged(&headers, "rules", &json!([price(&id)]))
}

fn model(id: &str, kind: &str) -> Value {
    json!({
        "model_id": id,
        "display_name": id,
        "aliases": [],
        "capabilities": [format!("{kind}.generate")],
        "protocols": ["evolink"],
        "lifecycle": "active",
    })
}

fn price(id: &str) -> Value {
    json!({"model_id": id, "billing_rule": "per_call", "credits": 0.026})
}

/// The answer, or 304 to a client that has it.
fn tagged(headers: &HeaderMap, name: &str, items: &Value) -> Response {
    let etag = [(header::ETAG, ETAG)];
    let known = headers.get(header::IF_NONE_MATCH);
    if known.is_some_and(|known| known.as_bytes() == ETAG.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, etag).into_response();
    }
    let meta = json!({"catalog_version": "1", "schema_version": "1"});
    (etag, Json(json!({"meta": meta, name: items}))).into_response()
}
