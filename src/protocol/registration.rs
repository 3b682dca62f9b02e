//! INIT: what the probe says to a registration server and what that answers (`controller-protocol`
//! sections 2.2 and 2.4). [`InitAnswer`] is what a controller answers to
//! its own INIT (section 3.1).

use std::{fmt, str::FromStr};

use super::answer::{
    Fields, First, Lines, WAIT_AFTER_UNEXPECTED, bounded, is_ipv4_text, is_ipv6_text, made_of,
};
pub use super::answer::{LineError, Note};
pub use super::init::{BadSessionId, InitAnswer, InitReply, InitVerdict, SessionId};

/// Architecture token of every software probe.
const ARCH: &str = "fluffy";
/// "Kernel" version of every software probe.
const KERNEL: u32 = 1000;
/// More than any INIT block needs.
const MAX_REQUEST: usize = 4096;

/// Why the probe registers (`controller-protocol` section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Nothing is known yet.
    New,
    /// The controller asked for it by writing to KEEP.
    ForceReg,
    /// The wait that was asked for is over.
    WaitOver,
    /// The assignment has run out.
    ReregisterTimerExpired,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::New,
        Self::ForceReg,
        Self::WaitOver,
        Self::ReregisterTimerExpired,
    ];

    /// The word in the INIT block.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::New => "NEW",
            Self::ForceReg => "FORCE_REG",
            Self::WaitOver => "WAIT_OVER",
            Self::ReregisterTimerExpired => "REREG_TIMER_EXPIRED",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Reason {
    type Err = RequestError;

    fn from_str(word: &str) -> Result<Self, RequestError> {
        Self::ALL
            .into_iter()
            .find(|reason| reason.word() == word)
            .ok_or_else(|| RequestError::Reason(word.to_owned()))
    }
}

/// The INIT block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Architecture: `fluffy` for every software probe.
    pub arch: String,
    /// "Kernel" version: 1000 for every software probe.
    pub kernel: u32,
    /// Firmware number.
    pub firmware: u32,
    /// `<ID>/<VERSION_ID>/<machine>`, perhaps with more behind it.
    pub sub_arch: String,
    /// Why.
    pub reason: Reason,
}

/// Why an INIT block is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Longer than any good one.
    #[error("an INIT block of {0} bytes, more than 4096")]
    TooLong(usize),
    /// Not text.
    #[error("the INIT block is not UTF-8 text")]
    NotText,
    /// Not the three lines.
    #[error("the INIT block has {0} lines instead of three, each ended by LF")]
    Lines(usize),
    /// Another word than expected.
    #[error("the INIT block has `{found}` where `{expected}` is expected")]
    Word {
        /// What should stand there.
        expected: &'static str,
        /// What does.
        found: String,
    },
    /// Not a number.
    #[error("the INIT block's {field} `{value}` is no number")]
    Number {
        /// Which field.
        field: &'static str,
        /// What was there.
        value: String,
    },
    /// A reason that is none.
    #[error(
        "unknown reason for registration `{0}`: NEW, FORCE_REG, WAIT_OVER or REREG_TIMER_EXPIRED"
    )]
    Reason(String),
}

impl Request {
    /// What a software probe sends. `sub_arch` is `<ID>/<VERSION_ID>/<machine>`, without blanks.
    #[must_use]
    pub fn software(firmware: u32, sub_arch: &str, reason: Reason) -> Self {
        Self {
            arch: ARCH.to_owned(),
            kernel: KERNEL,
            firmware,
            sub_arch: sub_arch
                .chars()
                .map(|c| if c.is_whitespace() { '_' } else { c })
                .collect(),
            reason,
        }
    }

    /// The three lines.
    #[must_use]
    pub fn render(&self) -> String {
        let Self {
            arch,
            kernel,
            firmware,
            sub_arch,
            reason,
        } = self;
        format!(
            "P_TO_R_INIT\nTOKEN_SPECS {arch} {kernel} {firmware} {sub_arch}\nREASON_FOR_REGISTRATION {reason}\n"
        )
    }

    /// Reads the three lines, or the same words in one line as the protocol reference prints them.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(bytes: &[u8]) -> Result<Self, RequestError> {
        if bytes.len() > MAX_REQUEST {
            return Err(RequestError::TooLong(bytes.len()));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| RequestError::NotText)?;
        let lines: Vec<&str> = text
            .strip_suffix('\n')
            .unwrap_or(text)
            .split('\n')
            .collect();
        if !matches!(lines.len(), 1 | 3) || (lines.len() == 3 && !text.ends_with('\n')) {
            return Err(RequestError::Lines(lines.len()));
        }
        if lines.len() == 3 {
            starts(lines[1], "TOKEN_SPECS")?;
            starts(lines[2], "REASON_FOR_REGISTRATION")?;
        }
        let mut words = lines
            .iter()
            .flat_map(|line| line.split(' '))
            .filter(|word| !word.is_empty());
        let mut next = || words.next().unwrap_or_default();
        literal(next(), "P_TO_R_INIT")?;
        literal(next(), "TOKEN_SPECS")?;
        let arch = next().to_owned();
        let kernel = number(next(), "kernel version")?;
        let firmware = number(next(), "firmware version")?;
        let sub_arch = next().to_owned();
        literal(next(), "REASON_FOR_REGISTRATION")?;
        let reason = next().parse()?;
        literal(next(), "")?;
        Ok(Self {
            arch,
            kernel,
            firmware,
            sub_arch,
            reason,
        })
    }
}

fn starts(line: &str, expected: &'static str) -> Result<(), RequestError> {
    literal(line.split(' ').next().unwrap_or_default(), expected)
}

fn literal(found: &str, expected: &'static str) -> Result<(), RequestError> {
    if found == expected {
        return Ok(());
    }
    Err(RequestError::Word {
        expected,
        found: found.to_owned(),
    })
}

fn number(word: &str, field: &'static str) -> Result<u32, RequestError> {
    Some(word)
        .filter(|word| word.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|word| word.parse().ok())
        .ok_or_else(|| RequestError::Number {
            field,
            value: word.to_owned(),
        })
}

/// Where the probe's controller is and how to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Controller {
    /// Name or address.
    pub host: String,
    /// SSH port.
    pub port: u16,
    /// Host key type, for example `ssh-rsa`.
    pub key_type: String,
    /// Host key, base64.
    pub key_blob: String,
}

/// A registration server's answer, as the probe understands it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What to do.
    pub verdict: Verdict,
    /// The probe's number, looked for in the whole answer.
    pub probe_id: Option<u32>,
    /// The server's clock, Unix seconds: `REGSERVER_TIMESTAMP`.
    pub server_time: Option<i64>,
    /// What was ignored or ended the reading, for the log.
    pub notes: Vec<Note>,
}

/// What a registration answer asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// `OK`, with what came along. No controller: known and not yet approved.
    Ok {
        /// The assignment.
        controller: Option<Controller>,
        /// After so many seconds register again, 100 to 2419200.
        reregister_secs: Option<u32>,
    },
    /// Come back later.
    Wait {
        /// In how many seconds, 100 to 2419200.
        secs: u32,
        /// Whether the server asked for it; otherwise the answer was none that is known (`REFUSED` among them).
        asked: bool,
    },
    /// Empty, or malformed from the start: as if nothing had been answered.
    Nothing,
}

impl Answer {
    /// Reads an answer. Never fails: what cannot be read says so in `notes`.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let mut lines = Lines::new(bytes);
        let mut notes = Vec::new();
        let probe_id = probe_id(lines.text(), &mut notes);
        let mut server_time = None;
        let verdict = match lines.first() {
            First::Empty => Verdict::Nothing,
            First::Malformed(error) => {
                notes.push(Note::Stopped(error));
                Verdict::Nothing
            }
            First::Wait(secs) => Verdict::Wait { secs, asked: true },
            First::Unexpected(line) => {
                notes.push(Note::Unexpected(line));
                Verdict::Wait {
                    secs: WAIT_AFTER_UNEXPECTED,
                    asked: false,
                }
            }
            First::Ok => assignment(&mut lines, &mut server_time, &mut notes),
        };
        Self {
            verdict,
            probe_id,
            server_time,
            notes,
        }
    }
}

/// `PROBE_ID <n>` at the start of any line, whatever the rest of the answer is worth.
fn probe_id(text: &[u8], notes: &mut Vec<Note>) -> Option<u32> {
    let rest = text
        .split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(b"PROBE_ID "))?;
    let rest = String::from_utf8_lossy(&rest[..rest.len().min(40)]);
    let number = rest.trim_start_matches(' ');
    let digits = number.len()
        - number
            .trim_start_matches(|c: char| c.is_ascii_digit())
            .len();
    let id = number[..digits].parse().ok();
    if id.is_none() {
        notes.push(Note::BadProbeId(rest.into_owned()));
    }
    id
}

fn assignment(lines: &mut Lines, server_time: &mut Option<i64>, notes: &mut Vec<Note>) -> Verdict {
    let (mut controller, mut reregister_secs) = (None, None);
    lines.fields(notes, |mut fields, notes| {
        match fields.tag() {
            "CONTROLLER" => {
                let parsed = controller_fields(fields)?;
                if controller.is_none() {
                    controller = Some(parsed);
                } else {
                    notes.push(Note::Repeated("CONTROLLER".to_owned()));
                }
            }
            "REREGISTER" => {
                let secs = bounded(fields.positive("seconds", 5)?);
                fields.end()?;
                reregister_secs = Some(secs);
            }
            "PROBE_ID" => {}
            // Whatever follows it (`controller-protocol` section 2.4).
            "REGSERVER_TIMESTAMP" => {
                *server_time = i64::try_from(fields.number("timestamp", 12)?).ok();
            }
            tag => {
                let tag = tag.to_owned();
                check_unneeded(fields)?;
                notes.push(Note::Ignored(tag));
            }
        }
        Ok(())
    });
    Verdict::Ok {
        controller,
        reregister_secs,
    }
}

fn controller_fields(mut fields: Fields) -> Result<Controller, LineError> {
    let controller = Controller {
        host: fields.word_if("host", is_host)?,
        port: fields.port()?,
        key_type: fields.word_if("host key type", is_key_type)?,
        key_blob: fields.word_if("host key", |word| {
            made_of(word, 512, |byte| {
                byte.is_ascii_alphanumeric() || b"+/=".contains(&byte)
            })
        })?,
    };
    fields.end()?;
    Ok(controller)
}

/// A name of at most 32 characters without upper case, or the text of an address.
fn is_host(word: &str) -> bool {
    made_of(word, 32, |byte| {
        byte.is_ascii_digit() || byte.is_ascii_lowercase() || b".-".contains(&byte)
    }) || is_ipv4_text(word)
        || (word.contains(':') && is_ipv6_text(word))
}

/// The official probe takes `ssh-rsa` only, and official servers send nothing else. A private controller may
/// have a smaller key of another type; taking those too can never change what a genuine answer means.
fn is_key_type(word: &str) -> bool {
    matches!(
        word,
        "ssh-rsa"
            | "ssh-ed25519"
            | "ecdsa-sha2-nistp256"
            | "ecdsa-sha2-nistp384"
            | "ecdsa-sha2-nistp521"
    )
}

/// Lines that a software probe does not act on still end the reading where the official probe's would.
fn check_unneeded(mut fields: Fields) -> Result<(), LineError> {
    let is_hash = |word: &str| word.len() == 32 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let is_file = |word: &str| {
        made_of(word, 64, |byte| {
            byte.is_ascii_digit() || byte.is_ascii_lowercase() || b"._-".contains(&byte)
        })
    };
    match fields.tag() {
        "FIRMWARE_APPS" | "FIRMWARE_KERNEL" => {
            fields.number("version", 5)?;
            fields.word_if("hash type", |word| word == "md5")?;
            fields.word_if("hash", is_hash)?;
            fields.word_if("hash", is_hash)?;
            fields.word_if("file", is_file)?;
        }
        "DHCPV4" => {
            const LABELS: [&str; 5] = [
                "IPV4ADDRESS",
                "IPV4NETMASK",
                "IPV4NETWORK",
                "IPV4BROADCAST",
                "IPV4GATEWAY",
            ];
            if fields.word_if("flag", is_flag)? == "False" {
                for label in LABELS {
                    fields.word_if(label, |word| word == label)?;
                    fields.word_if(label, is_ipv4_text)?;
                }
            }
        }
        "DHCPV6" => {
            if fields.word_if("flag", is_flag)? == "False" {
                fields.word_if("IPV6ADDRESS", |word| word == "IPV6ADDRESS")?;
                fields.word_if("IPV6ADDRESS", is_ipv6_text)?;
                fields.word_if("IPV6PREFIXLEN", |word| word == "IPV6PREFIXLEN")?;
                fields.number("IPV6PREFIXLEN", 3)?;
                fields.word_if("IPV6GATEWAY", |word| word == "IPV6GATEWAY")?;
                fields.word_if("IPV6GATEWAY", is_ipv6_text)?;
            }
        }
        "DNS_SERVERS" => {
            fields.word_if("address", |word| is_ipv4_text(word) || is_ipv6_text(word))?;
            while fields.more() {
                fields.word_if("address", |word| is_ipv4_text(word) || is_ipv6_text(word))?;
            }
        }
        _ => return Ok(()),
    }
    fields.end()
}

fn is_flag(word: &str) -> bool {
    matches!(word, "True" | "False")
}

/// A registration server's answer, as the server means it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Go to this controller.
    Assigned {
        /// Where.
        controller: Controller,
        /// For how long, seconds; 1 to 99999 can be told, so anything else is brought within.
        reregister_secs: Option<u32>,
        /// The probe's number.
        probe_id: u32,
    },
    /// Known, not yet approved.
    Unapproved,
    /// Come back in so many seconds; 1 to 999999 can be told.
    Wait(u32),
    /// Go away, with the reason.
    Refused(String),
}

impl Reply {
    /// The bytes: LF only, and no comment after the key.
    #[must_use]
    pub fn render(&self) -> String {
        match self {
            Self::Assigned {
                controller,
                reregister_secs,
                probe_id,
            } => {
                let Controller {
                    host,
                    port,
                    key_type,
                    key_blob,
                } = controller;
                let mut text = format!("OK\nCONTROLLER {host} {port} {key_type} {key_blob}\n");
                if let Some(secs) = reregister_secs {
                    text += &format!("REREGISTER {}\n", (*secs).clamp(1, 99_999));
                }
                text + &format!("PROBE_ID {probe_id}\n")
            }
            Self::Unapproved => "OK\n".to_owned(),
            Self::Wait(secs) => wait(*secs),
            Self::Refused(why) => refused(why),
        }
    }
}

pub(super) fn wait(secs: u32) -> String {
    format!("WAIT\nTIMEOUT {}\n", secs.clamp(1, 999_999))
}

pub(super) fn refused(why: &str) -> String {
    format!("REFUSED\n{}\n", why.replace(['\n', '\r'], " "))
}

#[cfg(test)]
#[path = "registration_tests.rs"]
mod tests;
