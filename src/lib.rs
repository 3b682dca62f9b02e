//! starling: an independent RIPE Atlas-compatible measurement probe, and the private controller to run a network of
//! them, in one binary.
//!
//! # One shape everywhere
//!
//! Everything that decides is a plain value with one method, `handle(now, input) -> outputs`, and a question,
//! `deadline()`. It owns no socket, file, clock, task or random source. Everything that touches the world is thin,
//! holds no decision, and is named after what it touches: `ssh`, `http`, `socket`, `disk`.
//!
//! | Decides | Takes | Returns | Driven by |
//! |---|---|---|---|
//! | [`measurement::Machine`] (one a type) | Start, Deadline, Resolved, Opened, Sent, Stamped, Datagram, … | Resolve, Open, Send, Connect, Read, …, Done | [`net`] |
//! | `session::Session` | Connected, Answered, Lost, Commanded, Uploaded, Deadline | Register, Connect, Keep, Disconnect, Save | [`session::ssh`] |
//! | [`session::interpreter::Interpreter`] | a command connection's bytes | reply bytes, `Change` | [`session::ssh`] |
//! | [`schedule::Schedule`] | Replace, Add, Finished, Deadline | Launch | [`agent`] |
//! | [`spool::Spool`] | Append, Seal, Uploaded, Recovered, Deadline | Write, Sync, Rename, Remove | [`spool::disk`] |
//! | [`upload::Uploader`] | Session, Duties, Collected, Answered, Deadline | Collect, Post, Uploaded | `agent::storage`, [`upload::http`] |
//! | [`controller::Network`] | Joined, Register, Init, Keep, Posted, Request, … | Answer, Command, Store, Event | `controller::{ssh, http, core, store}` |
//!
//! # From command to upload
//!
//! Seven words carry the program: Command → Job → Machine → Document → RESULT line → Segment → upload.
//!
//! ```text
//!  controller ══ ssh tunnel ══▶ session::ssh
//!                                  │ bytes
//!                                  ▼
//!                               session::Interpreter ── protocol::{telnet, command} ── Change
//!                                                                                        │
//!                               agent: tables → Jobs ◀────────────────────────────────────┘
//!                                  │
//!                                  ▼
//!                               schedule::Schedule ── Launch ──▶ one task a run
//!                                                                    │ Spec::start
//!                                                                    ▼
//!  network ◀── Output ── net ◀─────────────────────────────────▶ Machine ── Done(bodies)
//!          ─── Input ──▶                                             │ + who, when, which
//!                                                                    ▼
//!                               result::Document ── "RESULT {…}\n" ──▶ spool::Spool (periodic, one-off)
//!                                                                    │ open segment → sealed segment
//!                                                                    ▼
//!  controller ◀══ POST over the tunnel ══ upload::http ◀── Post ── upload::Uploader
//! ```
//!
//! # Where everything lives
//!
//! | Module | One line |
//! |---|---|
//! | [`clock`] | what time it is, as data; the one place that reads the system's clocks |
//! | [`calendar`] | days and their dates |
//! | [`dialect`] | which of the two forms of the protocol is spoken |
//! | [`wire`] | packets and records to fields and back |
//! | [`protocol`] | the controller's language: text to values and back |
//! | [`measurement`] | what the probe can measure: options, machine and result of each type |
//! | [`result`] | a finished measurement and its RESULT line, written and read |
//! | [`report`] | what the probe says of itself |
//! | [`schedule`] | when each job runs |
//! | [`net`] | does what a machine asks, tells it what came back; resolves names for all; holds the address policy |
//! | [`session`] | registers, stays connected, obeys |
//! | [`spool`] | no result lost, disk bounded |
//! | [`upload`] | segments leave in order, once acknowledged |
//! | [`config`], [`key`] | the file, checked; the SSH keys on disk |
//! | [`observe`] | what operators see |
//! | [`agent`] | `starling run`: starts the tasks, owns the channels, stops in order |
//! | [`controller`] | `starling controller`: registration server, controller and collector of a private network |
//! | [`cli`] | one subcommand each |
//!
//! Who may import whom is a table in `tests/arrows.rs`, and the test holds it. Agent and controller meet only in
//! [`protocol`], in [`result`] and on the wire.
//!
//! # Three kinds of failure
//!
//! A *result*: the network said no; it belongs in the document, never in an `Err`. An *error*: a peer, a controller or a
//! user gave something that cannot be accepted; narrow enums carry the offending value. A *bug*: a broken invariant of
//! ours; panic, abort, restart, and the spool makes a restart cheap.

pub mod agent;
pub mod calendar;
pub mod cli;
pub mod clock;
pub mod config;
pub mod controller;
pub mod dialect;
pub mod key;
pub mod measurement;
pub mod net;
pub mod observe;
pub mod protocol;
pub mod report;
pub mod result;
pub mod schedule;
pub mod session;
pub mod spool;
pub mod upload;
pub mod wire;
