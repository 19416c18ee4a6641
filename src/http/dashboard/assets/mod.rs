//! The files that the pages load. They are in the program, and their path has the version, so that
//! a browser may keep them for ever and still gets new ones after an update.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{StatusCode, header};
use sha2::{Digest as _, Sha256};

/// The name, the content type and the bytes of each file.
const FILES: [(&str, &str, &[u8]); 11] = [
    ("base.css", CSS, include_bytes!("base.css")),
    ("pages.css", CSS, include_bytes!("pages.css")),
    ("app.js", JS, include_bytes!("app.js")),
    ("parts.js", JS, include_bytes!("parts.js")),
    ("live.js", JS, include_bytes!("live.js")),
    ("health.js", JS, include_bytes!("health.js")),
    ("try.js", JS, include_bytes!("try.js")),
    ("icon.svg", "image/svg+xml", include_bytes!("icon.svg")),
    // uPlot 1.6.32 (MIT), unchanged.
    ("uplot.js", JS, include_bytes!("uplot.js")),
    ("uplot.css", CSS, include_bytes!("uplot.css")),
    (
        "uplot.LICENSE",
        "text/plain; charset=utf-8",
        include_bytes!("uplot.LICENSE"),
    ),
];

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

const KEPT_FOR_EVER: &str = "public, max-age=31536000, immutable";

/// Returns the version of all files: the beginning of their hash.
pub fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let mut hasher = Sha256::new();
        for (_, _, bytes) in FILES {
            hasher.update(bytes);
        }
        BASE64_URL_SAFE_NO_PAD.encode(&hasher.finalize()[..9])
    });
    &VERSION
}

/// An old page may still ask for an old version. It gets the files of this one, which it must not
/// keep.
pub async fn show(Path((wanted, name)): Path<(String, String)>) -> Response {
    let Some((_, content_type, bytes)) = FILES.iter().find(|(known, ..)| *known == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let kept = if wanted == version() {
        KEPT_FOR_EVER
    } else {
        "no-store"
    };
    let headers = [
        (header::CONTENT_TYPE, *content_type),
        (header::CACHE_CONTROL, kept),
    ];
    (headers, *bytes).into_response()
}
