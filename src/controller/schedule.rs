//! What is handed out: measurements of the configuration as the lines of a request (`controller-protocol` 4.6).

/// Put after the verb of a command that names no output file: without it the official probe would print its
/// results to nowhere.
pub const OUTPUT_OPTION: &str = " -O /home/atlas/data/new/7";
