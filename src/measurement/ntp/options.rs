//! The options of `evntp` (`packet-measurements` section 4.1), the same in both dialects.

use std::time::Duration;

use crate::measurement::{
    Common, Rules, SpecError,
    args::{self, Given, Opt},
    machine::Family,
};

/// The checked options of one `evntp` command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The target as typed.
    pub target: String,
    /// One of the two families, never both.
    pub family: Family,
    /// `-c`: requests. Stored in 8 bits, so 300 acts as 44.
    pub count: u8,
    /// `-i`: interface or source address.
    pub interface: Option<String>,
    /// `-w`: how long to wait for each reply.
    pub wait: Duration,
    /// `-s`: octets of the extension field behind a request, 0 for none.
    pub extension: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    V4,
    V6,
    Count,
    Interface,
    Wait,
    Extension,
    Id,
    Bundle,
    Output,
    Replay,
    Record,
}

const TABLE: [Opt<Key>; 11] = [
    Opt::flag('4', Key::V4),
    Opt::flag('6', Key::V6),
    Opt::value('c', Key::Count),
    Opt::value('i', Key::Interface),
    Opt::value('w', Key::Wait),
    Opt::value('s', Key::Extension),
    Opt::value('A', Key::Id),
    Opt::value('B', Key::Bundle),
    Opt::value('O', Key::Output),
    Opt::value('R', Key::Replay),
    Opt::value('W', Key::Record),
];

impl Options {
    /// Reads the words after `evntp`.
    ///
    /// # Errors
    /// The first word that cannot be accepted.
    pub fn parse(words: &[&str], rules: &Rules) -> Result<(Common, Self), SpecError> {
        let words = args::read(&TABLE, words)?;
        let mut common = Common::default();
        let mut options = Self {
            target: words.target()?.to_owned(),
            family: Family::V4,
            count: 3,
            interface: None,
            wait: Duration::from_secs(1),
            extension: 0,
        };
        for given in &words.options {
            match given.key {
                Key::V4 if options.family == Family::V6 => {
                    return Err(SpecError::BadOptions("`-4` after `-6`".to_owned()));
                }
                Key::V4 => {}
                Key::V6 => options.family = Family::V6,
                Key::Count => [.., options.count] = given.number()?.to_be_bytes(),
                Key::Interface => options.interface = Some(given.value.to_owned()),
                Key::Wait => {
                    // Kept as microseconds in 32 bits.
                    let micros = given.number()?.wrapping_mul(1000);
                    options.wait = Duration::from_micros(micros.into());
                }
                Key::Extension => options.extension = extension(given)?,
                Key::Id => common.id = Some(given.id()?),
                Key::Bundle => common.bundle = Some(given.id()?),
                Key::Output => common.output = Some(given.output_file(rules)?),
                Key::Replay => common.replay = Some(given.recording(rules)?),
                Key::Record => common.record = Some(given.recording(rules)?),
            }
        }
        Ok((common, options))
    }
}

/// What an extension field may measure (RFC 7822).
fn extension(given: &Given<'_, Key>) -> Result<u16, SpecError> {
    let size = given.number()?;
    match u16::try_from(size) {
        Ok(0) => Ok(0),
        Ok(1..=27) => Err(given.bad("at least 28 octets (RFC 7822)")),
        Ok(size @ 28..=1184) if size.is_multiple_of(4) => Ok(size),
        Ok(28..=1184) => Err(given.bad("a multiple of 4 octets (RFC 7822)")),
        _ => Err(given.bad("at most 1184 octets")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{dialect::Dialect, measurement::tests::rules};

    fn parse(line: &str) -> Result<Options, SpecError> {
        let words: Vec<&str> = line.split_whitespace().collect();
        Options::parse(&words, &rules(Dialect::Reference)).map(|(_, options)| options)
    }

    #[test]
    fn defaults_are_three_requests_over_ipv4() {
        assert_eq!(
            parse("h").unwrap(),
            Options {
                target: "h".to_owned(),
                family: Family::V4,
                count: 3,
                interface: None,
                wait: Duration::from_secs(1),
                extension: 0,
            }
        );
    }

    #[test]
    fn counts_wrap_in_eight_bits() {
        assert_eq!(parse("-c 300 h").unwrap().count, 44);
        assert_eq!(parse("-c 256 h").unwrap().count, 0);
    }

    #[test]
    fn waits_wrap_in_thirty_two_bits_of_microseconds() {
        assert_eq!(
            parse("-w 4294968 h").unwrap().wait,
            Duration::from_micros(704)
        );
    }

    #[test]
    fn extension_fields_follow_rfc_7822() {
        for size in ["0", "28", "32", "1184"] {
            assert_eq!(
                parse(&format!("-s {size} h"))
                    .unwrap()
                    .extension
                    .to_string(),
                size
            );
        }
        for size in [
            "1", "27", "29", "30", "1185", "1188", "4049", "65536", "65564",
        ] {
            assert!(parse(&format!("-s {size} h")).is_err(), "{size}");
        }
    }

    #[test]
    fn the_first_family_may_be_corrected_the_other_way_is_refused() {
        assert_eq!(parse("-4 -6 h").unwrap().family, Family::V6);
        assert!(parse("-6 -4 h").is_err());
    }

    #[test]
    fn every_option_of_the_specification_is_taken() {
        let line = "-6 -c1 -i eth0 -w1 -s28 -A1 -B1 -O /home/atlas/data/new/7 -R /home/atlas/data/r \
                    -W /home/atlas/data/w h";
        assert_eq!(parse(line).unwrap().interface.as_deref(), Some("eth0"));
        assert!(parse("-p 1 h").is_err());
    }
}
