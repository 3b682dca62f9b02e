//! Watches over a KEEP that stands: whether it does what it is for. Pure.
//!
//! A connection can look alive and be of no use: the reverse forward goes to another connection, the controller has
//! forgotten the session, uploads run into nothing. So commands must come and results must be accepted; where they
//! are not, [`Session`](super::Session) goes one step further each time: it connects anew, opens a new session, asks
//! the registration servers. Each round of these steps waits longer than the one before, for a controller may have
//! nothing to say, and registering often is punished.
//!
//! The times are ours: the official probe has no such watch. They lie well beyond what is normal: commands come
//! within a second of KEEP and are renewed before eight hours are over (`controller-protocol` section 4.6), posts are
//! made each minute and may take five (section 6.5).

use std::{fmt, time::Duration};

use crate::clock::Tick;

/// For the first command of a KEEP.
const FIRST_COMMAND: Duration = Duration::from_secs(600);
/// The same where the reverse forward was refused, so that none can come.
const NOT_FORWARDED: Duration = Duration::from_secs(180);
/// For the next command after one; what lapses by then is renewed with each connection.
const NEXT_COMMAND: Duration = Duration::from_secs(8 * 3600);
/// For an upload to be accepted, once some are not.
const UPLOADS: Duration = Duration::from_secs(600);
/// The same where the controller says that it does not know the session.
const UNKNOWN: Duration = Duration::from_secs(120);
/// Uploads in a row that must fail before they count: one may be chance.
const FAILURES: u32 = 2;
/// No patience grows beyond this.
const LONGEST: Duration = Duration::from_secs(6 * 3600);
/// Steps in a round.
const ROUND: u32 = 3;

/// What became of an upload, as far as the session is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upload {
    /// The controller has the results.
    Accepted,
    /// It has not: why, in words.
    NotAccepted(String),
    /// It does not know this session: why, in words.
    Unknown(String),
    /// It asks us to leave it alone for so long.
    Held(Duration),
}

/// Why a KEEP that stands is of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Complaint {
    /// No command came since it stands.
    NoCommand {
        /// For how long.
        time: Duration,
    },
    /// No command can come: the controller did not forward its port.
    NotForwarded {
        /// Which.
        port: u16,
    },
    /// Nothing is wrong, but what the controller ordered lapses unless it is renewed.
    Quiet {
        /// Since when no command came.
        time: Duration,
    },
    /// No upload was accepted.
    NotAccepted {
        /// For how long.
        time: Duration,
        /// What became of the last one.
        why: String,
    },
    /// The controller does not know this session any more.
    Unknown {
        /// What it said.
        why: String,
    },
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCommand { time } => write!(
                f,
                "connected, but no command came from the controller for {} min",
                time.as_secs() / 60
            ),
            Self::NotForwarded { port } => write!(
                f,
                "connected, but the controller does not forward its port {port}, so no command can come"
            ),
            Self::Quiet { time } => {
                write!(f, "no command came for {} h", time.as_secs() / 3600)
            }
            Self::NotAccepted { time, why } => write!(
                f,
                "connected, but the controller accepted no upload for {} min, the last one because: {why}",
                time.as_secs() / 60
            ),
            Self::Unknown { why } => write!(
                f,
                "the controller does not know this session any more: {why}"
            ),
        }
    }
}

/// What is done about a complaint, mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The same session on a new connection.
    Reconnect,
    /// A new session at the same controller.
    Reopen,
    /// Ask the registration servers for a controller.
    Register,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reconnect => "connecting anew",
            Self::Reopen => "asking for a new session",
            Self::Register => "asking the registration servers for a controller",
        })
    }
}

impl Complaint {
    /// What it means for an operator.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::NoCommand { .. } | Self::NotForwarded { .. } => {
                "an older connection of this probe may still hold its place at the controller; measurements and uploads go \
                 on, and there is nothing to do here unless this lasts for hours: then tell whoever runs the controller"
            }
            Self::Quiet { .. } => {
                "nothing is wrong: what the controller ordered is renewed with each connection"
            }
            Self::NotAccepted { .. } => {
                "results are kept until the controller takes them; if this lasts, tell whoever runs the controller"
            }
            Self::Unknown { .. } => "nothing to do here: results are kept for the new session",
        }
    }

    /// What is done when this is the `strike`th complaint in a row, counted from 1.
    pub(super) const fn step(&self, strike: u32) -> Step {
        let in_round = strike.saturating_sub(1) % ROUND;
        match (self, in_round) {
            (Self::Quiet { .. }, _) => Step::Reconnect,
            // A new connection would not make it known.
            (Self::Unknown { .. }, 0) | (_, 1) => Step::Reopen,
            (_, 0) => Step::Reconnect,
            _ => Step::Register,
        }
    }

    /// Whether something is wrong.
    #[must_use]
    pub const fn is_trouble(&self) -> bool {
        !matches!(self, Self::Quiet { .. })
    }
}

/// Uploads that were not accepted since one was.
#[derive(Debug)]
struct Failing {
    count: u32,
    first: Tick,
    /// Whether the last one failed because the session is not known, and the words of that.
    is_unknown: bool,
    why: String,
}

/// What one KEEP did so far.
#[derive(Debug)]
pub(super) struct Supervisor {
    /// Since when it stands.
    since: Tick,
    port: u16,
    is_forwarded: bool,
    commanded: Option<Tick>,
    has_accepted: bool,
    failing: Option<Failing>,
    /// From when on an upload that is not accepted counts.
    counts_from: Tick,
    /// What every patience is multiplied by: many probes of one controller do not all complain at once.
    jitter: f64,
}

impl Supervisor {
    /// KEEP is asked for at `now`. `jitter` is near 1.
    pub(super) const fn new(now: Tick, port: u16, jitter: f64) -> Self {
        Self {
            since: now,
            port,
            is_forwarded: true,
            commanded: None,
            has_accepted: false,
            failing: None,
            counts_from: now,
            jitter,
        }
    }

    /// KEEP stands only now: what was heard before counts all the same.
    pub(super) const fn connected(&mut self, now: Tick) {
        (self.since, self.counts_from) = (now, now);
    }

    pub(super) const fn not_forwarded(&mut self) {
        self.is_forwarded = false;
    }

    pub(super) const fn commanded(&mut self, now: Tick) {
        self.commanded = Some(now);
    }

    pub(super) fn uploaded(&mut self, now: Tick, upload: Upload) {
        match upload {
            Upload::Accepted => {
                self.has_accepted = true;
                (self.failing, self.counts_from) = (None, now);
            }
            // What was not accepted before says nothing any more.
            Upload::Held(time) => (self.failing, self.counts_from) = (None, now + time),
            Upload::NotAccepted(why) => self.failed(now, false, why),
            Upload::Unknown(why) => self.failed(now, true, why),
        }
    }

    fn failed(&mut self, now: Tick, is_unknown: bool, why: String) {
        if now < self.counts_from {
            return;
        }
        let (count, first) = self
            .failing
            .as_ref()
            .map_or((0, now), |failing| (failing.count, failing.first));
        self.failing = Some(Failing {
            count: count.saturating_add(1),
            first,
            is_unknown,
            why,
        });
    }

    /// Whether it did all that it is for.
    pub(super) const fn is_proven(&self) -> bool {
        self.commanded.is_some() && self.has_accepted
    }

    /// What is wrong at `now`, after so many complaints in a row before.
    pub(super) fn complaint(&self, now: Tick, strikes: u32) -> Option<Complaint> {
        if let Some((failing, end)) = self.uploads_end(strikes)
            && end <= now
        {
            let why = failing.why.clone();
            return Some(if failing.is_unknown {
                Complaint::Unknown { why }
            } else {
                let time = now.since(self.counts_from);
                Complaint::NotAccepted { time, why }
            });
        }
        if now < self.commands_end(strikes) {
            return None;
        }
        Some(match self.commanded {
            Some(last) => Complaint::Quiet {
                time: now.since(last),
            },
            None if !self.is_forwarded => Complaint::NotForwarded { port: self.port },
            None => Complaint::NoCommand {
                time: now.since(self.since),
            },
        })
    }

    /// When there is something to complain about if nothing happens first.
    pub(super) fn deadline(&self, strikes: u32) -> Tick {
        let commands = self.commands_end(strikes);
        self.uploads_end(strikes)
            .map_or(commands, |(_, uploads)| uploads.min(commands))
    }

    fn commands_end(&self, strikes: u32) -> Tick {
        match self.commanded {
            Some(last) => last + NEXT_COMMAND.mul_f64(self.jitter),
            None if !self.is_forwarded => self.since + self.patience(NOT_FORWARDED, strikes),
            None => self.since + self.patience(FIRST_COMMAND, strikes),
        }
    }

    fn uploads_end(&self, strikes: u32) -> Option<(&Failing, Tick)> {
        let failing = self.failing.as_ref().filter(|all| all.count >= FAILURES)?;
        let end = if failing.is_unknown {
            failing.first + self.patience(UNKNOWN, strikes)
        } else {
            self.counts_from + self.patience(UPLOADS, strikes)
        };
        Some((failing, end))
    }

    /// Doubles with each round of complaints.
    fn patience(&self, first: Duration, strikes: u32) -> Duration {
        let doubled = first.saturating_mul(2_u32.saturating_pow(strikes / ROUND));
        doubled.min(LONGEST).mul_f64(self.jitter)
    }
}
