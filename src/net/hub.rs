//! Raw ICMP sockets that many runs share, each seeing only its own packets.
//!
//! Runs whose packets need the same socket options share one socket: it is opened for the first of them and
//! closed after the last. What arrives is given to the run whose identifier or port it carries. A run that
//! does not keep up loses packets, as it would from a socket of its own: its queue is bounded.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicI32, Ordering},
    },
};

use nix::errno::Errno;
use socket2::Type;
use tokio::{io::Interest, task::JoinHandle};

use super::{
    Arrived,
    demux::{self, BLOCK, Found, Mark},
    inbox::Slot,
    outstanding::Outstanding,
    socket::{self, Header, ICMP, ICMPV6, Queued, Stamps, Watched},
    timing::Timing,
};
use crate::{
    clock::Tick,
    measurement::machine::{Call, Datagram, Failure, Fragment, Handle, Input},
};

/// Packets handled before other tasks get their turn.
const BATCH: usize = 64;

/// Batches taken in at a deadline: more is a flood, which must not keep a run from its deadline.
const BATCHES: usize = 16;

/// Bytes that the kernel may hold of packets to and from all runs.
const BUFFER: usize = 4 << 20;

/// What a raw ICMP socket is set to. Runs with equal settings share one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) v6: bool,
    /// Whether errors about all probes are let in, or only those about echo requests.
    pub(super) all_errors: bool,
    pub(super) bind: Option<String>,
    pub(super) tos: u8,
    pub(super) fragment: Fragment,
    pub(super) hop_by_hop: Vec<u8>,
    pub(super) destination_options: Vec<u8>,
}

/// All shared sockets.
#[derive(Debug)]
pub(super) struct Pool {
    timing: Arc<Timing>,
    /// A handful at most.
    hubs: Mutex<Vec<(Key, Weak<Hub>)>>,
    marks: Arc<Mutex<Marks>>,
}

impl Pool {
    pub(super) fn new(timing: Arc<Timing>, seed: u64) -> Self {
        Self {
            timing,
            hubs: Mutex::default(),
            marks: Arc::new(Mutex::new(Marks::new(seed))),
        }
    }

    /// The socket for `key`, opened if nobody has it open. Within a runtime only.
    pub(super) fn hub(&self, key: &Key) -> Result<Arc<Hub>, Failure> {
        let mut hubs = lock(&self.hubs);
        let known = hubs.iter().find(|(known, _)| known == key);
        if let Some(hub) = known.and_then(|(_, hub)| hub.upgrade()) {
            return Ok(hub);
        }
        hubs.retain(|(_, hub)| hub.strong_count() > 0);
        let taken: Vec<u16> = hubs
            .iter()
            .filter(|(other, _)| other.v6 == key.v6)
            .filter_map(|(_, hub)| hub.upgrade())
            .map(|hub| hub.shared.block)
            .collect();
        // Identifiers stay unique beyond sixteen sockets, only the kernel tells them apart less well.
        let block = (0..16)
            .map(|number| number << 12)
            .find(|block| !taken.contains(block))
            .unwrap_or(BLOCK);
        let hub = Arc::new(Hub::open(
            key,
            block,
            Arc::clone(&self.timing),
            Arc::clone(&self.marks),
        )?);
        hubs.push((key.clone(), Arc::downgrade(&hub)));
        Ok(hub)
    }
}

/// One shared socket.
#[derive(Debug)]
pub(super) struct Hub {
    shared: Arc<Shared>,
    marks: Arc<Mutex<Marks>>,
    pump: JoinHandle<()>,
}

impl Hub {
    fn open(
        key: &Key,
        block: u16,
        timing: Arc<Timing>,
        marks: Arc<Mutex<Marks>>,
    ) -> Result<Self, Failure> {
        let v6 = key.v6;
        let (any, protocol) = if v6 {
            (IpAddr::from([0_u16; 8]), ICMPV6)
        } else {
            (IpAddr::from([0_u8; 4]), ICMP)
        };
        let raw = socket::open(any, Type::RAW, protocol)?;
        socket::filter(&raw, &demux::icmp_filter(v6, block, key.all_errors));
        socket::bind(&raw, v6, key.bind.as_deref())?;
        socket::tos(&raw, v6, key.tos)?;
        socket::fragment(&raw, v6, key.fragment)?;
        socket::extension_headers(&raw, &key.hop_by_hop, &key.destination_options);
        socket::ask(&raw, v6, Stamps::Both);
        socket::buffers(&raw, BUFFER);
        let opened = timing.tick();
        let shared = Arc::new(Shared {
            v6,
            block,
            socket: socket::watch(raw, Interest::READABLE)?,
            state: Mutex::new(State {
                runs: BTreeMap::new(),
                sent: Outstanding::new(),
                empty_at: opened,
                buffer: vec![0; socket::LARGEST],
                arrived: Vec::new(),
            }),
            timing,
        });
        let pump = tokio::spawn(pump(Arc::clone(&shared)));
        tracing::debug!(?key, "shared raw socket opened");
        Ok(Self {
            shared,
            marks,
            pump,
        })
    }

    /// Joins a run that is known by an ICMP identifier of its own, which is allocated.
    pub(super) fn join_with_ident(
        self: &Arc<Self>,
        member: Member,
    ) -> Result<Registration, Failure> {
        let ident = lock(&self.marks)
            .allocate(self.shared.v6, self.shared.block)
            .ok_or(Failure::Os {
                call: Call::Socket,
                errno: nix::libc::EADDRINUSE,
            })?;
        Ok(self.enter(Mark::Ident(ident), member))
    }

    /// Joins a run that is known by a local port of its own; gives `member` back if another run has that port,
    /// which two runs with different local addresses may.
    pub(super) fn join_with_port(
        self: &Arc<Self>,
        mark: Mark,
        member: Member,
    ) -> Result<Registration, Member> {
        if lock(&self.marks).claim(self.shared.v6, mark) {
            Ok(self.enter(mark, member))
        } else {
            Err(member)
        }
    }

    fn enter(self: &Arc<Self>, mark: Mark, member: Member) -> Registration {
        let error = Arc::clone(&member.error);
        lock(&self.shared.state).runs.insert(mark, member);
        Registration {
            hub: Arc::clone(self),
            mark,
            error,
            is_prompt: true,
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.pump.abort();
        tracing::debug!(v6 = self.shared.v6, "shared raw socket closed");
    }
}

/// A run as a shared socket knows it.
#[derive(Debug)]
pub(super) struct Member {
    /// The run's own name for the socket.
    pub(super) on: Handle,
    /// Which opening of that name.
    pub(super) serial: u64,
    /// Where its packets go. What does not fit is lost.
    pub(super) inbox: Slot,
    /// The only source it hears, and no errors.
    pub(super) only_from: Option<IpAddr>,
    /// What the kernel would hold against the next send on a connected socket; 0 for nothing.
    pub(super) error: Arc<AtomicI32>,
    /// When it came.
    pub(super) since: Tick,
}

/// A run's place at a shared socket, given back when dropped.
#[derive(Debug)]
pub(super) struct Registration {
    hub: Arc<Hub>,
    mark: Mark,
    error: Arc<AtomicI32>,
    /// Whether a reply has been there when its request had left, each time until now.
    is_prompt: bool,
}

impl Registration {
    /// The identifier, 0 if the run is known by a port.
    pub(super) const fn ident(&self) -> u16 {
        match self.mark {
            Mark::Ident(ident) => ident,
            Mark::Udp(_) | Mark::Tcp(_) => 0,
        }
    }

    /// Sends one ICMP message.
    pub(super) fn send(
        &mut self,
        tag: u32,
        bytes: &[u8],
        to: IpAddr,
        hop_limit: Option<u8>,
    ) -> Result<(), Errno> {
        let pending = self.error.swap(0, Ordering::Relaxed);
        if pending != 0 {
            return Err(Errno::from_raw(pending));
        }
        let shared = &self.hub.shared;
        // Held while sending: the kernel numbers packets in the order in which they are sent.
        let mut state = lock(&shared.state);
        let before = shared.timing.tick();
        if shared.timing.is_stamped_by_cards() && state.sent.ask_card() {
            socket::ask_card(&shared.socket);
        }
        let to = SocketAddr::new(to, 0);
        socket::send(&shared.socket, shared.v6, bytes, Some(to), hop_limit)?;
        state.sent.push(before, (self.mark, tag));
        // Most drivers stamp within the call. What they stamp later is read when a packet comes, or at a deadline.
        shared.stamp(&mut state);
        // A target on this host or the next answers within the call, and its reply would wake us up at once.
        if self.is_prompt {
            self.is_prompt = shared.receive_one(&mut state).is_ok();
            shared.give_out(&mut state);
        }
        Ok(())
    }

    /// Takes in what has arrived and not been noticed yet. `seen`: the runtime has asked for news since whatever is
    /// wanted arrived.
    pub(super) fn sweep(&self, seen: bool) {
        let shared = &self.hub.shared;
        if seen && !socket::is_ready(&shared.socket) {
            return shared.stamps(&mut lock(&shared.state));
        }
        for _ in 0..BATCHES {
            if shared.drain() {
                return;
            }
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let shared = &self.hub.shared;
        lock(&shared.state).runs.remove(&self.mark);
        lock(&self.hub.marks).release(shared.v6, self.mark);
    }
}

#[derive(Debug)]
struct Shared {
    v6: bool,
    block: u16,
    socket: Watched,
    state: Mutex<State>,
    timing: Arc<Timing>,
}

#[derive(Debug)]
struct State {
    runs: BTreeMap<Mark, Member>,
    sent: Outstanding<(Mark, u32)>,
    /// When nothing was left to receive: later packets arrived after that.
    empty_at: Tick,
    buffer: Vec<u8>,
    /// Packets received and not yet given out, kept for its allocation.
    arrived: Vec<(Mark, Arrived)>,
}

async fn pump(shared: Arc<Shared>) {
    loop {
        let Ok(mut ready) = shared.socket.readable().await else {
            return;
        };
        if shared.drain() {
            ready.clear_ready();
        } else {
            drop(ready);
            tokio::task::yield_now().await;
        }
    }
}

impl Shared {
    /// Takes in and gives out what has arrived. Returns whether that was all.
    fn drain(&self) -> bool {
        let mut state = lock(&self.state);
        let state = &mut *state;
        let emptied = self.receive(state);
        self.give_out(state);
        emptied
    }

    fn receive(&self, state: &mut State) -> bool {
        for _ in 0..BATCH {
            match self.receive_one(state) {
                Ok(()) => {}
                Err(Errno::EAGAIN) => return true,
                // An error that the kernel remembered; it concerns no packet.
                Err(errno) => tracing::debug!(%errno, "shared raw socket"),
            }
        }
        false
    }

    /// Receives one packet, to be given out.
    fn receive_one(&self, state: &mut State) -> Result<(), Errno> {
        let asked = self.timing.tick();
        match socket::receive(&self.socket, &mut state.buffer) {
            Ok(header) => {
                self.sort(state, &header);
                Ok(())
            }
            Err(errno) => {
                if errno == Errno::EAGAIN {
                    state.empty_at = asked;
                }
                Err(errno)
            }
        }
    }

    /// Gives out the packets that were received.
    ///
    /// Transmit times are read after the packets and given out before them: a reply cannot arrive before its request
    /// was stamped, so its run hears of the two in order.
    fn give_out(&self, state: &mut State) {
        self.stamps(state);
        let State { runs, arrived, .. } = state;
        for (mark, arrived) in arrived.drain(..) {
            if let Some(member) = runs.get(&mark) {
                member.give(arrived);
            }
        }
    }

    fn sort(&self, state: &mut State, header: &Header) {
        let packet = &state.buffer[..header.length];
        let found = if self.v6 {
            demux::icmp6(packet)
        } else {
            demux::icmp4(packet)
        };
        let (Some(found), Some(from)) = (found, header.from) else {
            return;
        };
        let mark = match found {
            Found::EchoReply(ident) => Mark::Ident(ident),
            Found::Error { mark, .. } => mark,
        };
        let Some(member) = state.runs.get(&mark) else {
            return;
        };
        // The kernel checks the sums of ICMPv6; raw IPv4 sockets get what came (`man 7 raw`).
        if !self.v6 && !demux::is_whole_icmp4(packet) {
            return;
        }
        match (found, member.only_from) {
            (Found::EchoReply(_), Some(only)) if from.ip() != only => return,
            (Found::Error { kind, code, .. }, Some(_)) => {
                if let Some(errno) = demux::hard_error(self.v6, kind, code) {
                    member.error.store(errno, Ordering::Relaxed);
                }
                return;
            }
            _ => {}
        }
        // What is for a run came after the run.
        let earliest = state.empty_at.max(member.since);
        let (now, precision) = self.timing.stamped(header.stamp, earliest);
        self.timing.note_card(header.card);
        let input = Input::Datagram {
            on: member.on,
            datagram: Datagram {
                from: socket::with_port(from, 0),
                to: header.to,
                hop_limit: header.hop_limit,
                tos: header.tos,
                bytes: packet.to_vec(),
                protocol: if self.v6 { ICMPV6 } else { ICMP },
            },
        };
        let arrived = Arrived {
            now,
            precision,
            input,
            of: Some((member.on, member.serial)),
            card: header.card,
        };
        state.arrived.push((mark, arrived));
    }

    /// Reads transmit times as long as any is missing and there are any.
    fn stamps(&self, state: &mut State) {
        while !state.sent.is_empty() && self.stamp(state) {}
    }

    /// Reads one transmit time; whether there was anything.
    fn stamp(&self, state: &mut State) -> bool {
        match socket::receive_error(&self.socket, &mut state.buffer) {
            Ok(Queued::Stamp { id, at }) => {
                if let Some((before, (mark, tag))) = state.sent.take(id)
                    && let Some(member) = state.runs.get(&mark)
                    && let Some(arrived) =
                        Arrived::stamped(&self.timing, at, before, (member.on, member.serial), tag)
                {
                    member.give(arrived);
                }
                true
            }
            Ok(Queued::CardStamp { id, at }) => {
                if let Some((mark, tag)) = state.sent.take_card(id)
                    && let Some(member) = state.runs.get(&mark)
                {
                    let of = (member.on, member.serial);
                    member.give(Arrived::card_stamped(&self.timing, at, of, tag));
                }
                true
            }
            Ok(_) => true,
            Err(_) => {
                state.sent.drained();
                false
            }
        }
    }
}

impl Member {
    fn give(&self, arrived: Arrived) {
        if !self.inbox.give(arrived) {
            tracing::trace!("packet lost: its run does not keep up");
        }
    }
}

/// Identifiers and ports, each one run's alone while it is open.
#[derive(Debug)]
struct Marks {
    used: BTreeSet<(bool, Mark)>,
    /// Counts up, so that an identifier given back is not given out again soon.
    next: u16,
}

impl Marks {
    fn new(seed: u64) -> Self {
        let [low, high, ..] = seed.to_le_bytes();
        Self {
            used: BTreeSet::new(),
            next: u16::from_le_bytes([low, high]),
        }
    }

    fn allocate(&mut self, v6: bool, block: u16) -> Option<u16> {
        for _ in 0..=!BLOCK {
            self.next = self.next.wrapping_add(1);
            let ident = block | (self.next & !BLOCK);
            if ident != 0 && self.claim(v6, Mark::Ident(ident)) {
                return Some(ident);
            }
        }
        None
    }

    fn claim(&mut self, v6: bool, mark: Mark) -> bool {
        self.used.insert((v6, mark))
    }

    fn release(&mut self, v6: bool, mark: Mark) {
        self.used.remove(&(v6, mark));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_unique_non_zero_and_not_reused_at_once() {
        let mut marks = Marks::new(0xfffe);
        let all: Vec<u16> = std::iter::from_fn(|| marks.allocate(false, 0)).collect();
        assert_eq!(all.len(), 4_095);
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 4_095);
        assert!(all.iter().all(|ident| (1..0x1000).contains(ident)));
        marks.release(false, Mark::Ident(all[0]));
        marks.release(false, Mark::Ident(all[9]));
        assert_eq!(marks.allocate(false, 0), Some(all[0]));
        marks.release(false, Mark::Ident(all[0]));
        assert_eq!(marks.allocate(false, 0), Some(all[9]));
    }

    #[test]
    fn identifiers_keep_to_their_block_and_family() {
        let mut marks = Marks::new(77);
        for block in [0x0000, 0x1000, 0xf000] {
            let ident = marks.allocate(true, block).unwrap();
            assert_eq!(ident & BLOCK, block);
        }
        let four: BTreeSet<_> = (0..4096)
            .filter_map(|_| marks.allocate(false, 0xf000))
            .collect();
        assert_eq!(four.len(), 4_096);
    }
}
