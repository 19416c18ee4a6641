//! Decides between the two response forms of the event log: stream or page.

use http::{HeaderMap, header};

const STREAM: &str = "text/event-stream";

/// Whether `Accept` names the event stream explicitly and does not prefer a JSON page.
pub fn wants_stream(headers: &HeaderMap) -> bool {
    let (mut stream, mut page) = (None, None);
    let values = headers.get_all(header::ACCEPT).iter();
    let values = values.filter_map(|value| value.to_str().ok());
    for (place, item) in values.flat_map(|value| value.split(',')).enumerate() {
        let (name, weight) = parse(item);
        if weight == 0 {
            continue;
        }
        // At equal weights, the type that is listed first wins.
        let rank = (weight, usize::MAX - place);
        if name.eq_ignore_ascii_case(STREAM) {
            stream = stream.max(Some(rank));
        } else if name.eq_ignore_ascii_case("application/json") {
            page = page.max(Some(rank));
        }
    }
    stream.is_some() && stream > page
}

/// The media type and its weight in thousandths. A weight that cannot be parsed counts as absent.
fn parse(item: &str) -> (&str, u32) {
    let mut parts = item.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
    let weight = weight.and_then(|weight| weight.parse::<f32>().ok());
    let weight = weight.unwrap_or(1.0).clamp(0.0, 1.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0 to 1000"
    )]
    let thousandths = (weight * 1000.0) as u32;
    (name, thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_only_for_clients_that_accept_it_by_name() {
        let wants = |accept: &str| {
            wants_stream(&HeaderMap::from_iter([(
                header::ACCEPT,
                accept.parse().unwrap(),
            )]))
        };
        for accept in [
            "text/event-stream",
            "Text/Event-Stream; charset=utf-8",
            "text/event-stream, */*",
            "text/event-stream, application/json",
            "application/json;q=0.5, text/event-stream;q=0.9",
        ] {
            assert!(wants(accept), "{accept}");
        }
        for accept in [
            "*/*",
            "text/*",
            "application/json",
            "application/json, text/event-stream",
            "text/event-stream;q=0",
            "application/json, text/event-stream;q=0.5",
            "text/event-streams",
        ] {
            assert!(!wants(accept), "{accept}");
        }
        assert!(!wants_stream(&HeaderMap::new()));
    }
}
