//! The options of `evtraceroute` (`packet-measurements` section 3.1).
//!
//! Values larger than what the official probe stores them in wrap silently, as there.

use std::time::Duration;

use crate::{
    dialect::Dialect,
    measurement::{
        Common, Rules, SpecError,
        args::{self, Given, Opt},
        machine::Family,
    },
};

/// The checked options of one `evtraceroute` command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The target as typed.
    pub target: String,
    /// One of the two families, never both.
    pub family: Family,
    /// What probes are.
    pub protocol: Protocol,
    /// What the result says that they are: `-I -T` sends TCP and says ICMP.
    pub reported: Protocol,
    /// `-F`: probes must not be fragmented.
    pub dont_fragment: bool,
    /// How probes are kept on one path.
    pub paris: Paris,
    /// `-c`: probes per hop.
    pub count: u8,
    /// `-f`: the first hop limit.
    pub first: u8,
    /// `-m`: the last hop limit.
    pub last: u8,
    /// `-g`: so many silent hops end the run, after a last attempt at 255.
    pub gap: u8,
    /// `-i`: interface or source address.
    pub interface: Option<String>,
    /// `-p`: destination port of TCP probes; `None` for a service that is not known, which fails like a name.
    pub port: Option<u16>,
    /// `-t`: TOS or traffic class as given; what does not fit an octet is cut in IPv4 and refused in IPv6.
    pub tos: u32,
    /// `-w`: how long to wait for a reply.
    pub wait: Duration,
    /// `-z`: how long to wait for duplicates after a reply; zero goes on at once.
    pub linger: Duration,
    /// `-S`: octets of payload, before a protocol's minimum and MTU messages change it.
    pub size: u16,
    /// `-H`: octets of IPv6 hop-by-hop options.
    pub hop_by_hop: u16,
    /// `-D`: octets of IPv6 destination options.
    pub destination_options: u16,
}

/// What probes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Echo requests.
    Icmp,
    /// Datagrams to unlikely ports.
    Udp,
    /// SYN segments.
    Tcp,
}

impl Protocol {
    /// The word in results.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Icmp => "ICMP",
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        }
    }
}

/// How all probes of a run are made to take one path, and which one (section 3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Paris {
    /// Not at all: `-a 0`.
    Off,
    /// Another path each run: `modulus` of them, numbered from `base`.
    Cycle {
        /// `-a`, never 0.
        modulus: u8,
        /// `-b`.
        base: u8,
    },
    /// Always this one: `-p` of the starla dialect.
    Fixed(u32),
}

/// `-S` above this is refused.
const MAX_SIZE: u32 = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Common(CommonKey),
    V4,
    V6,
    Icmp,
    Tcp,
    Udp,
    DontFragment,
    Ignored,
    Modulus,
    Base,
    Count,
    First,
    Gap,
    Interface,
    Last,
    Port,
    Tos,
    Wait,
    Linger,
    Size,
    HopByHop,
    DestinationOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CommonKey {
    Id,
    Bundle,
    Output,
    Replay,
    Record,
}

const TABLE: [Opt<Key>; 26] = [
    Opt::flag('4', Key::V4),
    Opt::flag('6', Key::V6),
    Opt::flag('I', Key::Icmp),
    Opt::flag('T', Key::Tcp),
    Opt::flag('U', Key::Udp),
    Opt::flag('F', Key::DontFragment),
    Opt::flag('r', Key::Ignored),
    Opt::value('a', Key::Modulus),
    Opt::value('b', Key::Base),
    Opt::value('c', Key::Count),
    Opt::value('f', Key::First),
    Opt::value('g', Key::Gap),
    Opt::value('i', Key::Interface),
    Opt::value('m', Key::Last),
    Opt::value('p', Key::Port),
    Opt::value('t', Key::Tos),
    Opt::value('w', Key::Wait),
    Opt::value('z', Key::Linger),
    Opt::value('S', Key::Size),
    Opt::value('H', Key::HopByHop),
    Opt::value('D', Key::DestinationOptions),
    Opt::value('A', Key::Common(CommonKey::Id)),
    Opt::value('B', Key::Common(CommonKey::Bundle)),
    Opt::value('O', Key::Common(CommonKey::Output)),
    Opt::value('R', Key::Common(CommonKey::Replay)),
    Opt::value('W', Key::Common(CommonKey::Record)),
];

impl Options {
    /// Reads the words after `evtraceroute`.
    ///
    /// # Errors
    /// The first word that cannot be accepted.
    pub fn parse(words: &[&str], rules: &Rules) -> Result<(Common, Self), SpecError> {
        let words = args::read(&TABLE, words)?;
        let mut common = Common::default();
        let mut options = Self::of(words.target()?);
        let mut flags = Flags::default();
        for given in &words.options {
            match given.key {
                Key::Common(key) => set_common(&mut common, key, given, rules)?,
                Key::V4 if options.family == Family::V6 => {
                    return Err(SpecError::BadOptions("`-4` after `-6`".to_owned()));
                }
                _ => options.set(&mut flags, given, rules.dialect)?,
            }
        }
        options.protocol = match (flags.icmp, flags.tcp) {
            (_, true) => Protocol::Tcp,
            (true, false) => Protocol::Icmp,
            (false, false) => Protocol::Udp,
        };
        options.reported = if flags.icmp {
            Protocol::Icmp
        } else {
            options.protocol
        };
        options.paris = flags.paris(rules.dialect);
        Ok((common, options))
    }

    /// The defaults of the reference dialect.
    fn of(target: &str) -> Self {
        Self {
            target: target.to_owned(),
            family: Family::V4,
            protocol: Protocol::Udp,
            reported: Protocol::Udp,
            dont_fragment: false,
            paris: Paris::Off,
            count: 3,
            first: 1,
            last: 32,
            gap: 5,
            interface: None,
            port: Some(80),
            tos: 0,
            wait: Duration::from_secs(1),
            linger: Duration::from_millis(10),
            size: 40,
            hop_by_hop: 0,
            destination_options: 0,
        }
    }

    fn set(
        &mut self,
        flags: &mut Flags,
        given: &Given<'_, Key>,
        dialect: Dialect,
    ) -> Result<(), SpecError> {
        match given.key {
            Key::V6 => self.family = Family::V6,
            Key::Icmp => flags.icmp = true,
            Key::Tcp => flags.tcp = true,
            Key::DontFragment => self.dont_fragment = true,
            Key::Modulus => flags.modulus = Some(octet(given.number()?)),
            Key::Base => flags.base = Some(octet(given.number()?)),
            Key::Count => self.count = octet(given.number()?),
            Key::First => self.first = octet(given.number()?),
            Key::Gap => self.gap = octet(given.number()?),
            Key::Interface => self.interface = Some(given.value.to_owned()),
            Key::Last => self.last = octet(given.number()?),
            Key::Port => match dialect {
                Dialect::Reference => self.port = port(given.value),
                Dialect::Starla => flags.fixed = Some(given.number()?),
            },
            Key::Tos => self.tos = given.number()?,
            Key::Wait => self.wait = wrapped_millis(given.number()?),
            Key::Linger => self.linger = wrapped_millis(given.number()?),
            Key::Size => match given.number()? {
                size @ 0..=MAX_SIZE => self.size = word(size),
                _ => return Err(given.bad("at most 4096 octets")),
            },
            Key::HopByHop => self.hop_by_hop = word(given.number()?),
            Key::DestinationOptions => self.destination_options = word(given.number()?),
            Key::Udp | Key::Ignored | Key::V4 | Key::Common(_) => {}
        }
        Ok(())
    }
}

fn set_common(
    common: &mut Common,
    key: CommonKey,
    given: &Given<'_, Key>,
    rules: &Rules,
) -> Result<(), SpecError> {
    match key {
        CommonKey::Id => common.id = Some(given.id()?),
        CommonKey::Bundle => common.bundle = Some(given.id()?),
        CommonKey::Output => common.output = Some(given.output_file(rules)?),
        CommonKey::Replay => common.replay = Some(given.recording(rules)?),
        CommonKey::Record => common.record = Some(given.recording(rules)?),
    }
    Ok(())
}

/// Options whose meaning depends on others.
#[derive(Default)]
struct Flags {
    icmp: bool,
    tcp: bool,
    modulus: Option<u8>,
    base: Option<u8>,
    fixed: Option<u32>,
}

impl Flags {
    /// The starla dialect has a fixed path unless the official probe's options ask for a changing one.
    fn paris(&self, dialect: Dialect) -> Paris {
        let asked = self.modulus.is_some() || self.base.is_some();
        match (self.fixed, dialect) {
            (Some(id), _) => Paris::Fixed(id),
            (None, Dialect::Starla) if !asked => Paris::Fixed(0),
            (None, _) => match self.modulus.unwrap_or(16) {
                0 => Paris::Off,
                modulus => Paris::Cycle {
                    modulus,
                    base: self.base.unwrap_or(0),
                },
            },
        }
    }
}

/// What an 8-bit variable keeps of a number.
fn octet(number: u32) -> u8 {
    let [.., low] = number.to_be_bytes();
    low
}

/// What a 16-bit variable keeps of a number.
fn word(number: u32) -> u16 {
    let [.., high, low] = number.to_be_bytes();
    u16::from_be_bytes([high, low])
}

/// Milliseconds that are kept as microseconds in 32 bits.
fn wrapped_millis(millis: u32) -> Duration {
    Duration::from_micros(millis.wrapping_mul(1000).into())
}

/// A port number, or the port of a service that is registered for UDP.
fn port(text: &str) -> Option<u16> {
    if !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit()) {
        return text.parse().ok();
    }
    SERVICES
        .iter()
        .find(|(_, names)| names.contains(&text))
        .map(|(port, _)| *port)
}

/// Services with a UDP port (IANA), with the aliases that hosts commonly know.
const SERVICES: [(u16, &[&str]); 50] = [
    (7, &["echo"]),
    (9, &["discard", "sink", "null"]),
    (13, &["daytime"]),
    (17, &["qotd", "quote"]),
    (19, &["chargen", "ttytst", "source"]),
    (22, &["ssh"]),
    (23, &["telnet"]),
    (25, &["smtp", "mail"]),
    (37, &["time", "timserver"]),
    (42, &["nameserver", "name"]),
    (43, &["whois", "nicname"]),
    (49, &["tacacs"]),
    (53, &["domain"]),
    (67, &["bootps"]),
    (68, &["bootpc"]),
    (69, &["tftp"]),
    (70, &["gopher"]),
    (79, &["finger"]),
    (80, &["http", "www", "www-http"]),
    (88, &["kerberos", "kerberos5", "krb5"]),
    (110, &["pop3", "pop-3"]),
    (111, &["sunrpc", "portmapper"]),
    (119, &["nntp"]),
    (123, &["ntp"]),
    (137, &["netbios-ns"]),
    (138, &["netbios-dgm"]),
    (139, &["netbios-ssn"]),
    (143, &["imap", "imap2"]),
    (161, &["snmp"]),
    (162, &["snmptrap", "snmp-trap"]),
    (177, &["xdmcp"]),
    (179, &["bgp"]),
    (389, &["ldap"]),
    (443, &["https"]),
    (445, &["microsoft-ds"]),
    (500, &["isakmp"]),
    (514, &["syslog"]),
    (520, &["router", "route", "routed"]),
    (546, &["dhcpv6-client"]),
    (547, &["dhcpv6-server"]),
    (636, &["ldaps"]),
    (853, &["domain-s"]),
    (993, &["imaps"]),
    (995, &["pop3s"]),
    (1194, &["openvpn"]),
    (1812, &["radius"]),
    (1813, &["radius-acct", "radacct"]),
    (2049, &["nfs"]),
    (5060, &["sip"]),
    (5353, &["mdns"]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measurement::tests::rules;

    fn parse(line: &str, dialect: Dialect) -> Result<Options, SpecError> {
        let words: Vec<&str> = line.split_whitespace().collect();
        Options::parse(&words, &rules(dialect)).map(|(_, options)| options)
    }

    fn reference(line: &str) -> Options {
        parse(line, Dialect::Reference).unwrap()
    }

    #[test]
    fn defaults_are_udp_over_ipv4_with_sixteen_paths() {
        let options = reference("host.example");
        let wanted = Options {
            paris: Paris::Cycle {
                modulus: 16,
                base: 0,
            },
            ..Options::of("host.example")
        };
        assert_eq!(options, wanted);
    }

    #[test]
    fn the_last_family_wins_unless_it_is_the_first_one_after_the_second() {
        assert_eq!(reference("-4 -6 h").family, Family::V6);
        assert_eq!(
            parse("-6 -4 h", Dialect::Reference),
            Err(SpecError::BadOptions("`-4` after `-6`".to_owned()))
        );
    }

    #[test]
    fn both_icmp_and_tcp_sends_tcp_and_says_icmp() {
        let options = reference("-I -T h");
        assert_eq!(
            (options.protocol, options.reported),
            (Protocol::Tcp, Protocol::Icmp)
        );
        let options = reference("-U -I h");
        assert_eq!(
            (options.protocol, options.reported),
            (Protocol::Icmp, Protocol::Icmp)
        );
    }

    #[test]
    fn values_wrap_in_what_they_are_stored_in() {
        let options =
            reference("-c 259 -f 257 -m 287 -g 256 -a 258 -b 511 -H 65541 -D 65536 -w 4294968 h");
        assert_eq!(
            (options.count, options.first, options.last, options.gap),
            (3, 1, 31, 0)
        );
        assert_eq!(
            options.paris,
            Paris::Cycle {
                modulus: 2,
                base: 255
            }
        );
        assert_eq!((options.hop_by_hop, options.destination_options), (5, 0));
        // 4294968000 us - 2^32 us
        assert_eq!(options.wait, Duration::from_micros(704));
        assert_eq!(reference("-z 4294968 h").linger, Duration::from_micros(704));
        assert_eq!(reference("-z 0 h").linger, Duration::ZERO);
    }

    #[test]
    fn a_modulus_of_zero_switches_paris_off() {
        assert_eq!(reference("-a 0 -b 3 h").paris, Paris::Off);
        assert_eq!(reference("-a 256 h").paris, Paris::Off);
    }

    #[test]
    fn sizes_end_at_4096() {
        assert_eq!(reference("-S 4096 h").size, 4096);
        assert!(matches!(
            parse("-S 4097 h", Dialect::Reference),
            Err(SpecError::BadValue { option, .. }) if option == "-S"
        ));
    }

    #[test]
    fn ports_are_numbers_or_services_and_anything_else_fails_later() {
        assert_eq!(reference("-p 443 h").port, Some(443));
        assert_eq!(reference("-p domain h").port, Some(53));
        assert_eq!(reference("-p 65536 h").port, None);
        assert_eq!(reference("-p nosuch h").port, None);
        assert_eq!(reference("-p -1 h").port, None);
    }

    #[test]
    fn in_the_starla_dialect_p_is_the_paris_id() {
        let options = parse("-I -p 5 h", Dialect::Starla).unwrap();
        assert_eq!((options.paris, options.port), (Paris::Fixed(5), Some(80)));
        assert_eq!(parse("h", Dialect::Starla).unwrap().paris, Paris::Fixed(0));
        assert_eq!(
            parse("-a 16 h", Dialect::Starla).unwrap().paris,
            Paris::Cycle {
                modulus: 16,
                base: 0
            }
        );
    }

    #[test]
    fn every_option_of_the_specification_is_taken() {
        let line = "-6 -I -T -U -F -r -a1 -b1 -c1 -f1 -g1 -i eth0 -m1 -p1 -t1 -w1 -z1 -S1 -H1 -D1 -A1 -B1 \
                    -O /home/atlas/data/new/7 -R /home/atlas/data/r -W /home/atlas/data/w h";
        let options = reference(line);
        assert_eq!(options.interface.as_deref(), Some("eth0"));
        assert_eq!(
            (options.tos, options.size, options.dont_fragment),
            (1, 1, true)
        );
    }

    #[test]
    fn bad_numbers_and_targets_are_refused() {
        for line in [
            "-c x h",
            "-c -1 h",
            "-c +1 h",
            "-w 2147483648 h",
            "-S",
            "",
            "a b",
            "-Q h",
            "-A x h",
        ] {
            assert!(parse(line, Dialect::Reference).is_err(), "{line}");
        }
    }
}
