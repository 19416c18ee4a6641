//! Whether EvoLink accepts our key.

use serde::Deserialize;

use super::{Step, StepName};
use crate::evolink::EvolinkClient;

const NAME: StepName = StepName::EvolinkKey;

#[derive(Deserialize)]
struct Credits {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    user: User,
}

#[derive(Deserialize)]
struct User {
    remaining_credits: f64,
}

pub async fn key(client: Result<&EvolinkClient, &String>) -> Step {
    let client = match client {
        Ok(client) => client,
        Err(why) => return Step::skipped(NAME, why.as_str()),
    };
    let answer = match client.credits().await {
        Ok(answer) => answer,
        Err(error) => {
            let message = format!("{error}: look at evolink.base_url, DNS and the firewall");
            return Step::failing(NAME, message);
        }
    };
    let status = answer.status;
    if answer.is_about_key() {
        let source = client.health().key_source();
        let message =
            format!("EvoLink rejects the API key ({status}): put a valid one into {source}");
        return Step::failing(NAME, message);
    }
    if !(200..=299).contains(&status) {
        let message = format!("EvoLink answered {status} when asked for the credits");
        return Step::failing(NAME, message);
    }
    match serde_json::from_slice::<Credits>(&answer.body) {
        Ok(Credits { data }) => {
            let credits = data.user.remaining_credits;
            Step::ok(
                NAME,
                format!("EvoLink accepts it; {credits} credits are left"),
            )
        }
        Err(_) => Step::failing(
            NAME,
            "the answer does not tell of credits: is evolink.base_url EvoLink's API?",
        ),
    }
}
