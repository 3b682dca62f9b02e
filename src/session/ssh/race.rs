//! From a name to one TCP connection: all its addresses, both families in turn, each a little after the one before
//! (RFC 8305), beginning with the family that worked last.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{Resolve, Sources, connect::Target};
use crate::{
    clock::{Clock, Tick},
    measurement::machine::ResolveError,
    session::failure::Failure,
};

/// How long resolving may take, and how long one TCP connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// The next address is tried beside the ones before it after this time (RFC 8305 section 8).
const STAGGER: Duration = Duration::from_millis(250);
/// How many addresses of a name are tried.
const MAX_ADDRESSES: usize = 16;
/// For how long a family that worked, or whose sister failed, goes first.
const REMEMBERED: Duration = Duration::from_secs(600);

/// How servers are reached: names by this resolver, and the family that last worked first.
pub(super) struct Way {
    resolve: Resolve,
    sources: Sources,
    clock: Clock,
    preference: Mutex<Preference>,
}

impl Way {
    pub(super) fn new(resolve: Resolve, sources: Sources, clock: Clock) -> Self {
        Self {
            resolve,
            sources,
            clock,
            preference: Mutex::default(),
        }
    }

    /// A TCP connection to the first of the target's addresses that answers.
    pub(super) async fn connect(
        &self,
        target: &Target,
    ) -> Result<(TcpStream, SocketAddr), Failure> {
        let found = addresses(target, &self.resolve).await?;
        let first = self.preference().first(self.clock.tick());
        first_to_answer(alternating(found, first), &self.sources).await
    }

    /// The server behind this address let us in.
    pub(super) fn worked(&self, address: SocketAddr) {
        let now = self.clock.tick();
        self.preference().remember(now, address.is_ipv6());
    }

    /// It connected, but then nothing sensible came: the path may be broken for large packets, or lead elsewhere.
    pub(super) fn failed(&self, address: SocketAddr) {
        let now = self.clock.tick();
        self.preference().remember(now, !address.is_ipv6());
    }

    fn preference(&self) -> MutexGuard<'_, Preference> {
        self.preference
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The family that is tried first. Pure.
#[derive(Debug, Default)]
struct Preference(Option<(bool, Tick)>);

impl Preference {
    /// Whether IPv6 goes first: it does, unless IPv4 did better lately.
    fn first(&self, now: Tick) -> bool {
        self.0
            .filter(|(_, since)| now.since(*since) < REMEMBERED)
            .is_none_or(|(is_v6, _)| is_v6)
    }

    const fn remember(&mut self, now: Tick, is_v6: bool) {
        self.0 = Some((is_v6, now));
    }
}

async fn addresses(target: &Target, resolve: &Resolve) -> Result<Vec<SocketAddr>, Failure> {
    if let Ok(literal) = target.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(literal, target.port)]);
    }
    let lookup = resolve(target.host.clone(), target.port);
    let answer = timeout(CONNECT_LIMIT, lookup)
        .await
        .unwrap_or(Err(ResolveError::Failed));
    let cause = match answer {
        Ok(found) if !found.is_empty() => return Ok(found),
        Ok(_) => ResolveError::NotKnown,
        Err(cause) => cause,
    };
    Err(Failure::Resolve {
        host: target.host.clone(),
        cause,
    })
}

/// Both families in turn, each in the order given (RFC 8305 section 4).
fn alternating(found: Vec<SocketAddr>, v6_first: bool) -> Vec<SocketAddr> {
    let (first, second): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|address| address.is_ipv6() == v6_first);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut mixed = Vec::new();
    loop {
        let pair: Vec<SocketAddr> = first.next().into_iter().chain(second.next()).collect();
        if pair.is_empty() || mixed.len() >= MAX_ADDRESSES {
            return mixed;
        }
        mixed.extend(pair);
    }
}

/// The first TCP connection that stands; a further address is tried when one fails or is slow.
async fn first_to_answer(
    addresses: Vec<SocketAddr>,
    sources: &Sources,
) -> Result<(TcpStream, SocketAddr), Failure> {
    let mut waiting = addresses.into_iter();
    let mut racing = JoinSet::new();
    let mut failed = Vec::new();
    loop {
        if let Some(to) = waiting.next() {
            let from = sources.of(to);
            racing.spawn(async move {
                let result = match timeout(CONNECT_LIMIT, dial(to, from)).await {
                    Ok(result) => result.map_err(|cause| cause.to_string()),
                    Err(_) => Err(format!("no answer in {} s", CONNECT_LIMIT.as_secs())),
                };
                (to, result)
            });
        }
        let ended = tokio::select! {
            ended = racing.join_next() => ended,
            () = sleep(STAGGER), if waiting.len() > 0 => continue,
        };
        match ended {
            Some(Ok((to, Ok(stream)))) => return Ok((stream, to)),
            Some(Ok((to, Err(why)))) => failed.push((to, why)),
            Some(Err(_)) => {}
            None => return Err(Failure::Connect(failed)),
        }
    }
}

/// Connects, from an address of this host or through an interface if one is named.
async fn dial(to: SocketAddr, from: Option<String>) -> io::Result<TcpStream> {
    let Some(from) = from else {
        return TcpStream::connect(to).await;
    };
    let socket = if to.is_ipv6() {
        TcpSocket::new_v6()
    } else {
        TcpSocket::new_v4()
    }?;
    match from.parse::<IpAddr>() {
        Ok(address) => socket.bind(SocketAddr::new(address, 0)),
        Err(_) => socket.bind_device(Some(from.as_bytes())),
    }
    .map_err(|error| io::Error::new(error.kind(), format!("from {from}: {error}")))?;
    socket.connect(to).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_leaves_from_its_source_or_says_why_it_cannot() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let sources = Sources {
            ipv4: Some("192.0.2.5".to_owned()),
            ipv6: Some("nosuch0".to_owned()),
        };
        // Nothing is sent: the source cannot be bound to.
        for (to, words) in [
            ("198.51.100.1:443", "from 192.0.2.5: "),
            ("[2001:db8::1]:443", "from nosuch0: "),
        ] {
            let failure = runtime
                .block_on(first_to_answer(vec![parse(to)], &sources))
                .unwrap_err();
            assert!(failure.to_string().contains(words), "{failure}");
        }
        assert_eq!(sources.of(parse("127.0.0.1:443")), None);
        assert_eq!(Sources::default().of(parse("192.0.2.1:443")), None);
    }

    fn parse(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_alternate_between_the_families() {
        let found = [
            "192.0.2.1:1",
            "192.0.2.2:1",
            "192.0.2.3:1",
            "[2001:db8::1]:1",
        ]
        .map(parse);
        let mixed = [
            "[2001:db8::1]:1",
            "192.0.2.1:1",
            "192.0.2.2:1",
            "192.0.2.3:1",
        ]
        .map(parse);
        assert_eq!(alternating(found.to_vec(), true), mixed);
        let mixed = [
            "192.0.2.1:1",
            "[2001:db8::1]:1",
            "192.0.2.2:1",
            "192.0.2.3:1",
        ]
        .map(parse);
        assert_eq!(alternating(found.to_vec(), false), mixed);
        assert_eq!(alternating(vec![], true), []);
        let many = (1..200)
            .map(|port| SocketAddr::from(([192, 0, 2, 1], port)))
            .collect();
        assert_eq!(alternating(many, true).len(), MAX_ADDRESSES);
    }

    #[test]
    fn the_family_that_worked_goes_first_for_ten_minutes() {
        let mut preference = Preference::default();
        assert!(preference.first(Tick::from_secs(0)), "IPv6 to begin with");
        preference.remember(Tick::from_secs(10), false);
        assert!(!preference.first(Tick::from_secs(609)));
        assert!(preference.first(Tick::from_secs(610)));
        preference.remember(Tick::from_secs(700), true);
        assert!(preference.first(Tick::from_secs(701)));
    }

    fn way(addresses: Vec<SocketAddr>) -> Way {
        let resolve: Resolve = std::sync::Arc::new(move |_, _| {
            let addresses = addresses.clone();
            Box::pin(async move { Ok(addresses) })
        });
        Way::new(resolve, Sources::default(), Clock::start())
    }

    fn target() -> Target {
        Target {
            host: "reg.example.net".into(),
            port: 443,
            host_key: crate::session::ServerList::Prod.servers()[0]
                .host_key
                .clone()
                .unwrap(),
            remote_port: None,
        }
    }

    #[test]
    fn an_address_that_refuses_costs_nothing_and_what_failed_after_connecting_goes_second() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let four = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let four_at = four.local_addr().unwrap();
            // Nobody listens there, on either family.
            let gone = {
                let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
                listener.local_addr().unwrap()
            };
            let way = way(vec![
                SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], gone.port())),
                gone,
                four_at,
            ]);
            let (_, answered) = way.connect(&target()).await.unwrap();
            assert_eq!(answered, four_at);
            way.failed("[2001:db8::1]:443".parse().unwrap());
            assert!(!way.preference().first(way.clock.tick()));
            way.worked("[2001:db8::1]:443".parse().unwrap());
            assert!(way.preference().first(way.clock.tick()));
        });
    }

    #[test]
    fn a_name_without_an_address_says_so() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let failure = way(vec![]).connect(&target()).await.unwrap_err();
            let host = "reg.example.net".to_owned();
            let cause = ResolveError::NotKnown;
            assert_eq!(failure, Failure::Resolve { host, cause });
            assert!(
                failure.to_string().contains("check the host's resolver"),
                "{failure}"
            );
        });
    }
}
