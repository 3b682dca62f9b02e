//! Small machines that open a socket, send and listen, and what they were told.

use std::time::Duration;

use starling::{
    clock::{Clock, Now, Tick},
    measurement::{
        Carry, Outcome,
        machine::{Datagram, Handle, Input, Machine, Output, Packet, Socket, SocketKind},
    },
    net::{Config, Event, Net, Precision},
};

/// Something that a machine was told.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) at: Tick,
    pub(crate) precision: Precision,
    pub(crate) input: Input,
}

/// The network under the address policy.
pub(crate) fn net() -> Net {
    Net::open(Config::new(0x5eed), Clock::start())
}

/// The network with the policy lifted.
pub(crate) fn open_net() -> Net {
    let mut config = Config::new(0x5eed);
    config.allow_any_address = true;
    Net::open(config, Clock::start())
}

/// Keeps the kernel stamping. It begins to some time after it was first asked, and leaves packets before that
/// without a stamp: cases begin once it does.
pub(crate) fn stamping() -> Net {
    let net = open_net();
    let is_stamped = |_: u32| {
        let loopback = std::net::Ipv4Addr::LOCALHOST.into();
        let socket = Socket::new(SocketKind::Echo, loopback);
        let told = exchange(&net, socket, 1, 1, echo_request);
        let (sent, received) = kernel_times(&told);
        !sent.is_empty() && !received.is_empty()
    };
    assert!((0..1_000).any(is_stamped), "no kernel time stamps");
    net
}

/// Runs a future on a runtime like the program's.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(future)
}

/// Runs all futures at once.
pub(crate) async fn all<T: Send + 'static>(
    futures: impl Iterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let tasks: Vec<_> = futures.map(tokio::spawn).collect();
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.expect("the task ends by itself"));
    }
    results
}

/// Opens `socket`, sends `packets` one after the other, each when the one before was answered or given up,
/// until `replies` datagrams came or nothing came for a second, then ends. Returns all that was told.
pub(crate) fn exchange(
    net: &Net,
    socket: Socket,
    packets: u32,
    replies: usize,
    make: impl Fn(u32, &Told) -> Packet + Send + 'static,
) -> Vec<Told> {
    block_on(exchange_async(net, socket, packets, replies, make))
}

pub(crate) async fn exchange_async(
    net: &Net,
    socket: Socket,
    packets: u32,
    replies: usize,
    make: impl Fn(u32, &Told) -> Packet + Send + 'static,
) -> Vec<Told> {
    let machine = Exchange {
        socket,
        packets,
        replies,
        make: Box::new(make),
        opened: None,
        next: 0,
        heard: 0,
        deadline: None,
    };
    watch(net, Box::new(machine)).await
}

/// Opens the same socket under two names.
pub(crate) async fn open_twice(net: &Net, socket: Socket) -> Vec<Told> {
    watch(net, Box::new(OpenTwice { socket, answers: 0 })).await
}

pub(crate) async fn watch(net: &Net, machine: Box<dyn Machine>) -> Vec<Told> {
    let mut told = Vec::new();
    net.run(machine, |event| {
        if let Event::In {
            at,
            precision,
            input,
        } = event
        {
            told.push(Told {
                at: at.peek(),
                precision: *precision,
                input: (*input).clone(),
            });
        }
    })
    .await;
    told
}

/// The datagrams among what was told.
pub(crate) fn answers(told: &[Told]) -> Vec<&Datagram> {
    told.iter()
        .filter_map(|told| match &told.input {
            Input::Datagram { datagram, .. } => Some(datagram),
            _ => None,
        })
        .collect()
}

/// When the kernel says that packets were sent, by tag, and received.
pub(crate) fn kernel_times(told: &[Told]) -> (Vec<Tick>, Vec<Tick>) {
    let kernel = || {
        told.iter()
            .filter(|told| told.precision == Precision::Kernel)
    };
    let sent = kernel().filter(|told| matches!(told.input, Input::Stamped { .. }));
    let received = kernel().filter(|told| matches!(told.input, Input::Datagram { .. }));
    (
        sent.map(|told| told.at).collect(),
        received.map(|told| told.at).collect(),
    )
}

/// An echo request of 32 octets.
pub(crate) fn echo_request(tag: u32, opened: &Told) -> Packet {
    echo_of(tag, opened, 32)
}

/// An echo request with so many octets of zeros.
pub(crate) fn echo_of(tag: u32, opened: &Told, size: usize) -> Packet {
    let Input::Opened { local, ident, .. } = opened.input else {
        panic!("not open: {opened:?}");
    };
    let sequence = u16::try_from(tag + 1).expect("few packets");
    let mut bytes = vec![if local.is_ipv6() { 128 } else { 8 }, 0, 0, 0];
    bytes.extend(ident.to_be_bytes());
    bytes.extend(sequence.to_be_bytes());
    bytes.resize(8 + size, 0);
    if local.is_ipv4() {
        let sum = checksum(&bytes);
        bytes[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    packet(tag, bytes, 0)
}

/// A probe of any kind.
pub(crate) fn probe(kind: SocketKind, tag: u32, opened: &Told) -> Packet {
    let Input::Opened { local, .. } = opened.input else {
        panic!("not open: {opened:?}");
    };
    match kind {
        SocketKind::TcpProbe => {
            // SYN to a closed port; the checksum covers a pseudo header that only the target is missing from,
            // so it is filled in by `exchange`, which knows it.
            let mut bytes = local.port().to_be_bytes().to_vec();
            bytes.extend(33_434_u16.to_be_bytes());
            bytes.extend((tag + 1).to_be_bytes());
            bytes.extend([0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0]);
            packet(tag, bytes, 33_434)
        }
        SocketKind::UdpProbe => packet(tag, vec![0xa5; 32], 33_434),
        _ => echo_of(tag, opened, 32),
    }
}

fn packet(tag: u32, bytes: Vec<u8>, port: u16) -> Packet {
    Packet {
        tag,
        bytes,
        hop_limit: None,
        port,
    }
}

/// The Internet checksum (RFC 1071).
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| {
            u32::from(u16::from_be_bytes([
                pair[0],
                pair.get(1).copied().unwrap_or(0),
            ]))
        })
        .sum();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded")
}

/// Makes the packet of a tag, given how the socket was opened.
type Make = Box<dyn Fn(u32, &Told) -> Packet + Send>;

struct Exchange {
    socket: Socket,
    packets: u32,
    replies: usize,
    make: Make,
    opened: Option<Told>,
    next: u32,
    heard: usize,
    deadline: Option<Tick>,
}

impl Machine for Exchange {
    fn handle(&mut self, now: &mut Now, input: Input) -> Vec<Output> {
        let at = now.peek();
        match input {
            Input::Start => {
                self.deadline = Some(at + Duration::from_secs(5));
                let socket = self.socket.clone();
                vec![Output::Open {
                    on: Handle(0),
                    socket,
                }]
            }
            Input::Opened { .. } => {
                self.opened = Some(Told {
                    at,
                    precision: Precision::Process,
                    input,
                });
                self.send(at)
            }
            Input::Datagram { .. } => {
                self.heard += 1;
                self.go_on(at)
            }
            Input::Deadline | Input::Failed { tag: Some(_), .. } => self.go_on(at),
            Input::Failed { tag: None, .. } | Input::Stop => vec![done()],
            _ => Vec::new(),
        }
    }

    fn deadline(&self) -> Option<Tick> {
        self.deadline
    }
}

impl Exchange {
    fn go_on(&mut self, at: Tick) -> Vec<Output> {
        if self.heard == self.replies || self.next == self.packets {
            return vec![done()];
        }
        self.send(at)
    }

    fn send(&mut self, at: Tick) -> Vec<Output> {
        let Some(opened) = &self.opened else {
            return vec![done()];
        };
        let mut packet = (self.make)(self.next, opened);
        if self.socket.kind == SocketKind::TcpProbe {
            self.sum(opened, &mut packet);
        }
        self.next += 1;
        self.deadline = Some(at + Duration::from_millis(300));
        vec![Output::Send {
            on: Handle(0),
            packet,
        }]
    }

    fn sum(&self, opened: &Told, packet: &mut Packet) {
        let Input::Opened { local, .. } = opened.input else {
            return;
        };
        let mut pseudo = Vec::new();
        for address in [local.ip(), self.socket.to] {
            match address {
                std::net::IpAddr::V4(address) => pseudo.extend(address.octets()),
                std::net::IpAddr::V6(address) => pseudo.extend(address.octets()),
            }
        }
        pseudo.extend([0, 6]);
        pseudo.extend(
            u16::try_from(packet.bytes.len())
                .expect("short")
                .to_be_bytes(),
        );
        pseudo.extend(&packet.bytes);
        let sum = checksum(&pseudo);
        packet.bytes[16..18].copy_from_slice(&sum.to_be_bytes());
    }
}

struct OpenTwice {
    socket: Socket,
    answers: u16,
}

impl Machine for OpenTwice {
    fn handle(&mut self, _: &mut Now, input: Input) -> Vec<Output> {
        let open = |on| Output::Open {
            on: Handle(on),
            socket: self.socket.clone(),
        };
        if input == Input::Start {
            return vec![open(0), open(1)];
        }
        self.answers += 1;
        if self.answers == 2 {
            vec![done()]
        } else {
            Vec::new()
        }
    }

    fn deadline(&self) -> Option<Tick> {
        None
    }
}

/// Sends an echo request, is busy until its deadline has passed, and ends at the deadline.
pub(crate) async fn oversleep(net: &Net, to: std::net::IpAddr) -> Vec<Told> {
    let machine = Oversleep {
        clock: net.clock(),
        to,
        deadline: None,
    };
    watch(net, Box::new(machine)).await
}

struct Oversleep {
    clock: Clock,
    to: std::net::IpAddr,
    deadline: Option<Tick>,
}

impl Machine for Oversleep {
    fn handle(&mut self, now: &mut Now, input: Input) -> Vec<Output> {
        let on = Handle(0);
        match input {
            Input::Start => vec![Output::Open {
                on,
                socket: Socket::new(SocketKind::Echo, self.to),
            }],
            Input::Opened { .. } => {
                let opened = Told {
                    at: now.peek(),
                    precision: Precision::Process,
                    input,
                };
                let packet = echo_request(0, &opened);
                vec![Output::Send { on, packet }]
            }
            Input::Sent { .. } => {
                // Time enough for a reply on loopback; the deadline has passed before anyone looks for it.
                let sent = self.clock.tick();
                while self.clock.tick() < sent + Duration::from_millis(50) {}
                self.deadline = Some(self.clock.tick());
                Vec::new()
            }
            Input::Deadline => vec![done()],
            _ => Vec::new(),
        }
    }

    fn deadline(&self) -> Option<Tick> {
        self.deadline
    }
}

/// The end of a run that measured nothing.
pub(crate) fn done() -> Output {
    Output::Done(Outcome {
        bodies: Vec::new(),
        carry: Carry::Nothing,
        answered: false,
    })
}
