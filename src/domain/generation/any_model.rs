//! The request for a model whose page we do not know. It is passed on byte for byte, except for its
//! callback URL.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use super::entries::Entries;

const CALLBACK_URL: &str = "callback_url";

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A request of any form.
#[derive(Clone)]
pub struct AnyModel {
    /// One JSON object, without a byte order mark.
    body: Bytes,
}

impl fmt::Debug for AnyModel {
    /// Shows only the length, because a prompt is personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnyModel({} bytes)", self.body.len())
    }
}

impl AnyModel {
    /// `body` must be a JSON object without a repeated member.
    pub(super) fn new(body: &[u8]) -> Self {
        let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
        Self {
            body: Bytes::copy_from_slice(body),
        }
    }

    /// Returns the body with `url` as its callback URL. Without `url`, the member is taken out.
    pub(super) fn with_callback_url(&self, url: Option<&str>) -> Bytes {
        let text = std::str::from_utf8(&self.body).expect("it was parsed as JSON");
        let members = Members::of(text);
        let own = members.0.iter().position(|member| member.is_callback_url);
        match (url, own) {
            (None, None) => self.body.clone(),
            (Some(url), Some(own)) => splice(text, members.0[own].value.clone(), &quoted(url)),
            (Some(url), None) => {
                // The object has a member: the model.
                let first = text.find('{').map_or(0, |brace| brace + 1);
                let member = format!("\"{CALLBACK_URL}\":{},", quoted(url));
                splice(text, first..first, &member)
            }
            (None, Some(own)) => splice(text, members.extent(text, own), ""),
        }
    }
}

fn quoted(url: &str) -> String {
    serde_json::to_string(url).expect("a text has a JSON form")
}

fn splice(text: &str, place: Range<usize>, replacement: &str) -> Bytes {
    let parts = [&text[..place.start], replacement, &text[place.end..]];
    parts.concat().into()
}

/// The members of the object, in order.
struct Members(Vec<Member>);

struct Member {
    /// Its name, with escapes decoded, is `callback_url`.
    is_callback_url: bool,
    /// Where its value is in the text.
    value: Range<usize>,
}

impl Members {
    fn of(text: &str) -> Self {
        let Entries(entries) = serde_json::from_str(text).expect("it was parsed as JSON");
        let begin = text.as_ptr() as usize;
        let members = entries.into_iter().map(|(name, value)| {
            // A borrowed value is a part of the text.
            let start = value.get().as_ptr() as usize - begin;
            Member {
                is_callback_url: name == CALLBACK_URL,
                value: start..start + value.get().len(),
            }
        });
        Self(members.collect())
    }

    /// Where a member is in the text, with the comma that separates it from its neighbour.
    fn extent(&self, text: &str, index: usize) -> Range<usize> {
        let end = self.0[index].value.end;
        if let Some(before) = index.checked_sub(1) {
            return self.0[before].value.end..end;
        }
        let start = text.find('{').map_or(0, |brace| brace + 1);
        let comma = text[end..].find(',').filter(|_| self.0.len() > 1);
        start..comma.map_or(end, |comma| end + comma + 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    const URL: &str = "https://us.example/callbacks/t";

    fn sent(body: &str) -> String {
        let sent = AnyModel::new(body.as_bytes()).with_callback_url(Some(URL));
        String::from_utf8(sent.to_vec()).unwrap()
    }

    fn kept(body: &str) -> String {
        let kept = AnyModel::new(body.as_bytes()).with_callback_url(None);
        String::from_utf8(kept.to_vec()).unwrap()
    }

    #[test]
    fn only_the_callback_url_is_replaced() {
        let ours = format!("\"callback_url\":\"{URL}\"");
        for (body, wanted) in [
            (r#"{"model":"m"}"#, format!(r#"{{{ours},"model":"m"}}"#)),
            (
                " { \"model\" : 1.50 }\n",
                format!(" {{{ours}, \"model\" : 1.50 }}\n"),
            ),
            (
                "{\"callback_url\":null,\"model\":1}",
                format!("{{{ours},\"model\":1}}"),
            ),
            (
                r#"{"model":1,"callb\u0061ck_url" : "https://app/", "x":{"callback_url":"y"}}"#,
                format!(
                    r#"{{"model":1,"callb\u0061ck_url" : "{URL}", "x":{{"callback_url":"y"}}}}"#
                ),
            ),
            ("\u{feff}{\"model\":1}", format!("{{{ours},\"model\":1}}")),
        ] {
            assert_eq!(sent(body), wanted, "{body}");
        }
    }

    #[test]
    fn the_callback_url_is_taken_out_wherever_it_is() {
        for (body, wanted) in [
            (r#"{"model":1}"#, r#"{"model":1}"#),
            (
                r#"{ "callback_url" : "a,b" , "model":1}"#,
                r#"{ "model":1}"#,
            ),
            (r#"{"model":1 , "callback_url":"a,}"}"#, r#"{"model":1}"#),
            (
                r#"{"model":1,"callback_url":null,"x":2}"#,
                r#"{"model":1,"x":2}"#,
            ),
            (r#"{"callback_url":"a"}"#, "{}"),
        ] {
            assert_eq!(kept(body), wanted, "{body}");
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".{0,6}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// The bytes before and after the member are the same, whatever they are.
        #[test]
        fn any_object_reaches_evolink_byte_for_byte_except_for_the_one_member(
            before in prop::collection::btree_map("[a-z\u{e9}\"]{1,6}", value(), 0..4),
            after in prop::collection::btree_map("[A-Z]{1,6}", value(), 0..4),
            is_pretty in any::<bool>(),
            own in prop::option::of(".{0,12}"),
        ) {
            let member = |(name, value): (&String, &Value)| {
                let text = if is_pretty {
                    serde_json::to_string_pretty(value).unwrap()
                } else {
                    value.to_string()
                };
                format!("{} : {text}", serde_json::to_string(name).unwrap())
            };
            let own = own.map(|url| format!("\"callback_url\":{}", quoted(&url)));
            let mut all: Vec<String> = before.iter().map(member).collect();
            let place = all.len();
            all.push(own.clone().unwrap_or_else(|| "\"model\":\"m\"".to_owned()));
            all.extend(after.iter().map(member));
            let body = format!("{{{}}}", all.join(" , "));
            let wanted = if own.is_some() {
                all[place] = format!("\"callback_url\":\"{URL}\"");
                format!("{{{}}}", all.join(" , "))
            } else {
                format!("{{\"callback_url\":\"{URL}\",{}", &body[1..])
            };
            prop_assert_eq!(sent(&body), wanted);
            let kept: Value = serde_json::from_str(&kept(&body)).unwrap();
            prop_assert!(kept.get("callback_url").is_none());
            let others = before.len() + after.len() + usize::from(own.is_none());
            prop_assert_eq!(kept.as_object().unwrap().len(), others);
        }
    }
}
