//! What the probe says of itself (`controller-protocol` section 7): the status results and markers.
//!
//! [`lines`] turns values into RESULT lines and is pure; [`system`] reads the values; [`parse`] is the pure part of that.

pub mod lines;
pub mod parse;
mod repeats;
pub mod system;
#[cfg(test)]
mod tests;

pub use repeats::Repeats;
