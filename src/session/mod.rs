//! The agent's side of the controller: registers, stays connected, obeys.
//!
//! `Session` decides when to register, when to open a session at the controller and when to keep it, and
//! [`interpreter::Interpreter`] reads the controller's commands; both are pure. [`ssh`] carries out what they
//! say. `controller-protocol` sections 1 to 4.

pub mod event;
pub mod interpreter;
pub mod servers;
pub mod ssh;
pub mod state;

pub use event::{Exchange, Identity, Marker, SessionEvent};
pub use servers::{RegistrationServer, ServerList};
pub use ssh::{Tunnel, TunnelError};
pub use state::State;
