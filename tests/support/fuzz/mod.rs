//! What must hold for any bytes at all: one function a fuzz target.
//!
//! The targets below `fuzz/` call these functions with bytes that libFuzzer invents; `tests/corpus.rs` calls them with
//! those that are worth keeping, `fuzz/corpus/<target>/`. A function that returns is content; a broken promise panics.

mod agent;
pub(crate) mod bytes;
mod controller;
pub(crate) mod machine;
mod peer;
pub(crate) mod protocol;
mod server;
pub(crate) mod storage;
pub(crate) mod stream;
pub(crate) mod text;
mod told;
pub(crate) mod wire;

/// Takes any bytes; panics if a promise is broken.
pub(crate) type Body = fn(&[u8]);

/// Every target by the name of its corpus.
pub(crate) const TARGETS: &[(&str, Body)] = &[
    ("ip", wire::ip),
    ("icmp", wire::icmp),
    ("udp", wire::udp),
    ("tcp", wire::tcp),
    ("ntp", wire::ntp),
    ("dns", wire::dns),
    ("x509", wire::x509),
    ("resolver", wire::resolver),
    ("http2", wire::http2),
    ("http", stream::http),
    ("tls", stream::tls),
    ("telnet", protocol::telnet),
    ("interpreter", protocol::interpreter),
    ("dialogue", protocol::dialogue),
    ("command", protocol::command),
    ("crontab", protocol::crontab),
    ("registration", protocol::registration),
    ("post", protocol::post),
    ("response", protocol::response),
    ("date", protocol::date),
    ("result", text::result),
    ("config", text::config),
    ("system", text::system),
    ("transcript", text::transcript),
    ("recording", text::recording),
    ("segment", storage::segment),
    ("spool", storage::spool),
    ("machine", machine::machine),
    ("session", agent::session),
    ("schedule", agent::schedule),
    ("uploader", agent::uploader),
    ("request", controller::request),
    ("network", controller::network),
];

/// The function of a target.
pub(crate) fn body(name: &str) -> Option<Body> {
    TARGETS
        .iter()
        .find(|(target, _)| *target == name)
        .map(|(_, body)| *body)
}
