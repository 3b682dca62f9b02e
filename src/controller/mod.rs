//! The other side: a registration server and a controller for a private network of probes, in one process.
//!
//! It serves starling's agent and the official probe's client alike (`controller-protocol` section 11). What it
//! decides is in [`network::Network`] and [`telnet::Dialogue`], which are pure; `ssh`, `http` and `store` touch the
//! world and decide nothing; `core` carries between them and [`serve`] starts it all. The agent's modules are never used here: both sides meet
//! in [`protocol`](crate::protocol) and on the wire.

mod client;
pub mod config;
mod core;
mod dispatch;
mod faults;
mod hostkey;
mod http;
pub mod identity;
mod intake;
pub mod messages;
pub mod network;
pub mod registry;
pub mod request;
pub mod schedule;
mod serve;
mod ssh;
mod store;
pub mod telnet;

pub use config::Config;
pub use hostkey::HostKeyError;
pub use identity::{ProbeId, ProbeKey};
pub use messages::{Event, Fault, PostFault, Request, RequestError};
pub use network::Network;
pub use serve::{ControllerHandle, Running, ServeError, serve};
