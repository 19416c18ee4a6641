//! The request of an app, of any kind and for any model.
//!
//! Models whose page we know are judged by their table. Every other body is judged by its form
//! alone, and EvoLink receives it byte for byte, except for the callback URL.

mod any_model;
mod entries;
mod fingerprint;
mod members;
pub mod models;
mod repeated;
#[cfg(test)]
mod tests;
mod tree;
mod z_image_turbo;

use bytes::Bytes;

use super::json::{Fields, JsonError};
use super::kind::Kind;
use any_model::AnyModel;
pub use fingerprint::Fingerprint;
use members::escaped;
use z_image_turbo::ZImageTurbo;

/// The request that is kept with a task is for people, and is read with each of its rows. Members
/// that do not fit are left out of it.
const KEPT_BYTES_MAX: usize = 32 * 1024;

/// A request to generate something.
#[derive(Clone, Debug)]
pub struct Generation {
    pub kind: Kind,
    /// 1 to 128 characters.
    pub model: String,
    /// The app's own address for deliveries. EvoLink never sees it. Whether its host is allowed is
    /// not checked here.
    pub callback_url: Option<String>,
    form: Form,
}

#[derive(Clone, Debug)]
enum Form {
    ZImageTurbo(ZImageTurbo),
    AnyModel(AnyModel),
}

/// Why a body is not a valid request. Safe to show to the app that sent it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidRequest {
    /// The invalid member, or `None` if the whole body is invalid.
    pub param: Option<String>,
    pub message: String,
}

impl Generation {
    /// Parses and checks the body of a submit. `allow_unknown_fields` concerns models with a table.
    ///
    /// # Errors
    /// `InvalidRequest` names the member, its bound and the given value.
    pub fn parse(
        kind: Kind,
        body: &[u8],
        allow_unknown_fields: bool,
    ) -> Result<Self, InvalidRequest> {
        let fields = Fields::parse(body);
        if matches!(fields, Ok(_) | Err(JsonError::RepeatedKey { .. })) {
            refuse_repeated(body)?;
        }
        let fields = fields?;
        let model = members::model(&fields)?;
        refuse_other_spellings(&fields, &["model", "callback_url"])?;
        let form = if kind == Kind::Image && model == z_image_turbo::NAME {
            let request = ZImageTurbo::parse(&fields, allow_unknown_fields)?;
            refuse_other_spellings(&fields, &z_image_turbo::NAMES)?;
            Form::ZImageTurbo(request)
        } else {
            Form::AnyModel(AnyModel::new(body))
        };
        Ok(Self {
            kind,
            model,
            callback_url: members::callback_url(&fields)?,
            form,
        })
    }

    /// Returns the body for EvoLink, with the `callback_url` of this service if it has one, and
    /// never with the app's.
    pub fn to_evolink(&self, callback_url: Option<&str>) -> Bytes {
        match &self.form {
            Form::ZImageTurbo(request) => json(&request.body(callback_url)),
            Form::AnyModel(request) => request.with_callback_url(callback_url),
        }
    }

    /// Returns the body without a callback URL, which is a secret, for the store.
    pub fn to_record(&self) -> Bytes {
        let mut kept = self.fields();
        kept.remove("callback_url");
        kept.keep_within(KEPT_BYTES_MAX);
        json(&kept)
    }

    /// Returns the same hash for two requests that are equal as values. The order of keys, white
    /// space and escapes make no difference. Numbers are compared by their text.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut fields = self.fields();
        match &self.callback_url {
            Some(url) => fields.set("callback_url", url),
            None => fields.remove("callback_url"),
        }
        let request = serde_json::value::to_raw_value(&fields).expect("a request has a JSON form");
        Fingerprint::of(self.kind, &request)
    }

    fn fields(&self) -> Fields {
        Fields::parse(&self.to_evolink(None)).expect("it was parsed before")
    }
}

fn json(value: &impl serde::Serialize) -> Bytes {
    serde_json::to_vec(value)
        .expect("a request has a JSON form")
        .into()
}

impl From<JsonError> for InvalidRequest {
    fn from(error: JsonError) -> Self {
        Self {
            param: None,
            message: error.to_string(),
        }
    }
}

/// Some JSON readers take `Callback_URL` for `callback_url`. Then it would count in place of ours.
/// They fold letters as Unicode does: the Kelvin sign is a `k`, and the long s an `s`.
fn refuse_other_spellings(fields: &Fields, names: &[&str]) -> Result<(), InvalidRequest> {
    let folded = |key: &str| key.to_uppercase().to_lowercase();
    for name in names {
        let is_other = |key: &&str| key != name && folded(key) == **name;
        if let Some(other) = fields.keys().find(is_other) {
            return Err(InvalidRequest {
                message: format!("`{other}` must be spelled `{name}`"),
                param: Some(other.to_owned()),
            });
        }
    }
    Ok(())
}

fn refuse_repeated(body: &[u8]) -> Result<(), InvalidRequest> {
    let Some(name) = repeated::member(body) else {
        return Ok(());
    };
    let name = escaped(&name);
    Err(InvalidRequest {
        message: format!("`{name}` occurs twice in the request"),
        param: Some(name),
    })
}
