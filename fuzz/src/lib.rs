//! The functions that the targets call; `tests/corpus.rs` of the main package has the same.

#[path = "../../tests/support/fuzz/mod.rs"]
mod bodies;

/// Runs the body of a target.
///
/// # Panics
/// A promise was broken, or there is no such target.
pub fn run(target: &str, data: &[u8]) {
    let body = bodies::body(target).expect("a target of the table");
    body(data);
}
