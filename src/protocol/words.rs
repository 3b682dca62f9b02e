//! How a command becomes words (`controller-protocol` sections 5.4 to 5.6, `dns-measurement` section 1.1).
//!
//! The three daemons of the official probe split differently. The measurement daemons know double quotes
//! around a whole word and nothing else: no escapes, no quotes within a word. The utility daemon knows both
//! quotes and redirection.

/// Most bytes of a measurement command.
const MAX_MEASUREMENT: usize = 511;
/// Most words of a measurement command, its verb included.
const MAX_MEASUREMENT_WORDS: usize = 63;
/// Most words of a one-off command, its verb included.
const MAX_ONE_OFF_WORDS: usize = 61;
/// Most bytes of a utility command.
const MAX_UTILITY: usize = 4095;
/// Most words of a utility command, its verb included.
const MAX_UTILITY_WORDS: usize = 39;

/// Why a command has no words; the text is the `reason` of a 9807 line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum WordsError {
    /// No such verb.
    #[error("command not found")]
    NotFound,
    /// Too many bytes.
    #[error("command line too big")]
    TooBig,
    /// Too many words.
    #[error("too many arguments")]
    TooMany,
    /// A quote is not closed.
    #[error("end of string not found")]
    Unterminated,
}

/// The words of a measurement command in a table.
///
/// # Errors
/// More than 511 bytes or 63 words, or an open quote.
pub fn split_measurement(command: &str) -> Result<Vec<String>, WordsError> {
    if command.len() > MAX_MEASUREMENT {
        return Err(WordsError::TooBig);
    }
    split(command, MAX_MEASUREMENT_WORDS)
}

/// The words of a one-off command.
///
/// The official daemon reads its queue in pieces of 255 bytes, so that the rest of a longer line becomes a
/// command of its own. A controller that knows us may send up to the length of a line; one that does not
/// never sends more than 255 bytes.
///
/// # Errors
/// More than 61 words, or an open quote.
pub fn split_one_off(command: &str) -> Result<Vec<String>, WordsError> {
    split(command, MAX_ONE_OFF_WORDS)
}

fn split(command: &str, max: usize) -> Result<Vec<String>, WordsError> {
    let mut words = Vec::new();
    let mut rest = command.trim_start_matches(is_blank);
    while !rest.is_empty() {
        if words.len() == max {
            return Err(WordsError::TooMany);
        }
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or(WordsError::Unterminated)?,
            None => rest.split_at(rest.find(is_blank).unwrap_or(rest.len())),
        };
        words.push(word.to_owned());
        rest = after.trim_start_matches(is_blank);
    }
    Ok(words)
}

fn is_blank(c: char) -> bool {
    c.is_ascii_whitespace()
}

/// One word as [`split_measurement`] and [`split_one_off`] read it back. A double quote cannot be written.
#[must_use]
pub fn quote(word: &str) -> String {
    if word.is_empty() || word.contains(is_blank) {
        format!("\"{word}\"")
    } else {
        word.to_owned()
    }
}

/// The words of a utility command in the `main` table, and where its output goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UtilityWords {
    /// The words without the redirection.
    pub words: Vec<String>,
    /// `>` or `>>` and the file.
    pub redirect: Option<Redirect>,
}

/// Where a utility's output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// `>>`
    pub append: bool,
    /// The path as sent.
    pub file: String,
}

/// The words of a utility command in the `main` table. Single and double quotes group, also within a word;
/// of several redirections the last counts; one without a file counts for nothing.
///
/// # Errors
/// More than 4095 bytes or 39 words, or an open quote.
pub fn split_utility(command: &str) -> Result<UtilityWords, WordsError> {
    if command.len() > MAX_UTILITY {
        return Err(WordsError::TooBig);
    }
    let mut utility = UtilityWords::default();
    let mut pending: Option<bool> = None;
    let mut chars = command.chars().peekable();
    loop {
        while chars.next_if(|&c| is_blank(c)).is_some() {}
        if chars.peek().is_none() {
            return Ok(utility);
        }
        if chars.next_if_eq(&'>').is_some() {
            pending = Some(chars.next_if_eq(&'>').is_some());
            continue;
        }
        let word = utility_word(&mut chars)?;
        if let Some(append) = pending.take() {
            utility.redirect = Some(Redirect { append, file: word });
        } else if utility.words.len() == MAX_UTILITY_WORDS {
            return Err(WordsError::TooMany);
        } else {
            utility.words.push(word);
        }
    }
}

fn utility_word(chars: &mut std::iter::Peekable<std::str::Chars>) -> Result<String, WordsError> {
    let mut word = String::new();
    while let Some(c) = chars.next_if(|&c| !is_blank(c)) {
        if !matches!(c, '"' | '\'') {
            word.push(c);
            continue;
        }
        loop {
            match chars.next() {
                None => return Err(WordsError::Unterminated),
                Some(end) if end == c => break,
                Some(inner) => word.push(inner),
            }
        }
    }
    Ok(word)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn double_quotes_group_around_a_whole_word() {
        assert_eq!(
            split_measurement(
                r#"evping -4  -c 3	-A "1001" -O /home/atlas/data/new/7 193.0.14.129 "#
            ),
            Ok([
                "evping",
                "-4",
                "-c",
                "3",
                "-A",
                "1001",
                "-O",
                "/home/atlas/data/new/7",
                "193.0.14.129"
            ]
            .map(str::to_owned)
            .to_vec())
        );
        assert_eq!(
            split_measurement(r#""a b" "" c"d e' f'"#),
            Ok(["a b", "", "c\"d", "e'", "f'"].map(str::to_owned).to_vec())
        );
        assert_eq!(split_measurement("  "), Ok(vec![]));
        assert_eq!(
            split_measurement(r#"evping "a b"#),
            Err(WordsError::Unterminated)
        );
    }

    #[test]
    fn limits_have_their_reasons() {
        assert!(split_measurement(&format!("evping {}", "x".repeat(504))).is_ok());
        assert_eq!(
            split_measurement(&format!("evping {}", "x".repeat(505))),
            Err(WordsError::TooBig)
        );
        assert!(split_measurement(&vec!["x"; 63].join(" ")).is_ok());
        assert_eq!(
            split_measurement(&vec!["x"; 64].join(" ")),
            Err(WordsError::TooMany)
        );
        assert!(split_one_off(&vec!["xxxxxxxxxx"; 61].join(" ")).is_ok());
        assert_eq!(
            split_one_off(&vec!["x"; 62].join(" ")),
            Err(WordsError::TooMany)
        );
        assert!(split_utility(&vec!["x"; 39].join(" ")).is_ok());
        assert_eq!(
            split_utility(&vec!["x"; 40].join(" ")),
            Err(WordsError::TooMany)
        );
        assert_eq!(split_utility(&"x".repeat(4096)), Err(WordsError::TooBig));
        assert_eq!(WordsError::TooBig.to_string(), "command line too big");
        assert_eq!(WordsError::TooMany.to_string(), "too many arguments");
        assert_eq!(
            WordsError::Unterminated.to_string(),
            "end of string not found"
        );
        assert_eq!(WordsError::NotFound.to_string(), "command not found");
    }

    #[test]
    fn utilities_know_both_quotes_and_redirection() {
        let utility = split_utility(
            r#"condmv -A 'RESULT 9901 ongoing' x"y z"w '' >> /home/atlas/data/new/main"#,
        )
        .unwrap();
        assert_eq!(
            utility.words,
            ["condmv", "-A", "RESULT 9901 ongoing", "xy zw", ""]
        );
        assert_eq!(
            utility.redirect,
            Some(Redirect {
                append: true,
                file: "/home/atlas/data/new/main".to_owned()
            })
        );
        let redirect = |command: &str| split_utility(command).unwrap().redirect;
        assert_eq!(
            redirect("a >f b"),
            Some(Redirect {
                append: false,
                file: "f".to_owned()
            })
        );
        assert_eq!(redirect("a >>"), None);
        assert_eq!(redirect("a '>' x>y"), None);
        assert_eq!(split_utility("a 'b"), Err(WordsError::Unterminated));
        assert_eq!(split_utility("a \"b'"), Err(WordsError::Unterminated));
    }

    proptest! {
        #[test]
        fn words_survive_the_trip(words in proptest::collection::vec("[!#-~][ #-~]{0,6}|", 0..20)) {
            let line: Vec<String> = words.iter().map(|word| quote(word)).collect();
            prop_assert_eq!(split_measurement(&line.join(" ")), Ok(words));
        }

        #[test]
        fn any_text_is_split_or_refused(text: String) {
            let _ = split_measurement(&text);
            let _ = split_one_off(&text);
            let _ = split_utility(&text);
        }
    }
}
