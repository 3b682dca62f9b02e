//! The controller's language, to values and back: pure text, no clock, no socket.
//!
//! [`registration`] what registration servers and controllers say to INIT; [`telnet`] the lines and prompts of
//! the command connection; [`command`] one command; [`crontab`] the lines of a table, [`words`] the words of
//! their commands and [`utility`] what those ask for; [`post`] the upload's request, [`response`] its answer and
//! [`date`] the time in that.
//!
//! Facts: `controller-protocol` sections 2 to 6. Every parser here has the renderer that the other side needs
//! beside it, so the agent and the private controller cannot drift apart unnoticed.

mod answer;
pub mod command;
pub mod crontab;
pub mod date;
mod init;
pub mod post;
pub mod registration;
pub mod response;
pub mod telnet;
pub mod utility;
pub mod words;
