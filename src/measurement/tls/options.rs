//! The options of `evsslgetcert` (`http-tls-measurements` section 3.1). The protocol reference's page lists some of
//! them and no others, so both dialects take the same words.

use crate::{
    measurement::{
        Common, Rules, SpecError,
        args::{self, Opt},
        machine::Family,
    },
    wire::tls::{self, Version},
};

/// The checked options of one `evsslgetcert` command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The target as typed.
    pub target: String,
    /// Which addresses of the target are tried.
    pub family: Family,
    /// `-h`: the server name to send; without it none is sent.
    pub server_name: Option<String>,
    /// `-p`: the port as text: results echo it. A number or a service name.
    pub port: String,
    /// `-V`: the version that the hello names. With it the modern hello is not sent.
    pub version: Option<Version>,
    /// `-i`: an address or an interface to send from.
    pub interface: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    V4,
    V6,
    Id,
    Bundle,
    ServerName,
    Port,
    Version,
    Interface,
    Output,
    Replay,
    Record,
}

const TABLE: [Opt<Key>; 11] = [
    Opt::flag('4', Key::V4),
    Opt::flag('6', Key::V6),
    Opt::value('A', Key::Id),
    Opt::value('B', Key::Bundle),
    Opt::value('h', Key::ServerName),
    Opt::value('p', Key::Port),
    Opt::value('V', Key::Version),
    Opt::value('i', Key::Interface),
    Opt::value('O', Key::Output),
    Opt::value('R', Key::Replay),
    Opt::value('W', Key::Record),
];

const VERSIONS: [(&str, Version); 4] = [
    ("TLS1.2", tls::TLS_1_2),
    ("TLS1.1", tls::TLS_1_1),
    ("TLS1.0", tls::TLS_1_0),
    ("SSL3.0", tls::SSL_3_0),
];

impl Options {
    /// Reads the words after `evsslgetcert`.
    ///
    /// # Errors
    /// The first word that cannot be accepted.
    pub fn parse(words: &[&str], rules: &Rules) -> Result<(Common, Self), SpecError> {
        let words = args::read(&TABLE, words)?;
        let mut common = Common::default();
        let mut options = Self {
            target: words.target()?.to_owned(),
            family: Family::Both,
            server_name: None,
            port: "443".to_owned(),
            version: None,
            interface: None,
        };
        for given in &words.options {
            match given.key {
                Key::V4 => options.family = Family::V4,
                Key::V6 => options.family = Family::V6,
                Key::Id => common.id = Some(given.id()?),
                Key::Bundle => common.bundle = Some(given.id()?),
                Key::ServerName => options.server_name = Some(given.value.to_owned()),
                Key::Port => options.port = given.value.to_owned(),
                Key::Version => {
                    let named =
                        |(name, _): &&(&str, Version)| name.eq_ignore_ascii_case(given.value);
                    let (_, version) = VERSIONS
                        .iter()
                        .find(named)
                        .ok_or_else(|| given.bad("TLS1.2, TLS1.1, TLS1.0 or SSL3.0"))?;
                    options.version = Some(*version);
                }
                Key::Interface => options.interface = Some(given.value.to_owned()),
                Key::Output => common.output = Some(given.output_file(rules)?),
                Key::Replay => common.replay = Some(given.recording(rules)?),
                Key::Record => common.record = Some(given.recording(rules)?),
            }
        }
        Ok((common, options))
    }
}
