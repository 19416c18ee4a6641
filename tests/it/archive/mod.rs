//! Archived result files: how they are fetched and kept, and how apps get them.

mod main_job;

use evolink_receiver::config::{ByteSize, Network};

use crate::support::app::{TestApp, TestAppBuilder};

/// A receiver that archives what is on this machine.
fn archiving() -> TestAppBuilder {
    TestApp::builder().with(|config| {
        config.archive.enabled = true;
        config.archive.allow_networks = vec![Network::loopback()];
        config.archive.min_free = ByteSize::bytes(0);
    })
}
