//! The filters of the list, which are in the address of the page. They are those of the API, with
//! two differences: a form sends empty ones, and `since` is relative.

use std::time::Duration;

use url::form_urlencoded;

use crate::domain::ids::SubmissionId;
use crate::http::internal::InternalState;
use crate::http::internal::error::ApiError;
use crate::http::internal::tasks;
use crate::store::read::{TaskFilter, TaskView};

/// The tasks of one part of the list.
pub const PAGE: u32 = 48;

const HOUR: Duration = Duration::from_hours(1);

/// The choices of `since`.
const SINCE: [(&str, Duration); 4] = [
    ("1h", HOUR),
    ("24h", Duration::from_hours(24)),
    ("7d", Duration::from_hours(7 * 24)),
    ("30d", Duration::from_hours(30 * 24)),
];

/// How the list is laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    #[default]
    Gallery,
    Table,
}

/// The query of the address. The texts are as they were sent, for the form.
#[derive(Debug, Default)]
pub struct Query {
    pub layout: Layout,
    pub status: String,
    pub kind: String,
    pub model: String,
    pub client: String,
    pub reference: String,
    pub since: String,
    cursor: Option<String>,
    ids: Option<String>,
    /// Parameters that are not ours. The API's parser names them in its error.
    others: Vec<(String, String)>,
}

impl Query {
    pub fn parse(query: &str) -> Self {
        let mut parsed = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let value = value.trim().to_owned();
            match name.as_ref() {
                _ if value.is_empty() => {}
                "layout" if value == "table" => parsed.layout = Layout::Table,
                "layout" => {}
                "status" => parsed.status = value,
                "kind" => parsed.kind = value,
                "model" => parsed.model = value,
                "client" => parsed.client = value,
                "reference" => parsed.reference = value,
                "since" => parsed.since = value,
                "cursor" => parsed.cursor = Some(value),
                "ids" => parsed.ids = Some(value),
                name => parsed.others.push((name.to_owned(), value)),
            }
        }
        parsed
    }

    pub fn is_table(&self) -> bool {
        self.layout == Layout::Table
    }

    pub fn is_since(&self, choice: &str) -> bool {
        self.since == choice
    }

    /// Whether a filter is set.
    pub fn is_filtered(&self) -> bool {
        !self.pairs().is_empty()
    }

    /// Whether one of the filters is set that are folded away.
    pub fn has_more(&self) -> bool {
        let folded = [&self.model, &self.client, &self.reference];
        folded.iter().any(|filter| !filter.is_empty())
    }

    /// # Errors
    /// 400 that names the first bad filter.
    pub fn filter(&self, state: &InternalState) -> Result<TaskFilter, ApiError> {
        let mut pairs = self.pairs();
        pairs.retain(|(name, _)| *name != "since");
        let others = self.others.iter();
        pairs.extend(others.map(|(name, value)| (name.as_str(), value.as_str())));
        pairs.extend(self.cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let mut text = form_urlencoded::Serializer::new(String::new());
        let (mut filter, _) = tasks::parse_list_query(&text.extend_pairs(pairs).finish())?;
        if !self.since.is_empty() {
            let known = SINCE.iter().find(|(name, _)| *name == self.since);
            let message = "`since` must be 1h, 24h, 7d or 30d";
            let (_, time) = known.ok_or_else(|| ApiError::invalid("since", message))?;
            filter.created_after = Some(state.clock.now().before(*time));
        }
        Ok(filter)
    }

    /// The ids that a script has asked for. Those that are no ids are left out.
    pub fn ids(&self) -> Option<Vec<SubmissionId>> {
        let ids = self.ids.as_deref()?.split(',');
        Some(ids.filter_map(|id| id.parse().ok()).collect())
    }

    /// The address of this list from `cursor` on.
    pub fn address(&self, cursor: Option<SubmissionId>) -> String {
        let mut text = form_urlencoded::Serializer::new("/?".to_owned());
        if self.is_table() {
            text.append_pair("layout", "table");
        }
        text.extend_pairs(self.pairs());
        if let Some(cursor) = cursor {
            text.append_pair("cursor", &cursor.to_string());
        }
        text.finish()
    }

    /// The address of the same list in the other layout.
    pub fn in_layout(&self, layout: &str) -> String {
        let mut text = form_urlencoded::Serializer::new("/?".to_owned());
        text.append_pair("layout", layout);
        text.extend_pairs(self.pairs());
        text.finish()
    }

    /// The filters that are set.
    fn pairs(&self) -> Vec<(&str, &str)> {
        let all = [
            ("status", &self.status),
            ("kind", &self.kind),
            ("model", &self.model),
            ("client", &self.client),
            ("reference", &self.reference),
            ("since", &self.since),
        ];
        let set = all.into_iter().filter(|(_, value)| !value.is_empty());
        set.map(|(name, value)| (name, value.as_str())).collect()
    }
}

/// Whether the list with this filter contains the task.
pub fn matches(filter: &TaskFilter, view: &TaskView) -> bool {
    let (record, task) = (&view.record, &view.record.task);
    let is = |wanted: &Option<String>, value: &Option<String>| wanted.is_none() || wanted == value;
    filter.state.is_none_or(|state| task.state() == state)
        && (filter.kind.is_none() || filter.kind == task.kind)
        && is(&filter.client, &record.client)
        && is(&filter.model, &record.model)
        && is(&filter.reference, &record.reference)
        && filter
            .created_after
            .is_none_or(|time| task.submitted_at > time)
}
