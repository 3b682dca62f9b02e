//! Beacons: look-ups of names that say to their owner that this probe is alive, where nothing else gets through
//! (`controller-protocol` section 7.4). Off unless the configuration asks for them, since every resolver on the way
//! reads the name.

use std::{sync::Arc, time::Duration};

use super::{Agent, storage::Message};
use crate::{
    clock::{Tick, UnixTime},
    dialect::Dialect,
    measurement::{Body, Carry, Rules, Run, Spec, Version},
    net::Net,
    report::system,
    result::Document,
    session::{Exchange, Failure, SessionEvent},
    upload::Queue,
};

/// The zone of all beacons.
const ZONE: &str = "sos.atlas.ripe.net";
/// The official probe sends one in each pass of its main loop at most (`controller-protocol` section 2.6).
const APART: Duration = Duration::from_secs(180);

/// What a beacon tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beacon {
    /// A registration begins. What the ping brings is a result.
    Registering,
    /// The registration server does not know the key.
    Denied,
}

/// When which beacon was sent last, and the key's part of their names.
#[derive(Debug)]
pub(super) struct Beacons {
    sos_id: String,
    registering: Option<Tick>,
    denied: Option<Tick>,
}

impl Beacons {
    /// `sos_id` is [`ProbeKey::sos_id`](crate::key::ProbeKey::sos_id).
    pub(super) const fn new(sos_id: String) -> Self {
        Self {
            sos_id,
            registering: None,
            denied: None,
        }
    }

    /// The beacon that an event calls for, unless there was one lately.
    fn due(&mut self, now: Tick, event: &SessionEvent) -> Option<Beacon> {
        let (beacon, last) = match event {
            SessionEvent::Registering { .. } => (Beacon::Registering, &mut self.registering),
            SessionEvent::Lost {
                exchange: Exchange::Registration,
                failure: Failure::Denied { .. },
                ..
            } => (Beacon::Denied, &mut self.denied),
            _ => return None,
        };
        if last.is_some_and(|last| now.since(last) < APART) {
            return None;
        }
        *last = Some(now);
        Some(beacon)
    }

    fn name(&self, beacon: Beacon, uptime: Duration, now: UnixTime, mac: &str) -> String {
        let uptime = uptime.as_secs();
        match beacon {
            Beacon::Registering => format!("U{uptime}.{}.{ZONE}", self.sos_id),
            Beacon::Denied => {
                format!("Issh-permission-denied.C{now}.U{uptime}.M{mac}.{ZONE}")
            }
        }
    }
}

impl Beacon {
    /// The ping that carries it: the look-up is its first step.
    fn command(self, name: &str) -> Vec<String> {
        let (count, id) = match self {
            Self::Registering => ("3", Some("9017")),
            Self::Denied => ("2", None),
        };
        let mut words = vec!["evping", "-6", "-c", count];
        words.extend(id.into_iter().flat_map(|id| ["-A", id]));
        words.push(name);
        words.into_iter().map(str::to_owned).collect()
    }
}

impl Agent {
    /// Sends the beacon that an event calls for, if beacons are wanted.
    pub(super) fn beacon(&mut self, event: &SessionEvent) {
        let Some(beacons) = &mut self.beacons else {
            return;
        };
        let Some(beacon) = beacons.due(self.clock.tick(), event) else {
            return;
        };
        let (uptime, now) = (system::host_uptime(), self.clock.unix());
        let name = beacons.name(beacon, uptime, now, &system::mac());
        tracing::debug!(name, "beacon");
        let (net, storage) = (self.net.clone(), self.storage.clone());
        let (rules, version) = (self.rules.clone(), self.version.clone());
        let run = Run {
            seed: u64::try_from(now.nanos() & i128::from(u64::MAX)).unwrap_or_default(),
            probe_id: self.status.probe_id(),
            replay: false,
        };
        tokio::spawn(async move {
            let command = beacon.command(&name);
            if let Some(lines) = send(&net, &command, &rules, run, &version).await
                && beacon == Beacon::Registering
            {
                let (queue, idle) = (Queue::Periodic, false);
                // Only a stopping agent has no storage any more.
                let _ = storage.send(Message::Keep { queue, lines, idle }).await;
            }
        });
    }
}

/// Looks the name up and pings its address; the result, if there is an address.
async fn send(
    net: &Net,
    command: &[String],
    rules: &Rules,
    run: Run,
    version: &Version,
) -> Option<String> {
    let spec = Arc::new(Spec::parse(command, rules).ok()?);
    let outcome = net.run(spec.start(run, Carry::Nothing), |_| {}).await;
    let head = spec.head(version);
    let dialect: Dialect = rules.dialect;
    let resolved = outcome
        .bodies
        .into_iter()
        .filter(|body| matches!(body, Body::Ping(body) if body.destination.is_some()));
    let lines = resolved.map(|body| {
        let head = head.clone();
        Document { head, body }.line(dialect)
    });
    let lines: String = lines.collect();
    (!lines.is_empty()).then_some(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Clock,
        net,
        protocol::registration::Reason,
        session::{RegistrationServer, ServerList},
    };
    use tokio::net::UdpSocket;

    const SOS_ID: &str = "H24d96fd0ca3b6abf";

    fn registering() -> SessionEvent {
        let server: RegistrationServer = ServerList::Prod.servers()[0].clone();
        let reason = Reason::New;
        SessionEvent::Registering { server, reason }
    }

    fn denied() -> SessionEvent {
        SessionEvent::Lost {
            exchange: Exchange::Registration,
            failure: Failure::Denied {
                fingerprint: String::new(),
            },
            retry: Duration::from_secs(5),
        }
    }

    #[test]
    fn names_and_pings_are_those_of_the_official_probe() {
        let beacons = Beacons::new(SOS_ID.to_owned());
        let name = |beacon| {
            let uptime = Duration::from_millis(4_711_900);
            beacons.name(
                beacon,
                uptime,
                UnixTime::from_secs(1_775_483_034),
                "0200c0000201",
            )
        };
        let words = |beacon: Beacon| beacon.command(&name(beacon)).join(" ");
        assert_eq!(
            words(Beacon::Registering),
            "evping -6 -c 3 -A 9017 U4711.H24d96fd0ca3b6abf.sos.atlas.ripe.net"
        );
        assert_eq!(
            words(Beacon::Denied),
            "evping -6 -c 2 Issh-permission-denied.C1775483034.U4711.M0200c0000201.sos.atlas.ripe.net"
        );
    }

    #[test]
    fn a_round_of_registrations_sends_one_beacon() {
        let mut beacons = Beacons::new(SOS_ID.to_owned());
        let mut due = |secs, event: &SessionEvent| beacons.due(Tick::from_secs(secs), event);
        assert_eq!(due(10, &registering()), Some(Beacon::Registering));
        assert_eq!(due(11, &registering()), None);
        assert_eq!(due(12, &denied()), Some(Beacon::Denied));
        assert_eq!(due(20, &denied()), None);
        assert_eq!(due(189, &registering()), None);
        assert_eq!(due(190, &registering()), Some(Beacon::Registering));
        assert_eq!(due(1000, &SessionEvent::KickedOut), None);
    }

    /// Sends a registration beacon to a name server that answers with `address` or that there is none; gives the name
    /// that it was asked for, and what became a result.
    fn through(address: Option<[u8; 16]>) -> (String, Option<String>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("resolv.conf");
            std::fs::write(&file, "nameserver 127.0.0.1\n").unwrap();
            let config = net::Config {
                allow_any_address: true,
                hosts_file: folder.path().join("hosts"),
                resolver_file: file,
                resolver_port: server.local_addr().unwrap().port(),
                ..net::Config::new(7)
            };
            let net = Net::open(config, Clock::start());
            let rules = Rules {
                dialect: Dialect::Reference,
                spool: folder.path().to_owned(),
                unsafe_paths: false,
            };
            let run = Run {
                seed: 7,
                probe_id: None,
                replay: false,
            };
            let version = Version {
                firmware: 5120,
                measurement: "2.6.4".to_owned(),
            };
            let beacons = Beacons::new(SOS_ID.to_owned());
            let beacon = Beacon::Registering;
            let name = beacons.name(beacon, Duration::from_secs(5), UnixTime::default(), "");
            let command = beacon.command(&name);
            let sending = send(&net, &command, &rules, run, &version);
            let answering = async {
                let mut buffer = [0; 512];
                let (length, from) = server.recv_from(&mut buffer).await.unwrap();
                let (answer, name) = answer(&buffer[..length], address);
                server.send_to(&answer, from).await.unwrap();
                name
            };
            let (lines, name) = tokio::join!(sending, answering);
            (name, lines)
        })
    }

    /// Answers an AAAA question (RFC 1035 section 4.1, RFC 3596).
    fn answer(question: &[u8], address: Option<[u8; 16]>) -> (Vec<u8>, String) {
        let mut labels = Vec::new();
        let mut at = 12;
        while question[at] != 0 {
            let end = at + 1 + usize::from(question[at]);
            labels.push(String::from_utf8_lossy(&question[at + 1..end]).to_lowercase());
            at = end;
        }
        assert_eq!(question[at + 1..at + 5], [0, 28, 0, 1], "AAAA, IN");
        let mut answer = question[..at + 5].to_vec();
        let no_such_name = if address.is_none() { 3 } else { 0 };
        answer[2..12].copy_from_slice(&[0x81, 0x80 | no_such_name, 0, 1, 0, 0, 0, 0, 0, 0]);
        if let Some(address) = address {
            answer[7] = 1;
            answer.extend([0xc0, 12, 0, 28, 0, 1, 0, 0, 0, 60, 0, 16]);
            answer.extend(address);
        }
        (answer, labels.join("."))
    }

    #[test]
    fn the_name_is_asked_for_and_without_an_address_nothing_follows() {
        let (name, lines) = through(None);
        assert_eq!(name, "u5.h24d96fd0ca3b6abf.sos.atlas.ripe.net");
        assert_eq!(lines, None);
    }

    #[test]
    fn with_an_address_it_is_pinged_and_the_result_is_9017() {
        let mut loopback = [0; 16];
        loopback[15] = 1;
        let (_, lines) = through(Some(loopback));
        let lines = lines.expect("a result");
        assert!(
            lines.starts_with("RESULT { \"id\":\"9017\", \"fw\":5120, \"mver\": \"2.6.4\""),
            "{lines}"
        );
        assert!(
            lines.contains("\"dst_name\":\"U5.H24d96fd0ca3b6abf.sos.atlas.ripe.net\""),
            "{lines}"
        );
        assert!(lines.contains("\"dst_addr\":\"::1\""), "{lines}");
    }
}
