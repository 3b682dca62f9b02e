//! The other side: a registration server and a controller for a private network of probes, in one process.
//!
//! It serves starling's agent and the official probe's client alike (`controller-protocol` section 11). What it
//! decides is in [`network::Network`] and [`telnet::Dialogue`], which are pure; `ssh`, `http` and `store` touch the
//! world and decide nothing; [`serve`] ties them together. The agent's modules are never used here: both sides meet
//! in [`protocol`](crate::protocol) and on the wire.

pub mod config;
pub mod identity;
pub mod messages;
pub mod network;
pub mod registry;
pub mod schedule;
mod serve;
pub mod telnet;

pub use config::Config;
pub use identity::{ProbeId, ProbeKey};
pub use messages::{Event, Fault, PostFault, Request, RequestError};
pub use network::Network;
pub use serve::{ControllerHandle, Running, ServeError, serve};
