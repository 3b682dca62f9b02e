//! One command of the controller (`controller-protocol` sections 4.1, 4.3, 4.5; section 10 row 21).
//!
//! Words are case-sensitive and followed by exactly one space; what comes after is taken as it is. What a
//! table's lines mean is none of this file's business ([`super::crontab`]).

use serde::{Deserialize, Serialize};

use super::telnet::Reply;

/// What stands for the spool directory in any path that a controller sends, and the official probe's own.
const SPOOLS: [&str; 2] = ["/home/atlas", "/var/spool/ripe-atlas"];
/// Where tables and queues live below either.
const CRONS: &str = "/crons/";
/// A rebased file name has to stay below so many bytes.
const MAX_PATH: usize = 256;
/// Most words that a JSON command may bring along.
const MAX_ARGS: usize = 60;

/// A command line of an authenticated connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `CRONTAB <dir>`: CRONLINEs follow that replace the table.
    Crontab {
        /// The table: the path below `crons/`, for example `7` or `main`.
        table: String,
    },
    /// `CRONLINE <text>`
    Cronline {
        /// The line, not checked here.
        text: String,
    },
    /// `ONEOFF <file> <command>`
    OneOff {
        /// The path below `crons/`, for example `oneoff`.
        file: String,
        /// The command.
        command: String,
    },
    /// `REBOOT`
    Reboot,
    /// `RELOAD`
    Reload,
    /// The empty line: end of the request.
    End,
    /// A line that starts with `{`.
    Json(JsonCommand),
}

impl Command {
    /// Reads a line. Bytes that are not UTF-8 are replaced: no word that counts has any.
    ///
    /// # Errors
    /// Why it is refused; [`CommandError::reply`] is what to answer.
    pub fn parse(line: &[u8]) -> Result<Self, CommandError> {
        let line = String::from_utf8_lossy(line);
        if let Some(text) = line.strip_prefix("CRONLINE ") {
            return Ok(Self::Cronline {
                text: text.to_owned(),
            });
        }
        if let Some(dir) = line.strip_prefix("CRONTAB ") {
            return crontab(dir);
        }
        if let Some(rest) = line.strip_prefix("ONEOFF ") {
            return one_off(rest);
        }
        if line.starts_with('{') {
            return JsonCommand::parse(&line).map(Self::Json);
        }
        match &*line {
            "REBOOT" => Ok(Self::Reboot),
            "RELOAD" => Ok(Self::Reload),
            "" => Ok(Self::End),
            _ => Err(CommandError::Unknown(shown(&line))),
        }
    }

    /// The line, without its end, as a controller sends it.
    #[must_use]
    pub fn render(&self) -> String {
        match self {
            Self::Crontab { table } => format!("CRONTAB {}{CRONS}{table}", SPOOLS[0]),
            Self::Cronline { text } => format!("CRONLINE {text}"),
            Self::OneOff { file, command } => {
                format!("ONEOFF {}{CRONS}{file} {command}", SPOOLS[0])
            }
            Self::Reboot => "REBOOT".to_owned(),
            Self::Reload => "RELOAD".to_owned(),
            Self::End => String::new(),
            Self::Json(json) => json.render(),
        }
    }
}

fn crontab(dir: &str) -> Result<Command, CommandError> {
    let below = below_crons(dir)?;
    let length = SPOOLS[1].len() + CRONS.len() + below.len() + "/root.new".len();
    if length >= MAX_PATH {
        return Err(CommandError::NameTooLong(length));
    }
    let table = plain(below);
    if is_directory(&table) {
        Ok(Command::Crontab { table })
    } else {
        Err(CommandError::NoSuchDirectory(shown(dir)))
    }
}

fn one_off(rest: &str) -> Result<Command, CommandError> {
    let (file, command) = rest
        .split_once([' ', '\t'])
        .ok_or_else(|| CommandError::Unknown(shown(rest)))?;
    let length = file.len() + ".new".len();
    if length >= MAX_PATH {
        return Err(CommandError::NameTooLong(length));
    }
    let below = below_crons(file)?;
    let name = plain(below);
    let directory = name.rsplit_once('/').map_or("", |(directory, _)| directory);
    if name.is_empty() || is_directory(&name) || !is_directory(directory) {
        return Err(CommandError::NoSuchDirectory(shown(file)));
    }
    Ok(Command::OneOff {
        file: name,
        command: command.trim_start_matches([' ', '\t']).to_owned(),
    })
}

/// The path rule: below `crons/` of the spool or of its alias, and no way up from there.
fn below_crons(path: &str) -> Result<&str, CommandError> {
    let inside = !path.contains("/../") && !path.ends_with("/..");
    SPOOLS
        .iter()
        .filter_map(|spool| path.strip_prefix(spool)?.strip_prefix(CRONS))
        .next()
        .filter(|_| inside)
        .ok_or_else(|| CommandError::BadPath(shown(path)))
}

/// The same path without what a file system overlooks.
fn plain(below: &str) -> String {
    let parts: Vec<&str> = below
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    parts.join("/")
}

/// The directories that a probe has below `crons/`, and `crons/` itself.
fn is_directory(name: &str) -> bool {
    let numbered = || {
        name.parse::<u8>()
            .is_ok_and(|number| (2..=20).contains(&number) && number.to_string() == name)
    };
    name.is_empty() || name == "main" || numbered()
}

/// Why a command is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No such command.
    #[error("unknown command `{0}`")]
    Unknown(String),
    /// A path outside `crons/`.
    #[error("path `{0}` is not below /home/atlas/crons/")]
    BadPath(String),
    /// A path too long.
    #[error("a file name of {0} bytes, 256 or more")]
    NameTooLong(usize),
    /// A directory that no probe has.
    #[error("no directory for `{0}`: main and 2 to 20 exist")]
    NoSuchDirectory(String),
    /// Not the JSON that is known.
    #[error("bad JSON command: {0}")]
    Json(String),
}

impl CommandError {
    /// What to answer.
    #[must_use]
    pub const fn reply(&self) -> Reply {
        match self {
            Self::Unknown(_) | Self::Json(_) => Reply::BadCommand,
            Self::BadPath(_) => Reply::BadPath,
            Self::NameTooLong(_) => Reply::NameTooLong,
            Self::NoSuchDirectory(_) => Reply::UnableToCreateNewCrontab,
        }
    }
}

/// The beginning of an offending text, fit for a log.
fn shown(text: &str) -> String {
    text.chars()
        .take(80)
        .map(|c| if c.is_control() { '.' } else { c })
        .collect()
}

/// A measurement as a JSON line: run once, at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JsonCommand {
    /// Which type.
    #[serde(rename = "type")]
    pub kind: JsonKind,
    /// The measurement's number.
    pub msm_id: u64,
    /// What to measure.
    pub target: String,
    /// 4 or 6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub af: Option<u8>,
    /// How many packets, for the types that count any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packets: Option<u32>,
    /// Option words to put before the target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
}

/// A measurement type by the name that JSON commands use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JsonKind {
    /// `ping`
    Ping,
    /// `traceroute`
    Traceroute,
    /// `dns`
    Dns,
    /// `http`
    Http,
    /// `tls`
    Tls,
    /// `ntp`
    Ntp,
}

impl JsonKind {
    /// The controller's name for the type.
    #[must_use]
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Ping => "evping",
            Self::Traceroute => "evtraceroute",
            Self::Dns => "evtdig",
            Self::Http => "evhttpget",
            Self::Tls => "evsslgetcert",
            Self::Ntp => "evntp",
        }
    }

    /// Whether the type has an option for the number of packets, `-c`. (The others either send what they
    /// have to or mean something else by that letter.)
    const fn counts_packets(self) -> bool {
        matches!(self, Self::Ping | Self::Traceroute | Self::Ntp)
    }
}

impl JsonCommand {
    fn parse(line: &str) -> Result<Self, CommandError> {
        let json: Self =
            serde_json::from_str(line).map_err(|error| CommandError::Json(error.to_string()))?;
        let refuse = |why: &str| Err(CommandError::Json(why.to_owned()));
        if json.af.is_some_and(|af| !matches!(af, 4 | 6)) {
            return refuse("`af` is 4 or 6");
        }
        if json.packets == Some(0) {
            return refuse("`packets` is at least 1");
        }
        // A target that reads as an option would be taken for one.
        if json.target.is_empty() || json.target.starts_with('-') {
            return refuse("`target` is a name, an address or a URL");
        }
        if json.args.len() > MAX_ARGS {
            return refuse("more than 60 words in `args`");
        }
        let unprintable = |word: &String| word.contains(char::is_control);
        if unprintable(&json.target) || json.args.iter().any(unprintable) {
            return refuse("a control character in `target` or `args`");
        }
        Ok(json)
    }

    /// The line, without its end.
    #[must_use]
    pub fn render(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers always serialise")
    }

    /// The words of the same command in the controller's language, verb first, target last.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut words = vec![self.kind.verb().to_owned()];
        words.extend(self.af.map(|af| format!("-{af}")));
        if let Some(packets) = self.packets.filter(|_| self.kind.counts_packets()) {
            words.extend(["-c".to_owned(), packets.to_string()]);
        }
        words.extend(["-A".to_owned(), self.msm_id.to_string()]);
        words.extend(self.args.iter().cloned());
        words.push(self.target.clone());
        words
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(line: &str) -> Result<Command, CommandError> {
        Command::parse(line.as_bytes())
    }

    fn reply(line: &str) -> Reply {
        parse(line).expect_err(line).reply()
    }

    fn table(name: &str) -> Result<Command, CommandError> {
        Ok(Command::Crontab {
            table: name.to_owned(),
        })
    }

    #[test]
    fn the_commands_of_a_production_controller() {
        assert_eq!(parse("CRONTAB /home/atlas/crons/main"), table("main"));
        assert_eq!(parse("CRONTAB /home/atlas/crons/7"), table("7"));
        assert_eq!(parse("CRONTAB /var/spool/ripe-atlas/crons/2"), table("2"));
        let line = "240 269 1777902395 UNIFORM 3 evping -4 -c 3 -A \"1001\" -O /home/atlas/data/new/7 193.0.14.129";
        assert_eq!(
            parse(&format!("CRONLINE {line}")),
            Ok(Command::Cronline {
                text: line.to_owned()
            })
        );
        assert_eq!(
            parse(
                "ONEOFF /home/atlas/crons/oneoff evping -6 -c 3 -s 48 -i 1000 -A \"222024177\" 2001:db8::1"
            ),
            Ok(Command::OneOff {
                file: "oneoff".to_owned(),
                command: "evping -6 -c 3 -s 48 -i 1000 -A \"222024177\" 2001:db8::1".to_owned()
            })
        );
        assert_eq!(parse(""), Ok(Command::End));
        assert_eq!(parse("REBOOT"), Ok(Command::Reboot));
        assert_eq!(parse("RELOAD"), Ok(Command::Reload));
    }

    #[test]
    fn words_are_exact() {
        for line in [
            "crontab /home/atlas/crons/7",
            "CRONTAB",
            "CRONLINE",
            "CRONLINE\t1",
            "ONEOFF",
            "ONEOFF /home/atlas/crons/oneoff",
            "REBOOT ",
            "RELOAD now",
            " ",
            "HELLO",
            "\u{fffd}",
        ] {
            assert_eq!(reply(line), Reply::BadCommand, "{line:?}");
        }
    }

    #[test]
    fn paths_stay_below_crons() {
        for path in [
            "/home/atlas/crons",
            "/home/atlas/cron/7",
            "/home/atlas/crons/../status",
            "/home/atlas/crons/7/..",
            "/home/atlas/crons/..",
            "/etc/7",
            "home/atlas/crons/7",
            "/var/spool/ripe-atlas/data/7",
            "",
        ] {
            assert_eq!(reply(&format!("CRONTAB {path}")), Reply::BadPath, "{path}");
            assert_eq!(
                reply(&format!("ONEOFF {path} evping x")),
                Reply::BadPath,
                "{path}"
            );
        }
        assert_eq!(parse("CRONTAB /home/atlas/crons/7/"), table("7"));
        assert_eq!(parse("CRONTAB /home/atlas/crons//./7"), table("7"));
        assert_eq!(parse("CRONTAB /home/atlas/crons/"), table(""));
    }

    #[test]
    fn directories_that_no_probe_has_cannot_take_a_crontab() {
        for name in ["1", "21", "07", "7x", "7/8", "oneoff", "Main", "..."] {
            assert_eq!(
                reply(&format!("CRONTAB /home/atlas/crons/{name}")),
                Reply::UnableToCreateNewCrontab,
                "{name}"
            );
        }
        for file in ["nowhere/queue", "", "7", "main/"] {
            assert_eq!(
                reply(&format!("ONEOFF /home/atlas/crons/{file} evping x")),
                Reply::UnableToCreateNewCrontab,
                "{file}"
            );
        }
    }

    #[test]
    fn long_names_are_refused_crontabs_after_and_one_offs_before_the_path_rule() {
        let name = |length: usize| "x".repeat(length);
        // 21 bytes of spool, 7 of /crons/, 9 of /root.new.
        let crontab = |length| reply(&format!("CRONTAB /home/atlas/crons/{}", name(length)));
        assert_eq!(crontab(255 - 21 - 7 - 9), Reply::UnableToCreateNewCrontab);
        assert_eq!(crontab(256 - 21 - 7 - 9), Reply::NameTooLong);
        assert_eq!(reply(&format!("CRONTAB /{}", name(300))), Reply::BadPath);
        assert_eq!(reply(&format!("ONEOFF /{} x", name(250))), Reply::BadPath);
        assert_eq!(
            reply(&format!("ONEOFF /{} x", name(251))),
            Reply::NameTooLong
        );
    }

    #[test]
    fn the_json_command_of_the_protocol_reference() {
        let line = r#"{"type":"ping","msm_id":1001,"target":"8.8.8.8","af":4,"packets":3}"#;
        let Ok(Command::Json(json)) = parse(line) else {
            panic!("{line}")
        };
        assert_eq!(json.words().join(" "), "evping -4 -c 3 -A 1001 8.8.8.8");
        assert_eq!(Command::Json(json).render(), line);
    }

    #[test]
    fn json_commands_use_the_options_that_the_type_has() {
        let words = |line: &str| match parse(line) {
            Ok(Command::Json(json)) => json.words().join(" "),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            words(
                r#"{"type":"dns","msm_id":5,"target":"192.0.2.53","packets":3,"args":["--query","a.example."]}"#
            ),
            "evtdig -A 5 --query a.example. 192.0.2.53"
        );
        assert_eq!(
            words(r#"{"type":"http","msm_id":5,"target":"http://a.example/","af":6,"packets":2}"#),
            "evhttpget -6 -A 5 http://a.example/"
        );
        assert_eq!(
            words(r#"{"target":"a.example","type":"tls","msm_id":5,"args":["-p","8443"]}"#),
            "evsslgetcert -A 5 -p 8443 a.example"
        );
        assert_eq!(
            words(r#" {"type":"ntp","msm_id":0,"target":"a.example","packets":1}"#.trim()),
            "evntp -c 1 -A 0 a.example"
        );
        assert_eq!(
            words(r#"{"type":"traceroute","msm_id":5,"target":"a.example","packets":1,"args":[]}"#),
            "evtraceroute -c 1 -A 5 a.example"
        );
    }

    #[test]
    fn other_json_is_a_bad_command() {
        for line in [
            "{",
            "{}",
            r#"{"type":"ping","msm_id":1,"target":"x"} trailing"#,
            r#"{"type":"whois","msm_id":1,"target":"x"}"#,
            r#"{"type":"Ping","msm_id":1,"target":"x"}"#,
            r#"{"type":"ping","msm_id":1,"target":"x","size":9}"#,
            r#"{"type":"ping","type":"dns","msm_id":1,"target":"x"}"#,
            r#"{"type":"ping","target":"x"}"#,
            r#"{"type":"ping","msm_id":1}"#,
            r#"{"type":"ping","msm_id":-1,"target":"x"}"#,
            r#"{"type":"ping","msm_id":"1","target":"x"}"#,
            r#"{"type":"ping","msm_id":1,"target":""}"#,
            r#"{"type":"ping","msm_id":1,"target":"-c"}"#,
            r#"{"type":"ping","msm_id":1,"target":"x","af":5}"#,
            r#"{"type":"ping","msm_id":1,"target":"x","packets":0}"#,
            r#"{"type":"ping","msm_id":1,"target":"x","args":"-c 1"}"#,
            r#"{"type":"ping","msm_id":1,"target":"x","args":["a\u0000b"]}"#,
        ] {
            assert_eq!(reply(line), Reply::BadCommand, "{line}");
        }
    }

    fn commands() -> impl Strategy<Value = Command> {
        let name = prop_oneof![
            Just("main".to_owned()),
            (2u8..=20).prop_map(|number| number.to_string())
        ];
        prop_oneof![
            name.prop_map(|table| Command::Crontab { table }),
            "[ -~]{0,80}".prop_map(|text| Command::Cronline { text }),
            "[!-~][ -~]{0,80}".prop_map(|command| Command::OneOff {
                file: "oneoff".to_owned(),
                command
            }),
            Just(Command::Reboot),
            Just(Command::Reload),
            Just(Command::End),
            (
                any::<u64>(),
                "[a-z.]{1,20}",
                proptest::collection::vec("[ -~]{0,9}", 0..4)
            )
                .prop_map(|(msm_id, target, args)| Command::Json(JsonCommand {
                    kind: JsonKind::Dns,
                    msm_id,
                    target,
                    af: Some(6),
                    packets: None,
                    args
                })),
        ]
    }

    proptest! {
        #[test]
        fn the_probe_reads_what_the_controller_renders(command in commands()) {
            prop_assert_eq!(parse(&command.render()), Ok(command));
        }

        #[test]
        fn any_line_is_taken_or_refused(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Command::parse(&line);
            for word in ["CRONTAB ", "ONEOFF ", "ONEOFF /home/atlas/crons/", "{"] {
                let _ = Command::parse(&[word.as_bytes(), &line].concat());
            }
        }
    }
}
