//! Why callbacks may not arrive, the likeliest cause first.

use super::{HandshakeFailure, Seen};

/// What is known besides what was seen.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub is_certificate_expired: bool,
    /// What is wrong with `public.base_url`, as the configuration's warnings say it.
    pub base_url: Vec<String>,
}

/// Maximum number of causes in one line.
const CAUSES_MAX: usize = 4;

/// Returns the likely causes, numbered, in one line.
pub fn likely_causes(seen: &Seen, facts: &Facts) -> String {
    let mut causes = Vec::new();
    if facts.is_certificate_expired {
        causes.push("the certificate has expired: renew it".to_owned());
    }
    causes.extend(facts.base_url.iter().cloned());
    // Clients that only close are scans and checks, as a rule.
    let failed = seen.handshakes.iter();
    let failed = failed.filter(|(reason, _)| **reason != HandshakeFailure::Closed);
    causes.extend(by_number(failed).into_iter().map(|(reason, times)| {
        let (why, advice) = (reason.into_str(), reason.advice());
        format!("TLS handshakes failed ({why}, {times} times): {advice}")
    }));
    let refused = by_number(seen.callbacks.iter());
    causes.extend(refused.into_iter().map(|(reason, times)| {
        let (why, advice) = (reason.into_str(), reason.advice());
        format!("callbacks were refused ({why}, {times} times): {advice}")
    }));
    if causes.is_empty() {
        causes.push(
            "nothing reaches the public listener: DNS of public.base_url, a firewall, or the proxy in front; see `evolink-receiver check --online`"
                .to_owned(),
        );
        causes.push("EvoLink does not call: see its status page".to_owned());
    }
    causes.truncate(CAUSES_MAX);
    let numbered = causes.iter().enumerate();
    let numbered = numbered.map(|(n, cause)| format!("{}. {cause}", n + 1));
    numbered.collect::<Vec<_>>().join("; ")
}

/// The most frequent first.
fn by_number<'a, R: Copy + 'a>(counts: impl Iterator<Item = (&'a R, &'a u64)>) -> Vec<(R, u64)> {
    let mut counts: Vec<(R, u64)> = counts.map(|(reason, times)| (*reason, *times)).collect();
    counts.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::callback_path::CallbackRefusal;

    #[test]
    fn the_causes_stand_in_the_order_of_their_likelihood() {
        let mut seen = Seen::default();
        let mut facts = Facts::default();
        let nothing = likely_causes(&seen, &facts);
        assert!(nothing.starts_with("1. nothing reaches"), "{nothing}");
        assert!(nothing.contains("; 2. EvoLink does not call"), "{nothing}");
        seen.handshakes.insert(HandshakeFailure::Closed, 1000);
        assert_eq!(likely_causes(&seen, &facts), nothing, "scans");
        seen.callbacks.insert(CallbackRefusal::UnknownKey, 2);
        seen.callbacks.insert(CallbackRefusal::WrongPath, 7);
        seen.handshakes.insert(HandshakeFailure::UnknownCa, 3);
        let refused = likely_causes(&seen, &facts);
        let places = ["1. TLS handshakes failed (unknown_ca, 3 times)"]
            .into_iter()
            .chain(["2. callbacks were refused (wrong_path, 7 times)"])
            .chain(["3. callbacks were refused (unknown_key, 2 times)"])
            .map(|text| refused.find(text).unwrap_or_else(|| panic!("{refused}")));
        assert!(places.is_sorted(), "{refused}");
        facts.is_certificate_expired = true;
        facts
            .base_url
            .push("public.base_url is internal".to_owned());
        let all = likely_causes(&seen, &facts);
        assert!(all.starts_with("1. the certificate has expired"), "{all}");
        assert!(all.contains("2. public.base_url is internal"), "{all}");
    }
}
