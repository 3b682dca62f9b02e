//! Recorded traffic: the container of `replay-vectors` section 2, and the registry of who can replay and record it.
//!
//! [`replay`] feeds a machine from a recording of the official probe, in the order of `replay-vectors` section 5,
//! without touching the network. A [`Recorder`] watches a live run and writes such a recording.
//!
//! Each measurement type has a file here with two things: a function that answers the machine's outputs from
//! the records (a [`Player`] does what all types share) and, where a run can be recorded, a [`Record`]. Both are
//! entered in the two `match`es below.

mod container;
mod dns;
mod http;
mod ntp;
mod ping;
mod tls;
mod traceroute;

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

pub use container::{Reader, RecordingError, Writer};

use super::{Event, socket};
use crate::{
    clock::{Now, Tick, UnixTime},
    measurement::{Carry, Input, Kind, Machine, Outcome, Output, Run, Spec, zones::Zones},
};

/// How far the clock of a replay moves at each asking (`replay-vectors` section 3).
pub const STEP: Duration = Duration::new(1, 1000);

/// The largest recording that is replayed, in octets.
pub const MAX_RECORDING: usize = 64 << 20;

/// The clock that the vectors were made with: environment `ATLAS_TESTS` (`replay-vectors` section 3).
#[must_use]
pub const fn test_clock() -> Now {
    Now::counting(STEP, UnixTime::from_secs(999_999_999), 123)
}

/// The clock of a replay outside of tests: ticks count as recordings do, the wall clock is the real one.
#[must_use]
pub const fn replay_clock(unix: UnixTime, lts: i64) -> Now {
    Now::counting(STEP, unix, lts)
}

/// Why a recording cannot be replayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The recording does not hold what the run needs next.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// Larger than any run makes them.
    #[error("recording of {0} octets: at most {MAX_RECORDING} are replayed")]
    TooLarge(usize),
    /// The run asks for something that a recording of its type never holds.
    #[error("a recording of {kind} cannot answer {wanted}")]
    Unanswerable {
        /// The type.
        kind: Kind,
        /// What the machine wanted.
        wanted: String,
    },
}

/// Runs `spec` on recorded input. `now` is [`test_clock`] or [`replay_clock`].
///
/// # Errors
/// The recording is of another run, or broken. Records left over are not an error.
pub fn replay(spec: &Spec, recording: &[u8], now: Now) -> Result<Outcome, ReplayError> {
    if recording.len() > MAX_RECORDING {
        return Err(ReplayError::TooLarge(recording.len()));
    }
    let run = Run {
        seed: 0,
        probe_id: None,
        replay: true,
    };
    let machine = spec.start(run, Carry::Nothing);
    let mut player = Player::new(spec.kind(), machine, now);
    let mut reader = Reader::new(recording);
    // One arm a type.
    let mut outcome = match spec.kind() {
        Kind::Ping => ping::play(&mut player, &mut reader),
        Kind::Traceroute => traceroute::play(&mut player, &mut reader),
        Kind::Ntp => ntp::play(&mut player, &mut reader),
        Kind::Dns => dns::play(&mut player, &mut reader),
        Kind::Tls => tls::play(&mut player, &mut reader),
        Kind::Http => http::play(&mut player, &mut reader),
    }?;
    outcome.name_zones(&player.zones);
    Ok(outcome)
}

/// A machine in a replay: what all types do alike. A type whose receive times come from the recording sets them
/// in `now`.
pub(super) struct Player {
    kind: Kind,
    machine: Box<dyn Machine>,
    now: Now,
    outputs: VecDeque<Output>,
    /// The interfaces of link-local addresses.
    zones: Zones,
}

impl Player {
    fn new(kind: Kind, machine: Box<dyn Machine>, now: Now) -> Self {
        let mut player = Self {
            kind,
            machine,
            now,
            outputs: VecDeque::new(),
            zones: Zones::default(),
        };
        player.tell(Input::Start);
        player
    }

    /// Tells the machine that something happened.
    pub(super) fn tell(&mut self, input: Input) {
        match &input {
            Input::Opened { local, .. } => self.note_zone(*local),
            Input::Datagram { datagram, .. } => self.note_zone(datagram.from),
            _ => {}
        }
        self.outputs
            .extend(self.machine.handle(&mut self.now, input));
    }

    /// Tells the machine the one address that a recording has for its target; the records are of these kinds. What
    /// comes back is the address that packets leave from.
    fn resolve(
        &mut self,
        reader: &mut Reader<'_>,
        addrinfo: i32,
        address: i32,
        local: i32,
    ) -> Result<SocketAddr, RecordingError> {
        reader.take_addrinfo(addrinfo)?;
        let address = reader.take_address(address)?;
        let local = reader.take_address(local)?;
        self.note_zone(address);
        self.tell(Input::Resolved(Ok(vec![address.ip()])));
        Ok(local)
    }

    /// A recording has the number of an interface, which is printed as the C library does: by its name on this host, by
    /// the number if there is none.
    fn note_zone(&mut self, address: SocketAddr) {
        if let SocketAddr::V6(address) = address
            && address.scope_id() != 0
        {
            let zone = socket::zone(address.scope_id());
            self.zones.note(IpAddr::V6(*address.ip()), &zone);
        }
    }

    /// The machine's next wish that wants an answer, or its `Done`. What is only for watching is dropped.
    pub(super) fn next(&mut self) -> Option<Output> {
        loop {
            match self.outputs.pop_front()? {
                Output::Seen(_) | Output::Close { .. } => {}
                output => return Some(output),
            }
        }
    }

    /// Whether the machine waits for something to happen: time to tell it of a packet, or of its deadline.
    pub(super) fn is_waiting(&self) -> bool {
        self.outputs
            .iter()
            .all(|output| matches!(output, Output::Seen(_) | Output::Close { .. }))
    }

    /// The error for an output that recordings of this type cannot answer, or for none where one must be.
    pub(super) fn unanswerable(&self, output: Option<&Output>) -> ReplayError {
        ReplayError::Unanswerable {
            kind: self.kind,
            wanted: output.map_or_else(|| "nothing".to_owned(), |output| format!("{output:?}")),
        }
    }
}

/// Writes a recording of one type while a run goes on.
pub(super) trait Record {
    /// The machine is about to be told something.
    fn input(&mut self, at: &Now, input: &Input);
    /// The machine wants something.
    fn output(&mut self, at: Tick, output: &Output);
    /// The recording, once the run is over.
    fn finish(self: Box<Self>) -> Vec<u8>;
}

/// Records one run: `-W`.
pub struct Recorder(Box<dyn Record + Send>);

impl Recorder {
    /// A recorder for a run of `spec`.
    #[must_use]
    pub fn new(spec: &Spec) -> Self {
        // One arm a type.
        Self(match spec.kind() {
            Kind::Ping => Box::new(ping::Recording::default()),
            Kind::Traceroute => Box::new(traceroute::Recording::default()),
            Kind::Ntp => Box::new(ntp::Recording::default()),
            Kind::Dns => Box::new(dns::Recording::default()),
            Kind::Tls => Box::new(tls::Recording::default()),
            Kind::Http => Box::new(http::Recording::default()),
        })
    }

    /// Takes one event of the run, as [`Net::run`](super::Net::run) shows them.
    pub fn watch(&mut self, event: &Event<'_>) {
        match event {
            Event::In { at, input, .. } => self.0.input(at, input),
            Event::Out { at, output } => self.0.output(*at, output),
        }
    }

    /// The recording, once the run is over.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.0.finish()
    }
}
