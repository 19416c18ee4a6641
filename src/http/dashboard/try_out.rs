//! The page to submit a task by hand. Its script sends the form to the API as an app would, with an
//! idempotency key, so that a second click is not paid twice.

use askama::Template;
use axum::Extension;
use axum::response::Response;
use strum::VariantArray as _;
use uuid::Uuid;

use super::page::{Frame, PageError, Tab, Viewer, html};
use crate::domain::kind::Kind;

/// Suggestions, not limits: every model that EvoLink has and the configuration allows can be typed.
const MODELS: [&str; 1] = ["z-image-turbo"];

/// The ratios that EvoLink's page on z-image-turbo names.
const SIZES: [&str; 9] = [
    "1:1", "2:3", "3:2", "3:4", "4:3", "9:16", "16:9", "1:2", "2:1",
];

#[derive(Template)]
#[template(path = "try.html")]
struct TryPage {
    frame: Frame,
    kinds: Vec<Choice>,
    models: [&'static str; 1],
    sizes: [&'static str; 9],
    idempotency_key: String,
    may_read: bool,
}

/// A kind, and where its submits go.
struct Choice {
    name: &'static str,
    path: &'static str,
}

pub async fn show(Extension(viewer): Extension<Viewer>) -> Result<Response, PageError> {
    viewer.must_submit()?;
    let kinds = Kind::VARIANTS.iter().map(|kind| Choice {
        name: kind.into_str(),
        path: kind.submit_path(),
    });
    let page = TryPage {
        kinds: kinds.collect(),
        models: MODELS,
        sizes: SIZES,
        idempotency_key: format!("dashboard-{}", Uuid::now_v7()),
        may_read: viewer.may_read,
        frame: Frame::new("Try", Tab::Try, Some(viewer)),
    };
    Ok(html(&page))
}
