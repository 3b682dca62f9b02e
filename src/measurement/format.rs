//! How result lines write values: the C library's `%g`, numeric addresses, JSON strings, and the envelope that
//! the packet tools share (`packet-measurements` section 1.3).

use std::{
    fmt::{self, Write},
    net::{IpAddr, Ipv6Addr},
};

use super::Head;

/// A result line in the making: members in order, joined at the end.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// The members so far, with commas between them.
    members: String,
}

/// When a run was, as its envelope tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct When {
    /// Unix time in seconds (`time`).
    pub time: i64,
    /// Unix time of the end in seconds (`endtime`), where the type has it.
    pub endtime: Option<i64>,
    /// Whole seconds since the clock was last confirmed (`lts`).
    pub lts: i64,
}

impl Line {
    /// A line that begins with the id block, or with nothing if there is no id.
    #[must_use]
    pub fn new(head: &Head, when: When) -> Self {
        let mut line = Self::default();
        let Some(id) = &head.id else { return line };
        line.push(format_args!("\"id\":{}", quoted(id)));
        line.push(&head.version);
        line.push(format_args!("\"lts\":{}", when.lts));
        line.push(format_args!("\"time\":{}", when.time));
        if let Some(endtime) = when.endtime {
            line.push(format_args!("\"endtime\":{endtime}"));
        }
        if let Some(bundle) = &head.bundle {
            // As a JSON number: without leading zeros, and never without a digit.
            let digits = bundle.trim_start_matches('0');
            line.push(format_args!(
                "\"bundle\":{}",
                if digits.is_empty() { "0" } else { digits }
            ));
        }
        line
    }

    /// Adds a member, written out with its name.
    pub fn push(&mut self, member: impl fmt::Display) {
        let separator = if self.members.is_empty() { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(self.members, "{separator}{member}");
    }

    /// Adds the target as typed and, unless it is a literal, the milliseconds of its resolution.
    pub fn push_target(&mut self, target: &str, ttr: Option<f64>) {
        self.push(format_args!("\"dst_name\":{}", quoted(target)));
        self.push_ttr(ttr);
    }

    /// Adds the milliseconds of the target's resolution, unless it is a literal.
    pub fn push_ttr(&mut self, ttr: Option<f64>) {
        if let Some(ttr) = ttr {
            self.push(format_args!("\"ttr\":{ttr:.6}"));
        }
    }

    /// The line, with its line end.
    #[must_use]
    pub fn finish(&self) -> String {
        ["RESULT { ", &self.members, " }\n"].concat()
    }
}

/// The items of a list, or of a list in an object: two spaces between the brackets if there are none.
#[must_use]
pub fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let mut text = String::from("[ ");
    for (index, item) in items.into_iter().enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{item}");
    }
    text + " ]"
}

/// The text as a JSON string, quotes included. Octets that JSON allows as they are stay as they are.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            c if u32::from(c) < 0x20 || c == '\u{7f}' => {
                let _ = write!(json, "\\u{:04x}", u32::from(c));
            }
            c => json.push(c),
        }
    }
    json.push('"');
    json
}

/// An address as the C library prints it: like Rust but for the IPv4-compatible form (`::192.0.2.1`).
#[must_use]
pub fn address(address: IpAddr) -> String {
    match address {
        IpAddr::V6(v6) => match v6.segments() {
            [0, 0, 0, 0, 0, 0, high, low] if high != 0 => {
                let [a, b] = high.to_be_bytes();
                let [c, d] = low.to_be_bytes();
                format!("::{a}.{b}.{c}.{d}")
            }
            _ => Ipv6Addr::to_string(&v6),
        },
        IpAddr::V4(v4) => v4.to_string(),
    }
}

/// The number as C prints it with `%g`: six significant digits, no trailing zeros, an exponent of at least two
/// digits below 0.0001 and from a million on.
#[must_use]
pub fn g(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return if number.is_finite() { "0" } else { "null" }.to_owned();
    }
    let scientific = format!("{number:.5e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        let decimals = usize::try_from(5 - exponent).unwrap_or(0);
        trimmed(&format!("{number:.decimals$}")).to_owned()
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{}e{sign}{:02}", trimmed(mantissa), exponent.abs())
    }
}

/// Without zeros at the end of the decimals, and without a point that nothing follows.
fn trimmed(number: &str) -> &str {
    if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    }
}

/// 2 to the power `exponent` as NTP results print it (`packet-measurements` section 4.4): a plain integer from 1 to
/// 2^31, `%g` otherwise.
#[must_use]
pub fn power_of_two(exponent: i8) -> String {
    match u32::try_from(exponent) {
        Ok(exponent @ 0..32) => (1u32 << exponent).to_string(),
        _ => g(f64::from(exponent).exp2()),
    }
}

/// An error text cut to what an item holds, at a character's boundary: the packet tools cut at 79 octets, name
/// resolution errors at 159.
#[must_use]
pub fn cut(text: &str, octets: usize) -> &str {
    &text[..text.floor_char_boundary(octets)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn g_prints_what_c_prints() {
        for (number, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (0.5, "0.5"),
            (100_000.0, "100000"),
            (1_000_000.0, "1e+06"),
            (999_999.5, "1e+06"),
            (0.0001, "0.0001"),
            (0.000_099_999_99, "0.0001"),
            (0.000_012_345_678, "1.23457e-05"),
            (69.0 / 65536.0, "0.00105286"),
            (256.0 / 65536.0, "0.00390625"),
            (1.0 / 65536.0, "1.52588e-05"),
            (65_535.999_984_741, "65536"),
            (1e100, "1e+100"),
            (-2.5, "-2.5"),
        ] {
            assert_eq!(g(number), text);
        }
    }

    #[test]
    fn powers_of_two_are_integers_up_to_the_thirty_first() {
        for (exponent, text) in [
            (0, "1"),
            (3, "8"),
            (31, "2147483648"),
            (32, "4.29497e+09"),
            (-1, "0.5"),
            (-18, "3.8147e-06"),
            (-20, "9.53674e-07"),
            (-24, "5.96046e-08"),
            (127, "1.70141e+38"),
            (-128, "2.93874e-39"),
        ] {
            assert_eq!(power_of_two(exponent), text);
        }
    }

    #[test]
    fn decimals_round_halves_to_even_as_c_does() {
        assert_eq!(format!("{:.9}", 1.0 / 1024.0), "0.000976562");
        assert_eq!(format!("{:.9}", 3.0 / 1024.0), "0.002929688");
    }

    #[test]
    fn addresses_print_as_the_c_library_has_them() {
        for (text, printed) in [
            ("192.0.2.1", "192.0.2.1"),
            ("2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
            ("::1", "::1"),
            ("::", "::"),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
            ("::c000:201", "::192.0.2.1"),
            ("::2:1", "::0.2.0.1"),
            ("::ffff", "::ffff"),
            ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
        ] {
            assert_eq!(address(text.parse().unwrap()), printed);
        }
    }

    #[test]
    fn a_name_cannot_break_out_of_its_string() {
        assert_eq!(quoted("a\"b\\c\n"), r#""a\"b\\c\u000a""#);
    }

    #[test]
    fn bundles_are_numbers_whatever_digits_were_given() {
        for (given, printed) in [("7", "7"), ("007", "7"), ("000", "0"), ("", "0")] {
            let head = Head {
                id: Some("1".to_owned()),
                bundle: Some(given.to_owned()),
                version: crate::measurement::Version::default(),
            };
            let line = Line::new(&head, When::default()).finish();
            assert!(
                line.ends_with(&format!(", \"bundle\":{printed} }}\n")),
                "{line}"
            );
            let without = Head { id: None, ..head };
            assert_eq!(
                Line::new(&without, When::default()).finish(),
                "RESULT {  }\n"
            );
        }
    }

    #[test]
    fn a_list_of_nothing_has_two_spaces() {
        assert_eq!(list([""; 0]), "[  ]");
        assert_eq!(list([1, 2]), "[ 1, 2 ]");
    }

    #[test]
    fn a_cut_keeps_characters_whole() {
        assert_eq!(cut("abc", 79), "abc");
        assert_eq!(cut("aé", 2), "a");
    }

    proptest! {
        #[test]
        fn any_text_is_one_json_string(text in any::<String>()) {
            let read: String = serde_json::from_str(&quoted(&text)).unwrap();
            prop_assert_eq!(read, text);
        }

        #[test]
        fn g_is_a_number_near_the_number(number in any::<f64>().prop_filter("finite", |n| n.is_finite())) {
            let read: f64 = g(number).parse().unwrap();
            prop_assert!((read - number).abs() <= number.abs() * 5.1e-6);
        }
    }
}
