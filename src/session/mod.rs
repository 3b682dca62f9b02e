//! The agent's side of the controller: registers, stays connected, obeys.
//!
//! [`Session`] decides when to register, when to open a session at the controller and when to keep it, and
//! [`interpreter::Interpreter`] reads the controller's commands; both are pure. [`ssh`] carries out what they
//! say. `controller-protocol` sections 1 to 4.

mod answers;
pub mod backoff;
mod disk;
pub mod event;
pub mod failure;
pub mod interpreter;
mod quota;
pub mod servers;
#[expect(
    clippy::module_inception,
    reason = "the machine that the folder is about"
)]
mod session;
pub mod ssh;
pub mod state;
pub mod supervisor;
mod suspicion;
#[cfg(test)]
mod tests;

pub use event::{ClockOff, Exchange, Identity, Marker, SessionEvent, discreet};
pub use failure::Failure;
pub use servers::{RegistrationServer, ServerList};
pub use session::{Input, Output, Session, Settings};
pub use ssh::{Config, Resolve, Sources, Tunnel, TunnelEnd, TunnelError, run, tunnel};
pub use state::State;
pub use supervisor::{Complaint, Step, Upload};
