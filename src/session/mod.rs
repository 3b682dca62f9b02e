//! session
pub mod interpreter;
