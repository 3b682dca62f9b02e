use super::*;
use crate::{
    clock::UnixTime,
    dialect::Dialect,
    measurement::{Carry, Rules, Run, Spec, Version},
    net::{
        Event, Precision,
        recording::{Recorder, replay, test_clock},
    },
};

const MS: u64 = 1_000_000;

/// A live run on a network of our making, and its recording.
struct Live {
    spec: Spec,
    machine: Box<dyn crate::measurement::Machine>,
    recorder: Recorder,
    sent: Vec<Vec<u8>>,
    outcome: Option<Outcome>,
}

impl Live {
    fn new(command: &str) -> Self {
        let rules = Rules {
            dialect: Dialect::Reference,
            spool: "/spool".into(),
            unsafe_paths: false,
        };
        let words: Vec<&str> = command.split(' ').collect();
        let spec = Spec::parse(&words, &rules).unwrap();
        let run = Run {
            seed: 3,
            ..Run::default()
        };
        let mut live = Self {
            machine: spec.start(run, Carry::Nothing),
            recorder: Recorder::new(&spec),
            spec,
            sent: Vec::new(),
            outcome: None,
        };
        let (target, local) = if command.contains("-6") {
            ("2001:db8:7::7", "[2001:db8::10]:0")
        } else {
            ("198.51.100.7", "192.0.2.10:0")
        };
        live.tell(5, Input::Start);
        live.tell(5, Input::Resolved(Ok(vec![target.parse().unwrap()])));
        let (on, ident) = (Handle(0), 0x7777);
        let local = local.parse().unwrap();
        live.tell(5, Input::Opened { on, local, ident });
        live
    }

    fn tell(&mut self, at: u64, input: Input) {
        let tick = Tick(Duration::from_nanos(at));
        let mut now = Now::new(tick, UnixTime::from_secs(999_999_999), 123);
        self.recorder.watch(&Event::In {
            at: &now,
            precision: Precision::Kernel,
            input: &input,
        });
        for output in self.machine.handle(&mut now, input) {
            self.recorder.watch(&Event::Out {
                at: tick,
                output: &output,
            });
            match output {
                Output::Send { packet, .. } => self.sent.push(packet.bytes),
                Output::Done(outcome) => self.outcome = Some(outcome),
                _ => {}
            }
        }
    }

    fn stamped(&mut self, at: u64, tag: u32) {
        self.tell(at, Input::Stamped { on: Handle(0), tag });
    }

    fn reply(&mut self, at: u64, request: usize, ttl: u8, size: usize) {
        let request = Icmp::parse(&self.sent[request]).unwrap();
        let mut payload = request.body.to_vec();
        payload.resize(size, 0x55);
        let (identifier, sequence) = (request.identifier(), request.sequence());
        let datagram = if request.kind == v6::ECHO_REQUEST {
            Datagram {
                from: "[2001:db8:7::7]:0".parse().unwrap(),
                to: Some("2001:db8::10".parse().unwrap()),
                hop_limit: Some(ttl),
                tos: None,
                bytes: Icmp::echo(v6::ECHO_REPLY, identifier, sequence, &payload).emit(),
                protocol: protocol::ICMPV6,
            }
        } else {
            let message = Icmp::echo(v4::ECHO_REPLY, identifier, sequence, &payload).emit_v4();
            let from = "198.51.100.7".parse().unwrap();
            let to = "192.0.2.10".parse().unwrap();
            Datagram {
                from: "198.51.100.7:0".parse().unwrap(),
                to: None,
                hop_limit: None,
                tos: None,
                bytes: Ipv4::new(from, to, protocol::ICMP, ttl, &message).emit(),
                protocol: protocol::ICMP,
            }
        };
        self.tell(
            at,
            Input::Datagram {
                on: Handle(0),
                datagram,
            },
        );
    }

    fn deadline(&mut self) {
        let due = self.machine.deadline().unwrap();
        self.tell(u64::try_from(due.0.as_nanos()).unwrap(), Input::Deadline);
    }

    /// The line of the live run and that of its replay.
    fn lines(self) -> (String, String) {
        let head = self.spec.head(&Version::of_tests());
        let recording = self.recorder.finish();
        let replayed = replay(&self.spec, &recording, test_clock()).unwrap();
        let line = |outcome: Outcome| outcome.bodies[0].line(&head, Dialect::Reference);
        (line(self.outcome.unwrap()), line(replayed))
    }
}

#[test]
fn a_recorded_run_replays_to_the_same_line() {
    for command in [
        "evping -4 -A 7 -s 64 198.51.100.7",
        "evping -6 -A 7 -s 64 2001:db8:7::7",
    ] {
        let mut live = Live::new(command);
        live.deadline();
        live.stamped(1000 * MS + 9_000, 1);
        live.reply(1010 * MS + 345, 1, 57, 64);
        live.deadline();
        live.reply(2010 * MS + 1, 2, 56, 70);
        live.deadline();
        let (lived, replayed) = live.lines();
        assert_eq!(lived, replayed);
        assert!(lived.contains("\"x\""), "{lived}");
        assert!(lived.contains("\"rtt\":9.991345, \"ttl\":57"), "{lived}");
    }
}

#[test]
fn a_late_reply_replays_as_the_duplicate_it_was() {
    for command in [
        "evping -4 -c 3 198.51.100.7",
        "evping -6 -c 3 2001:db8:7::7",
    ] {
        let mut live = Live::new(command);
        live.deadline();
        live.reply(1700 * MS, 0, 57, 32);
        live.deadline();
        live.reply(2010 * MS, 2, 57, 32);
        live.deadline();
        let (lived, replayed) = live.lines();
        assert_eq!(lived, replayed);
        assert!(lived.contains("\"dup\":1, \"rtt\":1699.999995"), "{lived}");
    }
}

#[test]
fn a_recording_holds_one_packet_a_request_and_the_reference_rules_hide_losses() {
    let mut live = Live::new("evping -4 -c 3 198.51.100.7");
    live.reply(10 * MS, 0, 57, 32);
    live.reply(20 * MS, 0, 57, 32);
    live.deadline();
    live.deadline();
    live.reply(2010 * MS, 2, 57, 32);
    live.deadline();
    let (lived, replayed) = live.lines();
    assert_eq!(lived.matches("\"rtt\"").count(), 3);
    assert_eq!(lived.matches("\"x\"").count(), 1);
    assert!(
        replayed.ends_with("\"result\": [ { \"rtt\":9.999995 }, { \"rtt\":9.999995 } ] }\n"),
        "{replayed}"
    );
}

#[test]
fn a_run_without_a_socket_records_nothing() {
    let live = Live::new("evping -4 198.51.100.7");
    let mut recorder = Recorder::new(&live.spec);
    recorder.watch(&Event::In {
        at: &test_clock(),
        precision: Precision::Process,
        input: &Input::Start,
    });
    assert!(recorder.finish().is_empty());
}

#[test]
fn another_tools_recording_is_refused_with_the_place() {
    let live = Live::new("evping -4 198.51.100.7");
    let mut writer = Writer::new();
    writer.put_addrinfo(5, "192.0.2.1".parse().unwrap(), false);
    let error = replay(&live.spec, &writer.finish(), test_clock()).unwrap_err();
    assert_eq!(error.to_string(), "offset 0: wrong type, expected 6, got 5");
}

#[test]
fn a_recording_that_ends_early_is_refused() {
    let mut live = Live::new("evping -4 -c 1 198.51.100.7");
    live.reply(10 * MS, 0, 57, 32);
    live.deadline();
    let recording = live.recorder.finish();
    for end in 0..recording.len() {
        assert!(
            replay(&live.spec, &recording[..end], test_clock()).is_err(),
            "{end}"
        );
    }
    assert!(replay(&live.spec, &recording, test_clock()).is_ok());
}

proptest::proptest! {
    #[test]
    fn no_recording_panics(
        records in proptest::collection::vec((1i32..8, proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64)), 0..12),
        family in proptest::prelude::any::<bool>(),
    ) {
        let command = if family { "evping -4 198.51.100.7" } else { "evping -6 x" };
        let live = Live::new(command);
        let mut writer = Writer::new();
        writer.put_addrinfo(ADDRINFO, "198.51.100.7".parse().unwrap(), false);
        writer.put_address(ADDRESS, "198.51.100.7:0".parse().unwrap());
        writer.put_address(LOCAL, "192.0.2.10:0".parse().unwrap());
        for (kind, data) in &records {
            writer.put(*kind, data);
        }
        let _ = replay(&live.spec, &writer.finish(), test_clock());
    }
}
