//! Compares the results of two completions of one task: whether the later one has what was
//! published and more, or only a part of it. EvoLink sends the callbacks of audio tasks in stages,
//! and the first ones may have half of the results.

use serde_json::Value;

use super::Observation;
use super::results::without_query;

/// The order in which results are numbered: for each number, the position in
/// [`Observation::urls`]. Plain if numbers and positions are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResultsOrder {
    positions: Vec<usize>,
    /// The positions, separated by commas.
    text: String,
}

impl ResultsOrder {
    pub const PLAIN: Self = Self {
        positions: Vec::new(),
        text: String::new(),
    };

    fn of(positions: Vec<usize>) -> Self {
        let mut numbered = positions.iter().enumerate();
        if numbered.all(|(number, position)| number == *position) {
            return Self::PLAIN;
        }
        let words: Vec<String> = positions.iter().map(ToString::to_string).collect();
        let text = words.join(",");
        Self { positions, text }
    }

    /// Parses what `text` returns. `None` if it is no permutation, or the plain one.
    pub fn parse(text: &str) -> Option<Self> {
        let words = text.split(',').map(|word| word.parse().ok());
        let positions: Vec<usize> = words.collect::<Option<_>>()?;
        let mut sorted = positions.clone();
        sorted.sort_unstable();
        let mut sorted = sorted.iter().enumerate();
        let order = Self::of(positions);
        let is_permutation = sorted.all(|(number, position)| number == *position);
        (is_permutation && !order.is_plain()).then_some(order)
    }

    /// The URLs in the order of their numbers, each with its position. What a longer list has more
    /// comes last.
    pub fn apply<'a>(&self, urls: impl Iterator<Item = &'a str>) -> Vec<(usize, &'a str)> {
        let all: Vec<(usize, &str)> = urls.enumerate().collect();
        let ordered = self
            .positions
            .iter()
            .filter_map(|position| all.get(*position));
        let ordered: Vec<_> = ordered.copied().collect();
        let rest = all.into_iter().skip(self.positions.len());
        ordered.into_iter().chain(rest).collect()
    }

    pub const fn is_plain(&self) -> bool {
        self.positions.is_empty()
    }

    /// The text for the store; `None` if it is plain.
    pub fn text(&self) -> Option<&str> {
        (!self.is_plain()).then_some(&*self.text)
    }
}

/// How a later completion relates to the published one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It has the published results and more. The published ones keep their numbers.
    More(ResultsOrder),
    /// It has nothing but published results.
    Part,
    /// Each has something that the other lacks.
    Other,
}

impl Observation {
    /// Compares its results with the `published` ones, which are numbered in `order`. URLs are
    /// compared without their query strings.
    pub fn relation_to(&self, published: &Self, order: &ResultsOrder) -> Relation {
        let known = order.apply(published.urls());
        let known: Vec<&str> = known.into_iter().map(|(_, url)| url).collect();
        if let Some(positions) = positions(&known, self)
            && self.has_all_data_of(published)
        {
            return Relation::More(positions);
        }
        let ours: Vec<&str> = self.urls().collect();
        if positions(&ours, published).is_some() && published.has_all_data_of(self) {
            Relation::Part
        } else {
            Relation::Other
        }
    }

    /// Whether `result_urls` and `result_data` have everything that they have in `other`.
    fn has_all_data_of(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.fields(), other.fields());
        ["result_urls", "result_data"].into_iter().all(|name| {
            let theirs: Value = theirs.read(name).unwrap_or_default();
            has_all_of(&ours.read(name).unwrap_or_default(), &theirs)
        })
    }
}

/// Returns the order in which `known` come first, and what else `seen` has comes after them. `None`
/// if one of them is missing.
fn positions(known: &[&str], seen: &Observation) -> Option<ResultsOrder> {
    let urls: Vec<&str> = seen.urls().map(without_query).collect();
    let mut is_taken = vec![false; urls.len()];
    let mut order = Vec::with_capacity(urls.len());
    for url in known {
        let path = without_query(url);
        let mut places = urls.iter().zip(&is_taken);
        let place = places.position(|(url, taken)| *url == path && !taken)?;
        is_taken[place] = true;
        order.push(place);
    }
    order.extend((0..urls.len()).filter(|place| !is_taken[*place]));
    Some(ResultsOrder::of(order))
}

/// Whether `whole` has everything of `part`. What was empty may have been filled in. The items of a
/// list may be in another order.
fn has_all_of(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (_, Value::Null) => true,
        (_, Value::String(text)) if text.is_empty() => true,
        (_, Value::Array(items)) if items.is_empty() => true,
        (_, Value::Object(members)) if members.is_empty() => true,
        (Value::Array(whole), Value::Array(part)) => {
            let mut is_taken = vec![false; whole.len()];
            part.iter().all(|item| {
                let mut places = whole.iter().zip(&is_taken);
                let place = places.position(|(value, taken)| !taken && has_all_of(value, item));
                place.is_some_and(|place| {
                    is_taken[place] = true;
                    true
                })
            })
        }
        (Value::Object(whole), Value::Object(part)) => part.iter().all(|(name, value)| {
            let absent = Value::Null;
            has_all_of(whole.get(name).unwrap_or(&absent), value)
        }),
        (Value::String(whole), Value::String(part)) => {
            let is_url = |text: &str| text.starts_with("https://") || text.starts_with("http://");
            whole == part
                || (is_url(whole) && is_url(part) && without_query(whole) == without_query(part))
        }
        (whole, part) => whole == part,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn seen(members: &str) -> Observation {
        let text = format!(r#"{{"id":"t","status":"completed",{members}}}"#);
        Observation::parse(Bytes::from(text)).unwrap()
    }

    fn relation(published: &str, later: &str) -> Relation {
        seen(later).relation_to(&seen(published), &ResultsOrder::PLAIN)
    }

    fn more(order: &[usize]) -> Relation {
        Relation::More(ResultsOrder::of(order.to_vec()))
    }

    #[test]
    fn a_completion_with_the_published_results_and_more_is_an_extension_in_any_order() {
        let one = r#""results":["https://h/a?s=1"]"#;
        for (later, order) in [
            (r#""results":["https://h/a?s=2","https://h/b"]"#, &[][..]),
            (r#""results":["https://h/b","https://h/a"]"#, &[1, 0]),
            (
                r#""results":["https://h/c","https://h/b","https://h/a"]"#,
                &[2, 0, 1],
            ),
            (
                r#""results":["https://h/a"],"result_urls":["https://h/b"]"#,
                &[],
            ),
        ] {
            assert_eq!(relation(one, later), more(order), "{later}");
            assert_eq!(relation(later, one), Relation::Part, "{later}");
        }
        for later in [
            r#""results":["https://h/b","https://h/c"]"#,
            r#""results":["https://h/b"]"#,
        ] {
            assert_eq!(relation(one, later), Relation::Other, "{later}");
        }
        let twice = r#""results":["https://h/a","https://h/a"]"#;
        assert_eq!(relation(one, twice), more(&[]));
        assert_eq!(relation(twice, one), Relation::Part);
    }

    #[test]
    fn data_that_was_empty_may_be_filled_in_and_nothing_may_be_lost() {
        let first = r#""result_data":[{"result_id":"a","title":"x","audio_url":"","tags":null}]"#;
        let filled = concat!(
            r#""result_data":[{"result_id":"b"},"#,
            r#"{"result_id":"a","title":"x","audio_url":"https://h/a","tags":"t"}]"#
        );
        assert_eq!(relation(first, filled), more(&[]));
        assert_eq!(relation(filled, first), Relation::Part);
        let other = r#""result_data":[{"result_id":"a","title":"y"}]"#;
        assert_eq!(relation(first, other), Relation::Other);
        let lost = r#""results":["https://h/a"]"#;
        assert_eq!(relation(first, lost), Relation::Other);
    }

    #[test]
    fn numbers_stay_over_several_extensions() {
        let (one, two) = (
            seen(r#""results":["https://h/b"]"#),
            seen(r#""results":["https://h/a","https://h/b"]"#),
        );
        let Relation::More(order) = two.relation_to(&one, &ResultsOrder::PLAIN) else {
            panic!("two has more");
        };
        let three = seen(r#""results":["https://h/a","https://h/c","https://h/b"]"#);
        let Relation::More(order) = three.relation_to(&two, &order) else {
            panic!("three has more");
        };
        let numbered: Vec<&str> = (order.apply(three.urls()).into_iter())
            .map(|(_, url)| url)
            .collect();
        assert_eq!(numbered, ["https://h/b", "https://h/a", "https://h/c"]);
        let text = order.text().unwrap();
        assert_eq!(ResultsOrder::parse(text).as_ref(), Some(&order), "{text}");
        for wrong in ["", "1", "0,0", "a", "0,2", "0,1"] {
            assert_eq!(ResultsOrder::parse(wrong), None, "{wrong}");
        }
    }
}
