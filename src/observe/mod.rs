//! What operators see: the log, what was worth an alert lately, the status document, metrics, readiness, copies of results.

pub mod http;
pub mod log;
pub mod metrics;
pub mod notify;
pub mod process;
pub mod status;
pub mod tee;
