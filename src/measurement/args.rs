//! The getopt-style option reader that all measurement types share.
//!
//! GNU rules: options and the target in any order, short options cluster and take attached arguments,
//! long options take `--name VALUE`, `--name=VALUE` and unambiguous abbreviations, `--` ends options, the last
//! of repeated options wins (`packet-measurements` 1.1, `dns-measurement` 1.1, `http-tls-measurements` 1.1).
