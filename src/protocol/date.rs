//! HTTP dates: `Mon, 02 Jan 2006 15:04:05 GMT` (RFC 9110 section 5.6.7, RFC 1123 section 5.2.14).

use crate::calendar;

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
/// Seconds from the epoch to the years 0000 and 10000, outside of which the form has no digits.
const RANGE: (i64, i64) = (-62_167_219_200, 253_402_300_800);

/// The date of `unix` seconds since the epoch. Times outside the years 0 to 9999 become the nearest inside.
#[must_use]
pub fn format(unix: i64) -> String {
    let unix = unix.clamp(RANGE.0, RANGE.1 - 1);
    let (day, second) = (calendar::day_of(unix), unix.rem_euclid(calendar::DAY));
    let (year, month, day_of_month) = calendar::date(day);
    // 1970-01-01 was a Thursday.
    let weekday = name(&DAYS, (day + 4).rem_euclid(7));
    let month = name(&MONTHS, month - 1);
    format!(
        "{weekday}, {day_of_month:02} {month} {year:04} {:02}:{:02}:{:02} GMT",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// Seconds since the epoch of an HTTP date; `None` if it is none. The name of the weekday is not held against
/// the date, and a leap second counts as the second after it.
#[must_use]
pub fn parse(text: &str) -> Option<i64> {
    let mut words = text.split(' ').filter(|word| !word.is_empty());
    let weekday = words.next()?.strip_suffix(',')?;
    DAYS.contains(&weekday).then_some(())?;
    let day = digits(words.next()?, 1..=2)?;
    let month_name = words.next()?;
    let month = 1 + i64::try_from(MONTHS.iter().position(|name| *name == month_name)?).ok()?;
    let year = digits(words.next()?, 4..=4)?;
    let mut clock = words.next()?.split(':');
    let hour = digits(clock.next()?, 2..=2)?;
    let minute = digits(clock.next()?, 2..=2)?;
    let second = digits(clock.next()?, 2..=2)?;
    let whole = clock.next().is_none() && words.next() == Some("GMT") && words.next().is_none();
    let sane = whole && hour < 24 && minute < 60 && second <= 60;
    let days = calendar::day(year, month, day);
    // A day that the month does not have comes back as another one.
    (sane && day > 0 && calendar::date(days) == (year, month, day))
        .then_some(days * calendar::DAY + hour * 3600 + minute * 60 + second)
}

fn name(names: &[&'static str], index: i64) -> &'static str {
    usize::try_from(index)
        .ok()
        .and_then(|index| names.get(index).copied())
        .expect("weekday and month are reduced to the length of their tables")
}

fn digits(word: &str, count: std::ops::RangeInclusive<usize>) -> Option<i64> {
    let good = count.contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_digit());
    good.then(|| word.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_dates() {
        for (unix, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (1_136_214_245, "Mon, 02 Jan 2006 15:04:05 GMT"),
            (951_827_696, "Tue, 29 Feb 2000 12:34:56 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (-1, "Wed, 31 Dec 1969 23:59:59 GMT"),
        ] {
            assert_eq!(format(unix), text);
            assert_eq!(parse(text), Some(unix), "{text}");
        }
    }

    #[test]
    fn what_is_no_date() {
        for text in [
            "",
            "Mon, 02 Jan 2006 15:04:05",
            "Mon, 02 Jan 2006 15:04:05 UTC",
            "Mon 02 Jan 2006 15:04:05 GMT",
            "Mon, 30 Feb 2006 15:04:05 GMT",
            "Mon, 00 Jan 2006 15:04:05 GMT",
            "Mon, 02 jan 2006 15:04:05 GMT",
            "Mon, 02 Jan 2006 24:04:05 GMT",
            "Mon, 02 Jan 2006 15:60:05 GMT",
            "Mon, 02 Jan 2006 15:04:05:06 GMT",
            "Mon, 02 Jan 2006 +5:04:05 GMT",
            "Mon, 02 Jan 20060 15:04:05 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_leap_second_is_the_second_after() {
        assert_eq!(
            parse("Sat, 31 Dec 2016 23:59:60 GMT"),
            parse("Sun, 01 Jan 2017 00:00:00 GMT")
        );
    }

    proptest! {
        #[test]
        fn dates_survive_the_trip(unix in RANGE.0..RANGE.1) {
            prop_assert_eq!(parse(&format(unix)), Some(unix));
        }

        #[test]
        fn any_time_and_any_text_are_taken(unix: i64, text: String) {
            let _ = format(unix);
            let _ = parse(&text);
        }
    }
}
