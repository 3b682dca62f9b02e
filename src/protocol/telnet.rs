//! The command connection's bytes: greeting, prompts, lines, reply texts (`controller-protocol` sections 4.1
//! to 4.3).
//!
//! The official daemon reads lines as they come: option bytes spoil the login, CR LF ends two lines, a line
//! of more than 4067 bytes blocks the connection for ever. Here option sequences are decoded and skipped,
//! CR LF is one line end and an over-long line costs only itself (section 10, rows 42 and 43).

/// The longest line taken, without its end. The official probe's limit is 4067.
pub const MAX_LINE: usize = 64 * 1024;

/// The login that a controller gives.
pub const LOGIN: &str = "C_TO_P_TEST_V1";

/// Asks for the password.
pub const PASSWORD_PROMPT: &[u8] = b"\r\nPassword: ";

/// What every reply ends with.
const REPLY_END: &str = "\r\n\r\n";

/// DO ECHO, DO NAWS, WILL ECHO, WILL SUPPRESS-GO-AHEAD (RFC 854, 857, 858, 1073).
const OPTIONS: [u8; 12] = [
    0xff, 0xfd, 0x01, 0xff, 0xfd, 0x1f, 0xff, 0xfb, 0x01, 0xff, 0xfb, 0x03,
];

/// The part of the login prompt from `Probe` to `)` is cut at so many bytes.
const MAX_NAME: usize = 79;

/// What is said on accept, at once: option bytes, banner, login prompt. An unknown probe number is -1.
#[must_use]
pub fn greeting(probe_id: Option<u32>, hostname: &str) -> Vec<u8> {
    let id = probe_id.map_or_else(|| "-1".to_owned(), |id| id.to_string());
    let name = format!("Probe {id} ({hostname})");
    let mut bytes = OPTIONS.to_vec();
    bytes.extend_from_slice(b"Atlas probe, see http://atlas.ripe.net/\r\n\r\n");
    bytes.extend_from_slice(&name.as_bytes()[..name.len().min(MAX_NAME)]);
    bytes.extend_from_slice(b" login: ");
    bytes
}

/// One received line, without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Its bytes.
    Text(Vec<u8>),
    /// It was longer than [`MAX_LINE`] and is lost.
    TooLong,
}

/// Bytes to lines. The lines do not depend on how the bytes were chunked.
#[derive(Clone, Debug, Default)]
pub struct LineDecoder {
    option: Sequence,
    line: Vec<u8>,
    spoilt: Spoilt,
    after_cr: bool,
}

/// Where in a telnet option sequence we are (RFC 854, 855).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sequence {
    /// In none.
    #[default]
    Outside,
    /// After IAC.
    Iac,
    /// After IAC WILL, WONT, DO or DONT: one more byte.
    Verb,
    /// After IAC SB.
    Subnegotiation,
    /// After IAC within a subnegotiation.
    SubnegotiationIac,
}

/// What became of the line at hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Spoilt {
    #[default]
    No,
    /// It holds a NUL: it is dropped without a word.
    Nul,
    /// It is too long: that is reported at its end.
    TooLong,
}

const IAC: u8 = 0xff;
const SE: u8 = 0xf0;
const SB: u8 = 0xfa;
const WILL: u8 = 0xfb;
const DONT: u8 = 0xfe;

impl LineDecoder {
    /// A decoder at the start of a connection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes, gives the lines that they complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Line> {
        bytes
            .iter()
            .filter_map(|&byte| self.data(byte).and_then(|byte| self.text(byte)))
            .collect()
    }

    /// Bytes kept of a line that is not complete yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.line.len()
    }

    /// Takes a byte of the connection, gives it back if it is data rather than part of an option sequence.
    fn data(&mut self, byte: u8) -> Option<u8> {
        let (next, data) = match (self.option, byte) {
            (Sequence::Outside, IAC) => (Sequence::Iac, None),
            (Sequence::Outside, _) => (Sequence::Outside, Some(byte)),
            (Sequence::Iac, IAC) => (Sequence::Outside, Some(IAC)),
            (Sequence::Iac, SB) => (Sequence::Subnegotiation, None),
            (Sequence::Iac, WILL..=DONT) => (Sequence::Verb, None),
            (Sequence::Iac | Sequence::Verb, _) => (Sequence::Outside, None),
            (Sequence::Subnegotiation, IAC) => (Sequence::SubnegotiationIac, None),
            (Sequence::SubnegotiationIac, SE) => (Sequence::Outside, None),
            (Sequence::Subnegotiation | Sequence::SubnegotiationIac, _) => {
                (Sequence::Subnegotiation, None)
            }
        };
        self.option = next;
        data
    }

    /// Takes a byte of a line, gives the line if it ends it.
    fn text(&mut self, byte: u8) -> Option<Line> {
        let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
        match byte {
            // The second half of CR LF or CR NUL.
            b'\n' | 0 if after_cr => None,
            b'\r' | b'\n' => self.end(),
            // The NUL behind a line's end: some senders send the end of their string with it.
            0 if self.line.is_empty() && self.spoilt == Spoilt::No => None,
            0 => {
                self.spoil(Spoilt::Nul);
                None
            }
            _ if self.spoilt != Spoilt::No => None,
            _ if self.line.len() == MAX_LINE => {
                self.spoil(Spoilt::TooLong);
                None
            }
            _ => {
                self.line.push(byte);
                None
            }
        }
    }

    /// The first thing that spoils a line decides what becomes of it.
    fn spoil(&mut self, how: Spoilt) {
        if self.spoilt == Spoilt::No {
            self.spoilt = how;
            self.line = Vec::new();
        }
    }

    fn end(&mut self) -> Option<Line> {
        let line = std::mem::take(&mut self.line);
        match std::mem::take(&mut self.spoilt) {
            Spoilt::No => Some(Line::Text(line)),
            Spoilt::Nul => None,
            Spoilt::TooLong => Some(Line::TooLong),
        }
    }
}

/// What the probe answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// End of the request.
    Ok,
    /// Wrong password.
    BadPassword,
    /// No such command.
    BadCommand,
    /// The path rule is violated.
    BadPath,
    /// Path too long.
    NameTooLong,
    /// Directory missing.
    UnableToCreateNewCrontab,
    /// Could not be stored.
    IoError,
    /// Known to the official probe, which never sends it.
    CrontabBusy,
    /// RELOAD after a remount that an unprivileged probe cannot do.
    BadFwFile,
    /// The answer to RELOAD.
    BadRemount,
}

impl Reply {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Ok,
        Self::BadPassword,
        Self::BadCommand,
        Self::BadPath,
        Self::NameTooLong,
        Self::UnableToCreateNewCrontab,
        Self::IoError,
        Self::CrontabBusy,
        Self::BadFwFile,
        Self::BadRemount,
    ];

    /// The word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::BadPassword => "BAD_PASSWORD",
            Self::BadCommand => "BAD_COMMAND",
            Self::BadPath => "BAD_PATH",
            Self::NameTooLong => "NAME_TOO_LONG",
            Self::UnableToCreateNewCrontab => "UNABLE_TO_CREATE_NEW_CRONTAB",
            Self::IoError => "IO_ERROR",
            Self::CrontabBusy => "CRONTAB_BUSY",
            Self::BadFwFile => "BAD_FW_FILE",
            Self::BadRemount => "BAD_REMOUNT",
        }
    }

    /// The bytes on the wire: the word, CR LF, CR LF.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        format!("{}{REPLY_END}", self.word()).into_bytes()
    }

    /// The reply with this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reply| reply.word() == word)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(bytes: &[u8]) -> Vec<Line> {
        LineDecoder::new().push(bytes)
    }

    fn texts(texts: &[&[u8]]) -> Vec<Line> {
        texts.iter().map(|text| Line::Text(text.to_vec())).collect()
    }

    #[test]
    fn the_greeting_to_the_byte() {
        let greeting_bytes = greeting(Some(1_015_186), "hostname");
        assert_eq!(
            greeting_bytes[..12],
            *b"\xff\xfd\x01\xff\xfd\x1f\xff\xfb\x01\xff\xfb\x03"
        );
        assert_eq!(
            greeting_bytes[12..],
            *b"Atlas probe, see http://atlas.ripe.net/\r\n\r\nProbe 1015186 (hostname) login: "
        );
    }

    #[test]
    fn an_unknown_probe_number_is_minus_one_and_a_long_name_is_cut() {
        assert!(greeting(None, "h").ends_with(b"\r\n\r\nProbe -1 (h) login: "));
        let long = greeting(Some(7), &"h".repeat(100));
        let prompt = String::from_utf8_lossy(&long[12..]).into_owned();
        let prompt = prompt.split("\r\n\r\n").nth(1).unwrap().to_owned();
        assert_eq!(prompt, format!("Probe 7 ({} login: ", "h".repeat(79 - 9)));
    }

    #[test]
    fn lf_cr_crlf_and_cr_nul_end_one_line() {
        assert_eq!(
            lines(b"a\nb\rc\r\nd\r\0e\n\nf"),
            texts(&[b"a", b"b", b"c", b"d", b"e", b""])
        );
        assert_eq!(lines(b"a\r\rb\n"), texts(&[b"a", b"", b"b"]));
        assert_eq!(lines(b"a\n\rb\n"), texts(&[b"a", b"", b"b"]));
        assert_eq!(lines(b"\r\n"), texts(&[b""]));
    }

    #[test]
    fn option_sequences_are_skipped_and_a_doubled_iac_is_a_byte() {
        assert_eq!(
            lines(
                b"\xff\xfb\x01\xff\xfd\x03C_TO\xff\xfa\x1f\0\x50\xff\xff\n\r\xff\xf0_P\xff\xf1\n"
            ),
            texts(&[b"C_TO_P"])
        );
        assert_eq!(lines(b"a\xff\xffb\n"), texts(&[b"a\xffb"]));
        assert_eq!(lines(b"a\r\xff\xf1\nb\n"), texts(&[b"a", b"b"]));
    }

    #[test]
    fn a_nul_behind_a_line_end_is_dropped_and_a_line_holding_one_too() {
        assert_eq!(lines(b"a\n\0b\n"), texts(&[b"a", b"b"]));
        assert_eq!(lines(b"a\0b\nc\n"), texts(&[b"c"]));
        assert_eq!(lines(b"a\0\nc\n"), texts(&[b"c"]));
    }

    #[test]
    fn an_over_long_line_is_lost_to_its_end_and_reported_once() {
        let mut bytes = vec![b'x'; MAX_LINE];
        bytes.extend_from_slice(b"\n");
        assert_eq!(lines(&bytes), texts(&[&bytes[..MAX_LINE]]));
        let mut bytes = vec![b'x'; MAX_LINE + 1];
        bytes.extend_from_slice(b"\0yyy\nnext\n");
        assert_eq!(lines(&bytes), [Line::TooLong, Line::Text(b"next".to_vec())]);
    }

    #[test]
    fn an_endless_line_takes_no_more_than_its_bound() {
        let mut decoder = LineDecoder::new();
        for _ in 0..100 {
            assert_eq!(decoder.push(&[b'x'; 4096]), []);
            assert!(decoder.pending() <= MAX_LINE);
        }
        assert_eq!(decoder.push(b"\n"), [Line::TooLong]);
    }

    #[test]
    fn replies_end_in_two_line_ends() {
        assert_eq!(Reply::Ok.bytes(), b"OK\r\n\r\n");
        assert_eq!(Reply::BadPassword.bytes(), b"BAD_PASSWORD\r\n\r\n");
        for reply in Reply::ALL {
            assert_eq!(Reply::from_word(reply.word()), Some(reply));
        }
        assert_eq!(Reply::from_word("NO"), None);
    }

    fn telnet_bytes() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            4 => any::<u8>(),
            2 => Just(IAC),
            1 => prop_oneof![Just(SB), Just(SE), Just(WILL), Just(DONT)],
            2 => prop_oneof![Just(b'\r'), Just(b'\n'), Just(0)],
            3 => b'a'..=b'z',
        ];
        proptest::collection::vec(byte, 0..300)
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_chunking(bytes in telnet_bytes(), cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8)) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut decoder = LineDecoder::new();
            let chunked: Vec<Line> = cuts.windows(2).flat_map(|cut| decoder.push(&bytes[cut[0]..cut[1]])).collect();
            prop_assert_eq!(chunked, lines(&bytes));
        }

        #[test]
        fn plain_lines_come_as_they_were_sent(sent in proptest::collection::vec("[ -~]{0,60}", 0..10)) {
            let bytes: Vec<u8> = sent.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect();
            let expected: Vec<Line> = sent.iter().map(|line| Line::Text(line.clone().into_bytes())).collect();
            prop_assert_eq!(lines(&bytes), expected);
        }
    }
}
