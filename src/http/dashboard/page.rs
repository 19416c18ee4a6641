//! What all pages share: who looks at them, the frame around them, and their errors.

use askama::Template;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use http::{Method, StatusCode, header};
use tracing::error;
use url::form_urlencoded;

use super::assets;
use crate::cli;
use crate::config::Scope;
use crate::http::internal::access::{Admission, Caller, Gate, Proof};
use crate::http::internal::error::ApiError;
use crate::store::StoreError;
use crate::turns;

/// Who looks at a page, and what they may do.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "three scopes, and a session")]
pub struct Viewer {
    /// The name of the API key. Empty if no keys are configured.
    pub name: String,
    pub may_read: bool,
    pub may_submit: bool,
    pub may_operate: bool,
    /// Whether there is a session that can be ended.
    pub is_signed_in: bool,
}

/// The pages, in the order of the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tab {
    Tasks,
    Health,
    Trouble,
    Try,
    None,
}

/// The frame around a page: its head, its navigation and its foot.
#[derive(Debug)]
pub struct Frame {
    pub title: String,
    tab: Tab,
    pub viewer: Option<Viewer>,
    pub version: &'static str,
    /// The version of the assets, which is in their paths.
    pub assets: &'static str,
}

/// A page instead of the one that was wanted.
#[derive(Debug)]
pub struct PageError {
    status: StatusCode,
    message: String,
    viewer: Option<Viewer>,
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    frame: Frame,
    heading: &'static str,
    message: String,
}

impl Viewer {
    fn of(caller: &Caller, proof: &Proof) -> Self {
        Self {
            name: caller.name.as_deref().unwrap_or_default().to_owned(),
            may_read: caller.may(Scope::Read),
            may_submit: caller.may(Scope::Submit),
            may_operate: caller.may(Scope::Admin),
            is_signed_in: matches!(proof, Proof::Session { .. }),
        }
    }

    /// # Errors
    /// 403 if the viewer's key lacks the scope `read`.
    pub fn must_read(&self) -> Result<(), PageError> {
        self.must(self.may_read, Scope::Read)
    }

    /// # Errors
    /// 403 if the viewer's key lacks the scope `submit`.
    pub fn must_submit(&self) -> Result<(), PageError> {
        self.must(self.may_submit, Scope::Submit)
    }

    fn must(&self, may: bool, scope: Scope) -> Result<(), PageError> {
        let refused = || PageError::from(ApiError::missing_scope(scope.as_str())).to(self);
        may.then_some(()).ok_or_else(refused)
    }
}

impl Frame {
    pub fn new(title: impl Into<String>, tab: Tab, viewer: Option<Viewer>) -> Self {
        Self {
            title: title.into(),
            tab,
            viewer,
            version: cli::version(),
            assets: assets::version(),
        }
    }

    pub fn is_at(&self, tab: Tab) -> bool {
        self.tab == tab
    }
}

impl PageError {
    /// Shows the error with the navigation that `viewer` has.
    #[must_use]
    pub fn to(mut self, viewer: &Viewer) -> Self {
        self.viewer = Some(viewer.clone());
        self
    }
}

impl From<ApiError> for PageError {
    fn from(error: ApiError) -> Self {
        Self {
            status: error.status(),
            message: error.message().to_owned(),
            viewer: None,
        }
    }
}

impl From<StoreError> for PageError {
    fn from(error: StoreError) -> Self {
        ApiError::from(error).into()
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let heading = match self.status {
            StatusCode::FORBIDDEN => "Not allowed",
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::BAD_REQUEST => "This address is not right",
            _ => "This did not work",
        };
        let page = ErrorPage {
            frame: Frame::new(heading, Tab::None, self.viewer),
            heading,
            message: self.message,
        };
        (self.status, html(&page)).into_response()
    }
}

/// Renders a page or a part of one.
pub fn html(template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => {
            let content_type = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
            (content_type, text).into_response()
        }
        Err(error) => {
            error!(error = %error, "a page could not be rendered: {error}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Adds the `Viewer` to the request of a script. Otherwise answers 401.
pub async fn require(
    State(gate): State<Gate>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let Admission { caller, proof } = gate.identify(request.headers())?;
    let viewer = Viewer::of(&caller, &proof);
    let key = caller.key();
    request.extensions_mut().insert(caller);
    request.extensions_mut().insert(viewer);
    let mut response = turns::working_for(key, next.run(request)).await;
    proof.mark(&mut response);
    Ok(response)
}

/// The same for a page. A stranger is sent to the sign-in, which leads back here.
pub async fn require_page(state: State<Gate>, request: Request, next: Next) -> Response {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let wanted = request.uri().path_and_query().map(ToString::to_string);
    match require(state, request, next).await {
        Ok(response) => response,
        Err(error) if is_read && error.status() == StatusCode::UNAUTHORIZED => {
            let next = wanted.unwrap_or_default();
            let next: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
            Redirect::to(&format!("/sign-in?next={next}")).into_response()
        }
        Err(error) => PageError::from(error).into_response(),
    }
}
