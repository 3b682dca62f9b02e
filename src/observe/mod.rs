//! What operators see: the log, what was worth an alert lately, the status document, readiness.

pub mod log;
pub mod notify;
pub mod status;
