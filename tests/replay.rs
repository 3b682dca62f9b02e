//! Recorded runs through the machines: the vectors of the official probe, and our own transcripts.
//!
//! `cargo test --test replay` prints what it did, which a test runner would hide, so it brings its own `main`.
//!
//! - Vectors: `STARLING_VECTORS`, by default `../shared/vectors`. Without them the test says so and passes.
//! - Recordings of our own making: `tests/recordings`, in the form of the vectors.
//! - Transcripts: `tests/transcripts/<kind>/*.transcript`. With `UPDATE=1` those that differ are rewritten for
//!   review; the test fails all the same, so that nothing passes unseen.

#![expect(
    clippy::print_stdout,
    reason = "printing what was replayed is the point"
)]

mod replay {
    pub(super) mod transcripts;
    pub(super) mod vectors;
}

use std::process::ExitCode;

fn main() -> ExitCode {
    // Test runners ask what there is; there are no tests to pick from.
    if std::env::args().any(|word| word == "--list") {
        return ExitCode::SUCCESS;
    }
    let transcripts = replay::transcripts::run();
    let constructed = replay::vectors::run_constructed();
    // Last, since its last line is the total that others read.
    let vectors = replay::vectors::run();
    if vectors && transcripts && constructed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
