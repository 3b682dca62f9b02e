//! The options of `evtdig` (`dns-measurement` section 1), and the words of the protocol reference's page that
//! mean something else.

use super::words::{CHAOS, INTERNET, Key, class_of, type_of, words};
use crate::{
    dialect::Dialect,
    measurement::{
        Common, Rules, SpecError,
        args::{self, Base, Given},
        machine::Family,
    },
    wire::dns::{AD, CD, DO, RD, SOA, TXT},
};

/// The checked options of one `evtdig` command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The server as typed, without a leading `@`; empty with `--resolv`.
    pub server: String,
    /// `--resolv`: ask every server of the resolver file instead.
    pub resolv: bool,
    /// The name to ask for, absolute, macros not yet expanded.
    pub name: String,
    /// What `$r` in the name stands for.
    pub random_word: RandomWord,
    /// The type to ask for.
    pub rtype: u16,
    /// The class to ask for.
    pub class: u16,
    /// `--p_probe_id`: put the probe's number and the time in front of the name.
    pub prefix_probe: bool,
    /// Which addresses of the server are used.
    pub family: Family,
    /// How the query travels.
    pub transport: Transport,
    /// `--https-path`
    pub https_path: String,
    /// `--sni-cert-name`
    pub server_name: Option<String>,
    /// The port as text: results echo it. A number or a service name.
    pub port: String,
    /// `-I`: an address or an interface to send from.
    pub interface: Option<String>,
    /// `--ipv6-dest-option`: bytes of padding in a Destination Options header, UDP over IPv6 only.
    pub destination_option: u16,
    /// `--ttl`: report the received TTL or hop limit, UDP only.
    pub ttl: bool,
    /// RD, AD and CD as in the header.
    pub flags: u16,
    /// What goes into an OPT record.
    pub edns: Edns,
    /// How often a failed attempt is repeated.
    pub retry: u32,
    /// Milliseconds to wait for a UDP reply; other transports only print it.
    pub timeout: u64,
    /// `--qbuf`: report the query.
    pub qbuf: bool,
    /// Report the reply (`--noabuf` clears it).
    pub abuf: bool,
}

/// How a query travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A stream.
    Tcp,
    /// A stream within TLS (RFC 7858).
    Tls,
    /// HTTP/2 (RFC 8484).
    Https,
}

impl Transport {
    /// The port without `--port`.
    const fn port(self) -> &'static str {
        match self {
            Self::Udp | Self::Tcp => "53",
            Self::Tls => "853",
            Self::Https => "443",
        }
    }
}

/// What `$r` stands for: the dialects differ (`dns-measurement` 2.1, the protocol reference's template table).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RandomWord {
    /// 16 hexadecimal digits.
    Hexadecimal,
    /// 8 letters and digits.
    Alphanumeric,
}

/// What goes into an OPT record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edns {
    /// UDP payload size.
    pub payload: u16,
    /// EDNS version.
    pub version: u8,
    /// Flags, with [`DO`] if that is asked for.
    pub flags: u16,
    /// `--nsid`
    pub nsid: bool,
    /// `--client-subnet`
    pub client_subnet: bool,
    /// The address family that Client Subnet names on any transport but UDP: it follows from the options
    /// alone (`dns-measurement` 3.3).
    pub stream_subnet_family: u16,
    /// `--cookies`
    pub cookies: bool,
    /// `--edns-option`: the code of an empty option, 0 for none.
    pub option: u16,
}

impl Edns {
    /// Whether a query has an OPT record (`dns-measurement` 3.2).
    #[must_use]
    pub const fn is_wanted(&self) -> bool {
        self.nsid
            || self.client_subnet
            || self.cookies
            || self.payload > 512
            || self.version != 0
            || self.flags != 0
            || self.option != 0
    }
}

impl Options {
    /// Reads the words after `evtdig`.
    ///
    /// # Errors
    /// The first word that cannot be accepted. The reference does not start such a command either.
    pub fn parse(given: &[&str], rules: &Rules) -> Result<(Common, Self), SpecError> {
        let read = args::read(&words(rules.dialect), given)?;
        let mut reading = Reading::new(rules.dialect);
        for option in &read.options {
            reading.take(option, rules)?;
        }
        match rules.dialect {
            Dialect::Reference => {
                if !reading.options.resolv {
                    reading.server(read.target()?);
                }
            }
            Dialect::Starla => reading.page_words(&read.rest)?,
        }
        reading.finish()
    }
}

/// Options on the way to being complete.
struct Reading {
    common: Common,
    options: Options,
    dialect: Dialect,
    v4: bool,
    v6: bool,
    both: bool,
    tcp: bool,
    tls: bool,
    https: bool,
    name: Option<String>,
    port: Option<String>,
    subnet_family: Option<u16>,
    dnssec_ok: bool,
    type_given: bool,
    class_given: bool,
}

impl Reading {
    fn new(dialect: Dialect) -> Self {
        let (flags, random_word) = match dialect {
            Dialect::Reference => (0, RandomWord::Hexadecimal),
            Dialect::Starla => (RD, RandomWord::Alphanumeric),
        };
        Self {
            common: Common::default(),
            options: Options {
                server: String::new(),
                resolv: false,
                name: String::new(),
                random_word,
                rtype: TXT,
                class: CHAOS,
                prefix_probe: false,
                family: Family::V4,
                transport: Transport::Udp,
                https_path: "/dns-query".to_owned(),
                server_name: None,
                port: String::new(),
                interface: None,
                destination_option: 0,
                ttl: false,
                flags,
                edns: Edns {
                    payload: 512,
                    version: 0,
                    flags: 0,
                    nsid: false,
                    client_subnet: false,
                    stream_subnet_family: 1,
                    cookies: false,
                    option: 0,
                },
                retry: 0,
                timeout: 5000,
                qbuf: false,
                abuf: true,
            },
            dialect,
            v4: false,
            v6: false,
            both: false,
            tcp: false,
            tls: false,
            https: false,
            name: None,
            port: None,
            subnet_family: None,
            dnssec_ok: false,
            type_given: false,
            class_given: false,
        }
    }

    fn take(&mut self, given: &Given<'_, Key>, rules: &Rules) -> Result<(), SpecError> {
        let value = || given.value.to_owned();
        match given.key {
            Key::Id => self.common.id = Some(given.id()?),
            Key::Bundle => self.common.bundle = Some(given.id()?),
            Key::Output => self.common.output = Some(given.output_file(rules)?),
            Key::Record => self.common.record = Some(given.recording(rules)?),
            Key::Replay => self.common.replay = Some(given.recording(rules)?),
            Key::V4 => (self.v4, self.subnet_family) = (true, Some(1)),
            Key::V6 => (self.v6, self.subnet_family) = (true, Some(2)),
            Key::Both => self.both = true,
            Key::Tcp => self.tcp = true,
            Key::Tls => self.tls = true,
            Key::Https => self.https = true,
            Key::HttpsPath => self.options.https_path = value(),
            Key::ServerName => self.options.server_name = Some(value()),
            Key::Port => self.port = Some(value()),
            Key::Interface => self.options.interface = Some(value()),
            Key::DestinationOption => {
                let bytes = given.leading_unsigned(Base::Ten);
                self.options.destination_option = u16::try_from(bytes).unwrap_or(u16::MAX);
            }
            Key::Ttl => self.options.ttl = true,
            Key::Resolv => self.options.resolv = true,
            Key::Retry => {
                let times = given.leading_unsigned(Base::Ten);
                self.options.retry = u32::try_from(times).unwrap_or(u32::MAX);
            }
            Key::Timeout => self.options.timeout = given.leading_unsigned(Base::Ten),
            Key::PrefixProbe => self.options.prefix_probe = true,
            Key::Qbuf => self.options.qbuf = true,
            Key::Noabuf => self.options.abuf = false,
            Key::NoEffect => {}
            Key::Refused => {
                let message = format!("`{}` is not supported", given.name);
                return Err(SpecError::BadOptions(message));
            }
            _ => self.take_question(given)?,
        }
        Ok(())
    }

    /// The options that say what is asked.
    fn take_question(&mut self, given: &Given<'_, Key>) -> Result<(), SpecError> {
        let number = || low16(given.leading_unsigned(Base::Ten));
        let any_base = || low16(given.leading_unsigned(Base::AsPrefixed));
        match given.key {
            Key::Own(name) => {
                self.name = Some(name.to_owned());
                if self.dialect == Dialect::Starla {
                    self.ask(TXT, CHAOS);
                }
            }
            Key::Named(rtype) => {
                self.ask(rtype, INTERNET);
                self.name = Some(given.value.to_owned());
            }
            Key::RootSoa => {
                self.ask(SOA, INTERNET);
                self.name = Some(".".to_owned());
            }
            Key::Type => {
                (self.options.rtype, self.type_given) = (number(), true);
                if self.options.class == 0 {
                    self.options.class = INTERNET;
                }
            }
            Key::Class => (self.options.class, self.class_given) = (number(), true),
            Key::TypeWord => {
                (self.options.rtype, self.type_given) = (type_of(given)?, true);
            }
            Key::ClassWord => {
                (self.options.class, self.class_given) = (class_of(given)?, true);
            }
            Key::Query => self.name = Some(given.value.to_owned()),
            Key::RecursionDesired => self.options.flags |= RD,
            Key::NoRecursion => self.options.flags &= !RD,
            Key::Ad => self.options.flags |= AD,
            Key::Cd => self.options.flags |= CD,
            Key::Do => self.dnssec_ok = true,
            Key::Payload => self.options.edns.payload = number(),
            Key::EdnsVersion => self.options.edns.version = number().to_le_bytes()[0],
            Key::EdnsFlags => self.options.edns.flags = any_base(),
            Key::EdnsOption => self.options.edns.option = any_base(),
            Key::Nsid => self.options.edns.nsid = true,
            Key::ClientSubnet => self.options.edns.client_subnet = true,
            Key::Cookies => self.options.edns.cookies = true,
            _ => {}
        }
        Ok(())
    }

    fn ask(&mut self, rtype: u16, class: u16) {
        (self.options.rtype, self.options.class) = (rtype, class);
        (self.type_given, self.class_given) = (true, true);
    }

    /// A leading `@` is taken off in both dialects (`controller-protocol` section 10, row 24).
    fn server(&mut self, word: &str) {
        word.strip_prefix('@')
            .unwrap_or(word)
            .clone_into(&mut self.options.server);
    }

    /// The words that are no options, as the protocol reference's page has them: `@server`, `+dnssec` and the
    /// name; without an `@` the first one is the server, as in commands of a genuine controller.
    fn page_words(&mut self, rest: &[&str]) -> Result<(), SpecError> {
        let (mut server, mut bare) = (None, Vec::new());
        for word in rest {
            match word.as_bytes().first() {
                Some(b'@') if server.is_none() => server = Some(*word),
                Some(b'+') if *word == "+dnssec" => self.dnssec_ok = true,
                Some(b'@' | b'+') => {
                    return Err(SpecError::BadOptions(format!("unknown word `{word}`")));
                }
                _ => bare.push(*word),
            }
        }
        let mut bare = bare.into_iter();
        if !self.options.resolv {
            let server = server.or_else(|| bare.next());
            let server =
                server.ok_or_else(|| SpecError::BadOptions("no server given".to_owned()))?;
            self.server(server);
        }
        if let Some(name) = bare.next() {
            self.name = Some(name.to_owned());
        }
        match bare.next() {
            Some(word) => Err(SpecError::BadOptions(format!(
                "one word too many: `{word}`"
            ))),
            None => Ok(()),
        }
    }

    fn finish(mut self) -> Result<(Common, Options), SpecError> {
        let missing = || SpecError::BadOptions("no query name given".to_owned());
        let mut name = self.name.take().ok_or_else(missing)?;
        if self.dialect == Dialect::Starla {
            if !name.is_empty() && !name.ends_with('.') {
                name.push('.');
            }
            // The page knows no default; what a bare name is looked up for is its address.
            if !self.type_given {
                self.options.rtype = 1;
            }
            if !self.class_given {
                self.options.class = INTERNET;
            }
        }
        if !name.ends_with('.') {
            return Err(SpecError::BadValue {
                option: "query name".to_owned(),
                value: name,
                expected: "a name that ends in a dot",
            });
        }
        let options = &mut self.options;
        options.name = name;
        options.family = match (self.v4, self.v6) {
            _ if self.both || options.resolv => Family::Both,
            (true, true) => Family::Both,
            (false, true) => Family::V6,
            _ => Family::V4,
        };
        let either = if self.both || options.resolv { 2 } else { 1 };
        options.edns.stream_subnet_family = self.subnet_family.unwrap_or(either);
        options.transport = match (self.https, self.tls, self.tcp) {
            (true, _, _) => Transport::Https,
            (_, true, _) => Transport::Tls,
            (_, _, true) => Transport::Tcp,
            _ => Transport::Udp,
        };
        if options.resolv {
            options.flags |= RD;
        }
        if self.dnssec_ok {
            options.edns.flags |= DO;
        }
        let port = self
            .port
            .unwrap_or_else(|| options.transport.port().to_owned());
        options.port = port;
        Ok((self.common, self.options))
    }
}

/// A number modulo 65536: nothing is range-checked (`dns-measurement` 1.1).
fn low16(number: u64) -> u16 {
    let [low, high, ..] = number.to_le_bytes();
    u16::from_le_bytes([low, high])
}
