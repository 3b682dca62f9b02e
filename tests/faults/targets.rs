//! The name server that everything is measured against: each answer carries a number that was never given before.
//!
//! So it knows, independently of the agent, which results there can be: a result without a number of ours is
//! invented, and a number that neither arrives nor was under way when its agent died is lost.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// One answer given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Served {
    /// The measurement that asked, by the first label of the name it asked for.
    pub(crate) job: u32,
    /// When.
    pub(crate) at: Instant,
}

/// What was answered; the number of an answer is its place.
pub(crate) type Book = Arc<Mutex<Vec<Served>>>;

/// A name server on loopback.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) book: Book,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Target {
    pub(crate) fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = socket.local_addr().expect("it is bound");
        socket
            .set_read_timeout(Some(Duration::from_millis(200)))
            .expect("a time-out can be set");
        let (book, stop) = (Book::default(), Arc::new(AtomicBool::new(false)));
        let (shared, over) = (Arc::clone(&book), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut packet = [0; 1500];
            while !over.load(Ordering::Relaxed) {
                let Ok((len, from)) = socket.recv_from(&mut packet) else {
                    continue;
                };
                let mut book = shared.lock().expect("nobody panics with the book");
                let number = u32::try_from(book.len()).expect("fewer answers than that");
                if let Some((job, answer)) = answer(&packet[..len], number) {
                    let at = now();
                    book.push(Served { job, at });
                    drop(book);
                    // An agent that died meanwhile does not hear it.
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Self {
            address,
            book,
            stop,
            thread: Some(thread),
        }
    }

    /// A command that asks here as this measurement.
    pub(crate) fn command(&self, job: u32) -> String {
        format!(
            "evtdig -4 --port {} --type 1 --class 1 --query j{job}.faults.test. -A {job} 127.0.0.1",
            self.address.port()
        )
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the bench watches real processes"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Where the first question ends.
fn after_question(packet: &[u8]) -> Option<usize> {
    let mut at = 12;
    while *packet.get(at)? != 0 {
        at += usize::from(packet[at]) + 1;
    }
    (at + 5 <= packet.len()).then_some(at + 5)
}

/// Who asks, and the answer: an address record whose address is the number, and some ballast, so that posts are large.
fn answer(query: &[u8], number: u32) -> Option<(u32, Vec<u8>)> {
    let end = after_question(query)?;
    let label = query.get(13..13 + usize::from(query[12]))?;
    let job = std::str::from_utf8(label)
        .ok()?
        .strip_prefix('j')?
        .parse()
        .ok()?;
    let mut packet = query[..2].to_vec();
    packet.extend([0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 1]);
    packet.extend(&query[12..end]);
    packet.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
    packet.extend(number.to_be_bytes());
    let text = 50 + (number % 150) as u8;
    packet.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60, 0, text + 1, text]);
    packet.extend(std::iter::repeat_n(b'.', usize::from(text)));
    Some((job, packet))
}

/// The number in a RESULT line, and the measurement that the answer was for.
pub(crate) fn number(line: &str) -> Option<(u32, u32)> {
    use base64::Engine as _;
    let (_, rest) = line.split_once("\"abuf\" : \"")?;
    let (text, _) = rest.split_once('"')?;
    let packet = base64::engine::general_purpose::STANDARD
        .decode(text)
        .ok()?;
    let at = after_question(&packet)? + 12;
    let bytes: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
    let label = packet.get(13..13 + usize::from(packet[12]))?;
    let job = std::str::from_utf8(label).ok()?.strip_prefix('j')?;
    Some((u32::from_be_bytes(bytes), job.parse().ok()?))
}
