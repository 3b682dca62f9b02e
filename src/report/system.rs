//! Reads what the reports tell from the running system.
