//! One run at a time, by script.
