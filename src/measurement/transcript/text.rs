//! Words, times and octets as transcripts write them.

use std::{str::FromStr, time::Duration};

use crate::{clock::UnixTime, measurement::format::quoted};

/// Octets of one packet or read at most.
const MAX_OCTETS: usize = 16 << 20;

/// The words of a line: separated by spaces, but not within quotes; what follows a lone `#` is a remark.
pub(super) fn words(line: &str) -> Result<Vec<&str>, &'static str> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let mut quoted = false;
        let mut escaped = false;
        let end = rest
            .find(|c: char| {
                if escaped {
                    escaped = false;
                } else if quoted && c == '\\' {
                    escaped = true;
                } else if c == '"' {
                    quoted = !quoted;
                }
                !quoted && c == ' '
            })
            .unwrap_or(rest.len());
        if quoted && end == rest.len() {
            return Err("quote that does not end");
        }
        let (word, more) = rest.split_at(end);
        if word == "#" {
            break;
        }
        words.push(word);
        rest = more.trim_start();
    }
    Ok(words)
}

/// A word of a command, quoted where it must be.
pub(super) fn quoted_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() && c != '"' && c != '\\';
    if word.is_empty() || word == "#" || !word.chars().all(plain) {
        quoted(word)
    } else {
        word.to_owned()
    }
}

/// What a word stands for: a JSON string if it is quoted, itself if it is not.
pub(super) fn unquoted(word: &str) -> Result<String, &'static str> {
    if word.starts_with('"') {
        serde_json::from_str(word).map_err(|_| "bad quoted text")
    } else {
        Ok(word.to_owned())
    }
}

/// The words after an event's name: values by position, and `name=value`.
pub(super) struct Fields<'a> {
    words: &'a [&'a str],
}

impl<'a> Fields<'a> {
    pub(super) const fn new(words: &'a [&'a str]) -> Self {
        Self { words }
    }

    /// The values without a name.
    pub(super) fn plain(&self) -> impl Iterator<Item = &'a str> {
        self.words
            .iter()
            .copied()
            .filter(|word| word.starts_with('"') || !word.contains('='))
    }

    /// The value without a name at this place.
    pub(super) fn at<T: FromStr>(&self, place: usize) -> Result<T, &'static str> {
        self.plain()
            .nth(place)
            .and_then(|word| word.parse().ok())
            .ok_or("missing or bad value")
    }

    /// The value without a name at this place, as text.
    pub(super) fn text_at(&self, place: usize) -> Result<String, &'static str> {
        self.plain()
            .nth(place)
            .ok_or("missing text")
            .and_then(unquoted)
    }

    /// The value with this name as it stands.
    pub(super) fn raw(&self, name: &str) -> Option<&'a str> {
        self.words
            .iter()
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    /// The value with this name, if there is one.
    pub(super) fn named<T: FromStr>(&self, name: &str) -> Result<Option<T>, &'static str> {
        self.raw(name)
            .map(|value| value.parse().map_err(|_| "bad named value"))
            .transpose()
    }

    /// The octets from this place on.
    pub(super) fn octets_from(&self, place: usize) -> Result<Vec<u8>, &'static str> {
        self.plain()
            .skip(place)
            .try_fold(Vec::new(), |mut octets, word| {
                parse_octets(word, &mut octets)?;
                Ok(octets)
            })
    }
}

/// Octets in pairs, a pair that repeats more than four times written once.
pub(super) fn octets(bytes: &[u8]) -> String {
    let mut out = String::new();
    let mut pairs = bytes.chunks(2).peekable();
    while let Some(pair) = pairs.next() {
        let mut count = 1;
        let mut ahead = pairs.clone();
        while ahead.next() == Some(pair) {
            count += 1;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        for octet in pair {
            out += &format!("{octet:02x}");
        }
        if count > 4 {
            out += &format!("*{count}");
            pairs.by_ref().take(count - 1).for_each(drop);
        }
    }
    out
}

/// Octets without spaces, for a field among others.
pub(super) fn octets_in_one(bytes: &[u8]) -> String {
    bytes.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Adds the octets of one word: `0800`, `0000*12`.
pub(super) fn parse_octets(word: &str, octets: &mut Vec<u8>) -> Result<(), &'static str> {
    let (digits, count) = match word.split_once('*') {
        Some((digits, count)) => (digits, count.parse().map_err(|_| "bad repetition")?),
        None => (word, 1usize),
    };
    let bad = "bad octets";
    let octet = |pair: &[u8]| {
        let [high, low] = pair else { return Err(bad) };
        let digit = |c: u8| char::from(c).to_digit(16).ok_or(bad);
        u8::try_from(digit(*high)? << 4 | digit(*low)?).map_err(|_| bad)
    };
    let group = digits
        .as_bytes()
        .chunks(2)
        .map(octet)
        .collect::<Result<Vec<u8>, _>>()?;
    if group
        .len()
        .saturating_mul(count)
        .saturating_add(octets.len())
        > MAX_OCTETS
    {
        return Err("too many octets");
    }
    octets.extend(group.repeat(count));
    Ok(())
}

/// Seconds with as many decimals as it takes, at least `least`.
pub(super) fn seconds(time: Duration, least: usize) -> String {
    decimals(&time.as_secs().to_string(), time.subsec_nanos(), least)
}

/// Unix time in seconds with as many decimals as it takes.
pub(super) fn unix(time: UnixTime) -> String {
    if time < UnixTime::default() {
        let before = UnixTime::from_nanos(-time.nanos());
        return format!("-{}", unix(before));
    }
    decimals(&time.secs().to_string(), time.subsec_nanos(), 0)
}

fn decimals(whole: &str, nanos: u32, least: usize) -> String {
    let digits = format!("{nanos:09}");
    let needed = digits.trim_end_matches('0').len().max(least);
    if needed == 0 {
        whole.to_owned()
    } else {
        format!("{whole}.{}", &digits[..needed])
    }
}

/// Seconds with up to nine decimals.
pub(super) fn seconds_after(text: &str) -> Option<Duration> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|octet| octet.is_ascii_digit());
    if !digits(whole) || !digits(decimals) || decimals.len() > 9 {
        return None;
    }
    Some(Duration::new(
        whole.parse().ok()?,
        format!("{decimals:0<9}").parse().ok()?,
    ))
}

/// Unix time in seconds with up to nine decimals.
pub(super) fn parse_unix(text: &str) -> Option<UnixTime> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let after = i128::try_from(seconds_after(text)?.as_nanos()).ok()?;
    Some(UnixTime::from_nanos(if negative { -after } else { after }))
}
