//! The texts of `/proc`, read as values.
