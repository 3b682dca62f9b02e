//! What operators see: the log, and later metrics, the status socket and readiness.

pub mod log;
