//! A wire that can be cut: a TCP proxy that lies between agent and controller and knows how far an SSH connection has come.
//!
//! As long as the bytes are readable it knows banner and key exchange (RFC 4253 sections 4.2 and 7.3: NEWKEYS ends what
//! can be read). After that it counts turns: a turn ends where the other side begins to speak. An SSH connection's turns
//! always come in the same order, so a turn and a number of bytes in it are a place in authentication, command, answer,
//! the head or the body of a post, or its answer.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// How often a pump looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(100);

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the agent.
    Up,
    /// To the agent.
    Down,
}

/// Where to cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// After so many bytes of this side's banner.
    Banner(Way, usize),
    /// After so many bytes of this side's key exchange.
    Exchange(Way, usize),
    /// After so many bytes of this turn, counted from the first encrypted one, which is 1.
    Turn(usize, usize),
    /// The same, counted from when the order was given.
    TurnFromNow(usize, usize),
}

/// What the wire does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    /// Carries everything.
    #[default]
    Carry,
    /// Cuts the next connection that comes to this place; `reset` tells the agent by RST instead of FIN.
    Cut { place: Place, reset: bool },
    /// Takes connections and says nothing, swallows what comes on those that stand: a half-open connection.
    Swallow,
    /// Carries what the agent says and swallows what it is told.
    SwallowAnswers,
    /// Speaks something that is no SSH.
    Garbage,
    /// Takes connections and closes them at once.
    Refuse,
}

#[derive(Default)]
struct State {
    order: Order,
    /// Counts orders, so that a connection knows which turns came after the latest.
    orders: u64,
    /// Cuts that were made.
    cuts: u64,
}

/// A proxy from a fixed port to another.
pub(crate) struct Proxy {
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    pub(crate) fn start(port: u16, to: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
        listener.set_nonblocking(true).expect("it can be polled");
        let to = SocketAddr::from(([127, 0, 0, 1], to));
        let (state, stop) = (Arc::<Mutex<State>>::default(), Arc::<AtomicBool>::default());
        let (shared, over) = (Arc::clone(&state), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((agent, _)) => take(agent, to, &shared, &over),
                    Err(_) => std::thread::sleep(LOOK / 5),
                }
            }
        });
        Self {
            state,
            stop,
            thread: Some(thread),
        }
    }

    pub(crate) fn order(&self, order: Order) {
        let mut state = lock(&self.state);
        state.order = order;
        state.orders += 1;
    }

    /// How many connections were cut at the place that was asked for, since this was last asked.
    pub(crate) fn take_cuts(&self) -> u64 {
        std::mem::take(&mut lock(&self.state).cuts)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("no pump panics with the state")
}

/// Takes one connection of the agent.
fn take(mut agent: TcpStream, to: SocketAddr, state: &Arc<Mutex<State>>, over: &Arc<AtomicBool>) {
    agent.set_nonblocking(false).expect("a socket blocks");
    let order = lock(state).order;
    match order {
        Order::Refuse => return,
        Order::Garbage => {
            // It may have gone.
            let _ = agent.write_all(
                b"HTTP/1.1 302 Found\r\nLocation: http://login.example/\r\n\r\n\0\xff\xfe",
            );
            return;
        }
        _ => {}
    }
    let Ok(controller) = TcpStream::connect(to) else {
        return;
    };
    let flow = Arc::new(Mutex::new(Flow::default()));
    for way in [Way::Up, Way::Down] {
        let pair = match way {
            Way::Up => agent
                .try_clone()
                .and_then(|from| Ok((from, controller.try_clone()?))),
            Way::Down => controller
                .try_clone()
                .and_then(|from| Ok((from, agent.try_clone()?))),
        };
        let Ok((from, into)) = pair else { return };
        let pump = Pump {
            way,
            from,
            into,
            flow: Arc::clone(&flow),
            state: Arc::clone(state),
            over: Arc::clone(over),
        };
        std::thread::spawn(move || pump.run());
    }
}

/// How far a connection has come.
#[derive(Default)]
struct Flow {
    sides: [Side; 2],
    /// Encrypted turns: whose, and how many bytes.
    turns: Vec<(Way, usize)>,
    /// The order known to the flow, and how many turns came before it.
    order: u64,
    before: usize,
    cut: bool,
}

/// What one side said so far in the clear.
#[derive(Default)]
struct Side {
    banner: usize,
    banner_over: bool,
    exchange: usize,
    packet: Vec<u8>,
    encrypted: bool,
}

impl Flow {
    /// Takes in one byte; whether the cut is right before it.
    fn is_cut_before(&mut self, way: Way, byte: u8, order: Order, orders: u64) -> bool {
        if self.order != orders {
            self.order = orders;
            self.before = self.turns.len();
        }
        let place = match order {
            Order::Cut { place, .. } => Some(place),
            _ => None,
        };
        let side = &mut self.sides[usize::from(way == Way::Down)];
        if !side.banner_over {
            if place == Some(Place::Banner(way, side.banner)) {
                return true;
            }
            side.banner += 1;
            side.banner_over = byte == b'\n';
            return false;
        }
        if !side.encrypted {
            if place == Some(Place::Exchange(way, side.exchange)) {
                return true;
            }
            side.exchange += 1;
            side.read(byte);
            return false;
        }
        if self.turns.last().is_none_or(|(whose, _)| *whose != way) {
            self.turns.push((way, 0));
        }
        let (number, (_, bytes)) = (
            self.turns.len(),
            self.turns.last_mut().expect("one was just pushed"),
        );
        let here = match place {
            Some(Place::Turn(turn, after)) => (number, *bytes) >= (turn, after),
            Some(Place::TurnFromNow(turn, after)) => {
                (number, *bytes) >= (self.before + turn, after)
            }
            _ => false,
        };
        *bytes += 1;
        here
    }
}

impl Side {
    /// Reads packets in the clear up to NEWKEYS: length (4), padding length (1), message number.
    fn read(&mut self, byte: u8) {
        self.packet.push(byte);
        if self.packet.len() < 6 {
            return;
        }
        let length = u32::from_be_bytes([
            self.packet[0],
            self.packet[1],
            self.packet[2],
            self.packet[3],
        ]);
        if self.packet.len() == 4 + length as usize {
            self.encrypted = self.packet[5] == 21;
            self.packet.clear();
        }
    }
}

struct Pump {
    way: Way,
    from: TcpStream,
    into: TcpStream,
    flow: Arc<Mutex<Flow>>,
    state: Arc<Mutex<State>>,
    over: Arc<AtomicBool>,
}

impl Pump {
    fn run(mut self) {
        self.from
            .set_read_timeout(Some(LOOK))
            .expect("a time-out can be set");
        let mut buffer = vec![0; 16 << 10];
        loop {
            if self.over.load(Ordering::Relaxed) || self.flow().cut {
                break;
            }
            let bytes = match self.from.read(&mut buffer) {
                Ok(0) => break,
                Ok(len) => &buffer[..len],
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                Err(_) => break,
            };
            let (pass, cut) = self.judge(bytes);
            if self.into.write_all(&bytes[..pass]).is_err() || cut {
                break;
            }
        }
        self.end();
    }

    /// How many of these bytes pass, and whether the connection is cut after them.
    fn judge(&self, bytes: &[u8]) -> (usize, bool) {
        let mut state = lock(&self.state);
        match (state.order, self.way) {
            (Order::Swallow, _) | (Order::SwallowAnswers, Way::Down) => return (0, false),
            _ => {}
        }
        let mut flow = self.flow();
        let (order, orders) = (state.order, state.orders);
        let mut pass = 0;
        for byte in bytes {
            if flow.is_cut_before(self.way, *byte, order, orders) {
                flow.cut = true;
                state.cuts += 1;
                state.order = Order::Carry;
                break;
            }
            pass += 1;
        }
        if flow.cut
            && let Order::Cut { reset: true, .. } = order
        {
            // What is not sent yet is thrown away and the other end gets RST.
            for socket in [&self.from, &self.into] {
                let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
            }
        }
        (pass, flow.cut)
    }

    fn flow(&self) -> MutexGuard<'_, Flow> {
        self.flow.lock().expect("no pump panics with the flow")
    }

    fn end(&self) {
        self.flow().cut = true;
        // One that is gone already is as good as closed.
        let _ = self.from.shutdown(Shutdown::Both);
        let _ = self.into.shutdown(Shutdown::Both);
    }
}
