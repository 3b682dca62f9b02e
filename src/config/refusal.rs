//! From the text of a configuration file to a value, and why it cannot be used, in words that name the place and what
//! to write instead.

use std::{fmt, ops::Range};

use serde::de::DeserializeOwned;

/// Why a configuration's text cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The line, counted from 1, if it is known.
    pub line: Option<usize>,
    /// The section, as written; none before the first.
    pub section: Option<String>,
    /// What is wrong.
    pub what: What,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A key that there is not.
    Unknown {
        /// As written.
        key: String,
        /// What may have been meant.
        hint: Hint,
    },
    /// Anything else, in words.
    Other(String),
}

/// What may have been meant by an unknown key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// A key of the same section.
    Like(String),
    /// A key of this name stands in these sections; an empty one is the top of the file.
    Elsewhere(Vec<String>),
    /// There are these.
    Known(Vec<String>),
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        match &self.what {
            What::Unknown { key, hint } => {
                write!(f, "unknown key '{key}'")?;
                if let Some(section) = &self.section {
                    write!(f, " in [{section}]")?;
                }
                write!(f, "; {hint}")
            }
            What::Other(words) => match &self.section {
                Some(section) => write!(f, "in [{section}]: {words}"),
                None => f.write_str(words),
            },
        }
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Like(key) => write!(f, "did you mean '{key}'?"),
            Self::Elsewhere(sections) => {
                let places: Vec<String> = sections
                    .iter()
                    .map(|section| match section.as_str() {
                        "" => "at the top, before the first section".to_owned(),
                        section => format!("in [{section}]"),
                    })
                    .collect();
                write!(f, "it belongs {}", places.join(" or "))
            }
            Self::Known(keys) => write!(f, "known here are {}", keys.join(", ")),
        }
    }
}

/// What a library says of a `value` as a person would.
fn in_words(words: String, value: Option<&str>) -> String {
    let value = value.unwrap_or("this").trim();
    // The standard library's text.
    if words == "invalid socket address syntax" {
        format!("{value} is no address with its port: write for example \"127.0.0.1:9469\"")
    } else {
        words
    }
}

/// Reads a configuration of this type.
///
/// # Errors
/// The text is no TOML, has a key that the type does not know, or a value that it refuses.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Refusal> {
    toml::from_str(text).map_err(|error| {
        let place = error.span();
        let words = first_line(error.message());
        let section = place.as_ref().and_then(|place| section(text, place));
        let what = match unknown(&words) {
            Some((key, known)) => {
                let hint = hint::<T>(&key, section.as_deref().unwrap_or_default(), known);
                What::Unknown { key, hint }
            }
            None => What::Other(in_words(
                words,
                place.clone().and_then(|place| text.get(place)),
            )),
        };
        Refusal {
            line: place.map(|place| line(text, place.start)),
            section,
            what,
        }
    })
}

/// Words of several lines in one.
fn first_line(words: &str) -> String {
    words.lines().map(str::trim).collect::<Vec<_>>().join("; ")
}

/// The line of an offset, counted from 1.
fn line(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at).unwrap_or(text.as_bytes());
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

/// The section that a place lies in: the last header on a line of its own before it.
fn section(text: &str, place: &Range<usize>) -> Option<String> {
    let before = text.get(..place.start)?;
    before.lines().rev().find_map(|line| {
        let line = line.split('#').next().unwrap_or_default().trim();
        let name = line.strip_prefix('[')?.strip_suffix(']')?;
        Some(
            name.trim_start_matches('[')
                .trim_end_matches(']')
                .trim()
                .to_owned(),
        )
    })
}

/// The unknown key of a complaint, and the known ones.
fn unknown(words: &str) -> Option<(String, Vec<String>)> {
    let mut quoted = words.strip_prefix("unknown field ")?.split('`').skip(1);
    let key = quoted.next()?.to_owned();
    // Between two quoted words stands what is not quoted.
    Some((key, quoted.skip(1).step_by(2).map(str::to_owned).collect()))
}

fn hint<T: DeserializeOwned>(key: &str, section: &str, known: Vec<String>) -> Hint {
    let like = |known: &[String]| {
        let nearest = known.iter().min_by_key(|name| distance(key, name))?;
        // A third of the letters may differ, and one in any case.
        (distance(key, nearest) <= (nearest.len() / 3).max(1)).then(|| nearest.clone())
    };
    if let Some(name) = like(&known) {
        return Hint::Like(name);
    }
    let elsewhere: Vec<String> = sections::<T>()
        .into_iter()
        .filter(|(name, keys)| name != section && keys.iter().any(|known| known == key))
        .map(|(name, _)| name)
        .collect();
    if elsewhere.is_empty() {
        Hint::Known(known)
    } else {
        Hint::Elsewhere(elsewhere)
    }
}

/// What the type itself says of its sections and their keys; an empty name is the top. Sections that are lists are told
/// too.
fn sections<T: DeserializeOwned>() -> Vec<(String, Vec<String>)> {
    /// No configuration has it.
    const NO_KEY: &str = "no-such-key";
    let keys = |text: &str| {
        let error = toml::from_str::<T>(text).err()?;
        unknown(error.message()).map(|(_, known)| known)
    };
    let Some(top) = keys(&format!("{NO_KEY} = 0")) else {
        return Vec::new();
    };
    let mut sections = Vec::new();
    for name in &top {
        let known = keys(&format!("[{name}]\n{NO_KEY} = 0"))
            .or_else(|| keys(&format!("[[{name}]]\n{NO_KEY} = 0")));
        if let Some(known) = known {
            sections.push((name.clone(), known));
        }
    }
    sections.insert(0, (String::new(), top));
    sections
}

/// How many letters must be changed, added, left out, or swapped with their neighbour.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    // Nothing this long is a slip of the finger.
    if one.len().max(other.len()) > 64 {
        return usize::MAX;
    }
    let mut rows = vec![(0..=other.len()).collect::<Vec<usize>>()];
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let mut least = (rows[i][j] + usize::from(a != b))
                .min(rows[i][j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn refusal(text: &str) -> String {
        parse::<Config>(text).unwrap_err().to_string()
    }

    #[test]
    fn a_misspelt_key_is_told_with_place_and_suggestion() {
        for (text, words) in [
            (
                "# ours\n[upload]\nintervall = 5\n",
                "line 3: unknown key 'intervall' in [upload]; did you mean 'interval'?",
            ),
            (
                "data-dir = \"/x\"\n",
                "line 1: unknown key 'data-dir'; did you mean 'data_dir'?",
            ),
            (
                "[uplaod]\ninterval = 5\n",
                "line 1: unknown key 'uplaod'; did you mean 'upload'?",
            ),
            (
                "[[registration.servers]]\nhost = \"x\"\nhostkey = \"y\"\n",
                "line 3: unknown key 'hostkey' in [registration.servers]; did you mean 'host_key'?",
            ),
        ] {
            assert_eq!(refusal(text), words);
        }
    }

    #[test]
    fn a_key_in_the_wrong_section_is_told_where_it_belongs() {
        assert_eq!(
            refusal("[upload]\nmax_bytes = 5\n"),
            "line 2: unknown key 'max_bytes' in [upload]; it belongs in [spool] or in [tee]"
        );
        assert_eq!(
            refusal("[log]\nlevel = \"info\"\ndata_dir = \"/x\"\n"),
            "line 3: unknown key 'data_dir' in [log]; it belongs at the top, before the first section"
        );
    }

    #[test]
    fn a_key_like_no_other_is_told_what_there_is() {
        assert_eq!(
            refusal("[confine]\nfirewall = true\n"),
            "line 2: unknown key 'firewall' in [confine]; known here are landlock, seccomp"
        );
    }

    #[test]
    fn a_value_that_cannot_be_used_is_told_with_its_place() {
        let words = refusal("[upload]\ninterval = \"soon\"\n");
        assert!(
            words.starts_with("line 2: in [upload]: ") && words.contains("soon"),
            "{words}"
        );
        let words = refusal("[log]\nlevel = \"loud\"\n");
        assert!(
            words.contains("line 2") && words.contains("loud"),
            "{words}"
        );
        let words = refusal("[log\n");
        assert!(words.starts_with("line 1: "), "{words}");
    }

    #[test]
    fn a_slip_of_the_finger_is_one_step_away() {
        for (one, other, steps) in [
            ("", "", 0),
            ("a", "", 1),
            ("uplaod", "upload", 1),
            ("intervall", "interval", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(one, other), steps, "{one} {other}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[\\[\\]a-z_=\"#\n \\PC]{0,60}") {
            if let Err(refusal) = parse::<Config>(&text) {
                proptest::prop_assert!(!refusal.to_string().is_empty());
            }
        }
    }
}
