//! The Gregorian calendar: days counted from 1970-01-01, and their dates.
//!
//! Years are counted from March, so that the leap day is the last of its year, and in eras of 400 years, which all have
//! 146,097 days.

/// Seconds in a day of Unix time, which has no leap seconds.
pub const DAY: i64 = 86_400;
/// Days from 0000-03-01 to 1970-01-01.
const TO_1970: i64 = 719_468;
const ERA: i64 = 146_097;

/// The day in which a moment lies, given in Unix seconds.
#[must_use]
pub const fn day_of(unix: i64) -> i64 {
    unix.div_euclid(DAY)
}

/// Year, month from 1 and day of the month from 1 of a day.
#[must_use]
pub const fn date(day: i64) -> (i64, i64, i64) {
    let shifted = day + TO_1970;
    let (era, day_of_era) = (shifted.div_euclid(ERA), shifted.rem_euclid(ERA));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * from_march + 2) / 5 + 1;
    let year = era * 400 + year_of_era;
    if from_march < 10 {
        (year, from_march + 3, day_of_month)
    } else {
        (year + 1, from_march - 9, day_of_month)
    }
}

/// The date of a day as RFC 3339 writes it (`full-date`): `2023-11-14`.
#[must_use]
pub fn written(day: i64) -> String {
    let (year, month, day_of_month) = date(day);
    format!("{year:04}-{month:02}-{day_of_month:02}")
}

/// The day that has this date. One that its month does not have is counted on into the next.
#[must_use]
pub const fn day(year: i64, month: i64, day_of_month: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let from_march = (month + 9) % 12;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (153 * from_march + 2) / 5 + day_of_month - 1 - TO_1970
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_days() {
        for (ymd, days, text) in [
            ((1970, 1, 1), 0, "1970-01-01"),
            ((1969, 12, 31), -1, "1969-12-31"),
            ((2000, 2, 29), 11_016, "2000-02-29"),
            ((2000, 3, 1), 11_017, "2000-03-01"),
            ((2026, 11, 21), 20_778, "2026-11-21"),
            ((2100, 3, 1), 47_541, "2100-03-01"),
            ((9999, 12, 31), 2_932_896, "9999-12-31"),
        ] {
            assert_eq!(day(ymd.0, ymd.1, ymd.2), days, "{text}");
            assert_eq!(date(days), ymd);
            assert_eq!(written(days), text);
        }
        assert_eq!(day(2006, 2, 30), day(2006, 3, 2));
    }

    #[test]
    fn a_moment_before_1970_lies_in_the_day_that_it_lies_in() {
        assert_eq!((day_of(-1), day_of(0), day_of(DAY)), (-1, 0, 1));
    }

    proptest! {
        #[test]
        fn dates_survive_the_trip(one in -800_000i64..4_000_000) {
            let (year, month, day_of_month) = date(one);
            prop_assert_eq!(day(year, month, day_of_month), one);
            prop_assert!(date(one + 1) > date(one));
        }
    }
}
