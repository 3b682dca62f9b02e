//! The option words of `evtdig` in both dialects (`dns-measurement` section 1, the protocol reference's flag table).

use crate::{
    dialect::Dialect,
    measurement::{
        SpecError,
        args::{Given, Opt},
    },
    wire::dns::{SOA, TXT},
};

/// The class of ordinary names.
pub(super) const INTERNET: u16 = 1;
/// The class of a server's names for itself.
pub(super) const CHAOS: u16 = 3;

/// The words that commands use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    V4,
    V6,
    Both,
    /// A name that servers answer of themselves.
    Own(&'static str),
    /// A type by its name; the value is the name to ask for.
    Named(u16),
    Type,
    Class,
    Query,
    Tcp,
    Tls,
    Https,
    HttpsPath,
    ServerName,
    Port,
    Interface,
    DestinationOption,
    Ttl,
    RecursionDesired,
    Ad,
    Cd,
    Do,
    Payload,
    EdnsVersion,
    EdnsFlags,
    EdnsOption,
    Nsid,
    ClientSubnet,
    Cookies,
    Resolv,
    Retry,
    Timeout,
    PrefixProbe,
    Qbuf,
    Noabuf,
    Id,
    Bundle,
    Output,
    Record,
    Replay,
    NoEffect,
    Refused,
    /// `starla`: a type or class by name or number, an SOA query for the root.
    TypeWord,
    ClassWord,
    RootSoa,
    NoRecursion,
}

/// Type words (`dns-measurement` 1.3).
const TYPES: [(&str, u16); 32] = [
    ("a", 1),
    ("ns", 2),
    ("cname", 5),
    ("ptr", 12),
    ("mx", 15),
    ("txt", TXT),
    ("rp", 17),
    ("afsdb", 18),
    ("sig", 24),
    ("aaaa", 28),
    ("loc", 29),
    ("srv", 33),
    ("naptr", 35),
    ("cert", 37),
    ("dname", 39),
    ("apl", 42),
    ("ds", 43),
    ("sshfp", 44),
    ("ipseckey", 45),
    ("rrsig", 46),
    ("nsec", 47),
    ("dnskey", 48),
    ("nsec3", 50),
    ("nsec3param", 51),
    ("tlsa", 52),
    ("spf", 99),
    ("tsig", 250),
    ("axfr", 252),
    ("any", 255),
    ("caa", 257),
    ("ta", 32768),
    ("dlv", 32769),
];

/// The words that both dialects understand alike.
fn common_words() -> Vec<Opt<Key>> {
    let mut words = vec![
        Opt::flag('4', Key::V4),
        Opt::flag('6', Key::V6),
        Opt::flag('a', Key::Both),
        Opt::flag('h', Key::Own("hostname.bind.")).or_long("hostname.bind"),
        Opt::flag('i', Key::Own("id.server.")).or_long("id.server"),
        Opt::flag('b', Key::Own("version.bind.")).or_long("version.bind"),
        Opt::long_flag("version.server", Key::Own("version.server.")),
        Opt::long_value("type", Key::Type),
        Opt::long_value("class", Key::Class),
        Opt::long_value("query", Key::Query),
        Opt::long_flag("tls", Key::Tls),
        Opt::long_flag("https", Key::Https),
        Opt::long_value("https-path", Key::HttpsPath),
        Opt::long_value("sni-cert-name", Key::ServerName),
        Opt::long_value("port", Key::Port),
        Opt::value('I', Key::Interface),
        Opt::long_value("ipv6-dest-option", Key::DestinationOption),
        Opt::long_flag("ttl", Key::Ttl),
        Opt::long_flag("ad", Key::Ad),
        Opt::long_flag("cd", Key::Cd),
        Opt::flag('d', Key::Do).or_long("do"),
        Opt::value('e', Key::Payload).or_long("edns0"),
        Opt::long_value("edns-version", Key::EdnsVersion),
        Opt::long_value("edns-flags", Key::EdnsFlags),
        Opt::long_value("edns-option", Key::EdnsOption),
        Opt::flag('n', Key::Nsid).or_long("nsid"),
        Opt::long_flag("client-subnet", Key::ClientSubnet),
        Opt::long_flag("cookies", Key::Cookies),
        Opt::long_flag("resolv", Key::Resolv),
        Opt::long_value("retry", Key::Retry),
        Opt::long_value("timeout", Key::Timeout),
        Opt::long_flag("p_probe_id", Key::PrefixProbe),
        Opt::long_flag("qbuf", Key::Qbuf),
        Opt::long_flag("noabuf", Key::Noabuf),
        Opt::value('A', Key::Id),
        Opt::value('B', Key::Bundle),
        Opt::value('O', Key::Output).or_long("out-file"),
        Opt::long_flag("evdns", Key::NoEffect),
        Opt::long_value("write-response", Key::Record),
        Opt::long_value("read-response", Key::Replay),
        // In the reference's tables, and refused when used.
        Opt::flag('q', Key::Refused),
        Opt::flag('?', Key::Refused),
        Opt::value('D', Key::Refused),
        Opt::long_value("key", Key::Refused),
        Opt::long_flag("c_output", Key::Refused),
    ];
    words.extend(TYPES.map(|(word, number)| Opt::long_value(word, Key::Named(number))));
    words
}

/// The words of one dialect.
pub(super) fn words(dialect: Dialect) -> Vec<Opt<Key>> {
    let mut words = common_words();
    words.extend(match dialect {
        Dialect::Reference => [
            Opt::flag('t', Key::Tcp),
            Opt::flag('R', Key::RecursionDesired),
            Opt::flag('r', Key::Own("version.server.")),
            Opt::value('s', Key::Named(SOA)).or_long("soa"),
        ]
        .to_vec(),
        Dialect::Starla => vec![
            Opt::flag('T', Key::Tcp),
            Opt::flag('R', Key::NoRecursion),
            Opt::flag('r', Key::Do),
            Opt::value('t', Key::TypeWord),
            Opt::value('c', Key::ClassWord),
            Opt::value('s', Key::Named(SOA)),
            Opt::long_flag("soa", Key::RootSoa),
        ],
    });
    words
}

/// The value of `-t` in the `starla` dialect.
pub(super) fn type_of(given: &Given<'_, Key>) -> Result<u16, SpecError> {
    let word = given.value.to_ascii_lowercase();
    let named = [("soa", SOA), ("key", 25)];
    let known = TYPES.iter().chain(&named).find(|(name, _)| *name == word);
    known
        .map(|(_, number)| *number)
        .or_else(|| word.strip_prefix("type").unwrap_or(&word).parse().ok())
        .ok_or_else(|| given.bad("a record type such as `AAAA`, `TYPE28` or `28`"))
}

/// The value of `-c` in the `starla` dialect.
pub(super) fn class_of(given: &Given<'_, Key>) -> Result<u16, SpecError> {
    let word = given.value.to_ascii_lowercase();
    match word.as_str() {
        "in" => Ok(INTERNET),
        "ch" | "chaos" => Ok(CHAOS),
        "hs" => Ok(4),
        "any" => Ok(255),
        _ => {
            let number = word.strip_prefix("class").unwrap_or(&word).parse();
            number.map_err(|_| given.bad("a class such as `IN`, `CH` or a number"))
        }
    }
}
