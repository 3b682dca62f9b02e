//! The runner of the test binaries that bring their own `main`.

use std::process::ExitCode;

/// A test and its name.
pub(crate) type Case = (&'static str, fn());

/// Functions as cases, each named after itself.
macro_rules! cases {
    ($($case:ident),* $(,)?) => { &[$((stringify!($case), $case as fn())),*] };
}
pub(crate) use cases;

/// The part of a name that the command line asks for.
pub(crate) fn asked() -> Option<String> {
    std::env::args().skip(1).find(|word| !word.starts_with('-'))
}

/// Runs those that are asked for, one after another; one that fails does not stop the others.
pub(crate) fn run<'a>(cases: impl IntoIterator<Item = &'a Case>) -> ExitCode {
    let asked = asked();
    let mut failed = false;
    for (name, case) in cases {
        if asked.as_deref().is_some_and(|part| !name.contains(part)) {
            continue;
        }
        let passed = std::panic::catch_unwind(case).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed |= !passed;
    }
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
