//! What a probe says of its DNS measurements as a whole: the statistics line (`dns-measurement` 8.3).

use std::ops::AddAssign;

use crate::{clock::UnixTime, measurement::Version};

/// How often things happened, since some beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Queries sent (`sok`).
    pub sent: u64,
    /// Datagrams of at least 12 bytes received (`rok`).
    pub received: u64,
    /// Bytes of the queries, with the length before those on streams (`sent`).
    pub sent_bytes: u64,
    /// Bytes of the datagrams accepted as replies (`recv`).
    pub received_bytes: u64,
    /// Datagrams that could not be sent (`serr`).
    pub send_errors: u64,
    /// Errors while receiving (`rerr`).
    pub receive_errors: u64,
    /// Attempts that timed out (`timeout`).
    pub timeouts: u64,
    /// Datagrams too short to be replies (`short`).
    pub short: u64,
    /// Datagrams that answer another query (`martian`).
    pub martians: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.received += other.received;
        self.sent_bytes += other.sent_bytes;
        self.received_bytes += other.received_bytes;
        self.send_errors += other.send_errors;
        self.receive_errors += other.receive_errors;
        self.timeouts += other.timeouts;
        self.short += other.short;
        self.martians += other.martians;
    }
}

impl Counts {
    /// The statistics line, for `queries` DNS commands on the schedule. Written every 180 s to the file of one of
    /// them, once a query was sent.
    #[must_use]
    pub fn line(&self, version: &Version, now: UnixTime, queries: usize) -> String {
        format!(
            "RESULT {{ \"id\" : \"9201\" , {version}, \"time\" : {} , \"sok\" : {} , \"rok\" : {} , \"sent\" : {} , \
             \"recv\" : {} , \"serr\" : {} , \"rerr\" : {} , \"timeout\" : {} , \"short\" : {} , \"martian\" : {} , \
             \"q\" : {queries} }}\n",
            now.secs(),
            self.sent,
            self.received,
            self.sent_bytes,
            self.received_bytes,
            self.send_errors,
            self.receive_errors,
            self.timeouts,
            self.short,
            self.martians,
        )
    }
}
