//! What operators observe: logs and metrics, and texts from outside made safe to show.

pub mod app_handshakes;
pub mod callback_path;
pub mod metrics;
pub mod telemetry;
pub mod throttle;
pub mod untrusted;
