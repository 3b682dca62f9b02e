//! The options of `evping`.

use std::time::Duration;

use crate::{
    dialect::Dialect,
    measurement::{
        Common, Rules, SpecError,
        args::{self, Opt},
        machine::Family,
    },
};

/// Octets after the ICMP header that the payload of a request takes at least: timestamp, index, cookie.
pub(crate) const MIN_SIZE: u32 = 32;
/// Octets after the ICMP header at most.
pub(crate) const MAX_SIZE: u32 = 4068;

/// The checked options of one `evping` command (`packet-measurements` section 2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The target as typed.
    pub target: String,
    /// Which addresses of the target: `-4` or `-6`, never both.
    pub family: Family,
    /// `-c`: echo requests to send. 0 sends none.
    pub count: u32,
    /// `-s` as given: octets after the ICMP header. [`wire_size`](Self::wire_size) is what is sent.
    pub size: u32,
    /// `-i`: distance between requests, and the time to wait for each reply.
    pub interval: Duration,
    /// `-I`: address or interface to bind to.
    pub bind: Option<String>,
    /// `-p`: put a text that names the probe into the payload.
    pub sign: bool,
    /// `-e`: resolve the target once and keep the address for later runs. The official probe does so when it loads
    /// the command, and drops the command if that fails; here the first run resolves and carries the address on,
    /// so that loading a table waits for nobody and a name that is not there yet shows as an error result.
    pub resolve_once: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Key {
    V4,
    V6,
    Count,
    Size,
    Interval,
    Bind,
    Sign,
    ResolveOnce,
    Ignored,
    Id,
    Bundle,
    Output,
    Replay,
    Record,
}

/// `-I` is the interface in one dialect and the interval in the other, which keeps `-i` as well.
fn table(dialect: Dialect) -> [Opt<Key>; 14] {
    [
        Opt::flag('4', Key::V4),
        Opt::flag('6', Key::V6),
        Opt::value('c', Key::Count),
        Opt::value('s', Key::Size),
        Opt::value('i', Key::Interval),
        Opt::value(
            'I',
            match dialect {
                Dialect::Reference => Key::Bind,
                Dialect::Starla => Key::Interval,
            },
        ),
        Opt::flag('p', Key::Sign),
        Opt::flag('e', Key::ResolveOnce),
        Opt::flag('r', Key::Ignored),
        Opt::value('A', Key::Id),
        Opt::value('B', Key::Bundle),
        Opt::value('O', Key::Output),
        Opt::value('R', Key::Replay),
        Opt::value('W', Key::Record),
    ]
}

impl Options {
    /// Reads the words after `evping`.
    ///
    /// The `starla` dialect has other defaults (IPv4, 64 octets) and takes `-I` for the interval in
    /// milliseconds. It calls `-A` required; a run by hand without it is still useful, so both dialects then leave
    /// the id block out.
    ///
    /// # Errors
    /// The first word that cannot be accepted.
    pub fn parse(words: &[&str], rules: &Rules) -> Result<(Common, Self), SpecError> {
        let words = args::read(&table(rules.dialect), words)?;
        let mut common = Common::default();
        let (mut v4, mut v6) = (false, false);
        let (mut count, mut interval) = (3, 1000);
        let mut size = match rules.dialect {
            Dialect::Reference => 0,
            Dialect::Starla => 64,
        };
        let mut bind = None;
        let (mut sign, mut resolve_once) = (false, false);
        for option in &words.options {
            match option.key {
                Key::V4 => v4 = true,
                Key::V6 => v6 = true,
                Key::Count => count = option.number()?,
                Key::Size => size = option.number()?,
                Key::Interval => {
                    interval = option.number()?;
                    if !(1..=60_000).contains(&interval) {
                        return Err(option.bad("milliseconds, 1 to 60000"));
                    }
                }
                Key::Bind => bind = Some(option.value.to_owned()),
                Key::Sign => sign = true,
                Key::ResolveOnce => resolve_once = true,
                Key::Ignored => {}
                Key::Id => common.id = Some(option.id()?),
                Key::Bundle => common.bundle = Some(option.id()?),
                Key::Output => common.output = Some(option.output_file(rules)?),
                Key::Replay => common.replay = Some(option.recording(rules)?),
                Key::Record => common.record = Some(option.recording(rules)?),
            }
        }
        let family = match (rules.dialect, v4, v6) {
            (_, true, _) | (Dialect::Starla, false, false) => Family::V4,
            (_, false, true) | (Dialect::Reference, false, false) => Family::V6,
        };
        let options = Self {
            target: words.target()?.to_owned(),
            family,
            count,
            size,
            interval: Duration::from_millis(interval.into()),
            bind,
            sign,
            resolve_once,
        };
        Ok((common, options))
    }

    /// Octets after the ICMP header of each request.
    #[must_use]
    pub fn wire_size(&self) -> u32 {
        self.size.clamp(MIN_SIZE, MAX_SIZE)
    }
}
