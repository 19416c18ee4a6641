//! `check --online`: tests of EvoLink's key and of the public URL, as findings. Calls EvoLink and
//! the public URL, once each.

use std::sync::Arc;

use super::found;
use crate::app::evolink_client;
use crate::clock::Clock;
use crate::config::{Config, Finding, Level};
use crate::secrets::key_ring;
use crate::self_test::{SelfTest, Step, StepState};

pub(super) async fn online(config: &Config, clock: &Clock) -> Vec<Finding> {
    if !config.public.has_callbacks() {
        let message = "not tested: public.mode is poll-only";
        return vec![found(Level::Warning, "online", message)];
    }
    let evolink = evolink_client(config);
    let key_ring = key_ring::load_if_there(&config.callback_tokens.key_file);
    let test = SelfTest {
        evolink: evolink
            .map(Arc::new)
            .map_err(|error| format!("not tested: {error}")),
        base_url: config.public.base_url.clone(),
        // What is wrong with the file is another finding.
        key_ring: key_ring.ok().flatten().map(Arc::new),
        clock: clock.clone(),
    };
    test.run().await.into_iter().map(finding).collect()
}

fn finding(step: Step) -> Finding {
    let key = format!("online.{}", step.name.into_str());
    let level = match step.state {
        StepState::Ok => Level::Ok,
        StepState::Failing => Level::Error,
        StepState::Skipped => Level::Warning,
    };
    found(level, key, step.message)
}
