//! Dates and times, as days since 1970-01-01 (with a fraction), and their texts.

use jiff::civil::{Date, DateTime, date};
use jiff::tz::Offset;

/// Microseconds in a day.
const DAY_US: f64 = 86_400_000_000.0;

/// Days since 1970-01-01 of an instant in microseconds since 1970-01-01T00:00Z.
pub(crate) fn from_micros(micros: i64) -> f64 {
    micros as f64 / DAY_US
}

/// Reads `2024-01-31` or `2024/01/31`, with or without a time (`T` or a space, `12:30`, `12:30:15`, `12:30:15.5`) and a
/// zone (`Z`, `+01:00`; UTC without one). Says the days since 1970-01-01 and whether there was a time.
pub fn parse(text: &str) -> Option<(f64, bool)> {
    let bytes = text.as_bytes();
    let (year, rest) = text.split_at_checked(10)?;
    let digits = |range: std::ops::Range<usize>| bytes[range].iter().all(u8::is_ascii_digit);
    let separated = matches!((bytes[4], bytes[7]), (b'-', b'-') | (b'/', b'/'));
    if !separated || !digits(0..4) || !digits(5..7) || !digits(8..10) {
        return None;
    }
    let number = |range: std::ops::Range<usize>| year[range].parse::<i16>().ok();
    let day = Date::new(number(0..4)?, number(5..7)? as i8, number(8..10)? as i8).ok()?;
    if rest.is_empty() {
        return Some((days_of(day), false));
    }
    let (clock, seconds_east) = split_zone(rest.strip_prefix(['T', ' '])?)?;
    if clock.len() < 5 || !clock.bytes().all(|b| b.is_ascii_digit() || matches!(b, b':' | b'.')) {
        return None;
    }
    let time: jiff::civil::Time = clock.parse().ok()?;
    let at = Offset::UTC.to_timestamp(DateTime::from_parts(day, time)).ok()?;
    Some((from_micros(at.as_microsecond() - i64::from(seconds_east) * 1_000_000), true))
}

/// Writes what [`parse`] read: a date, or a time in UTC.
pub fn write(days: f64) -> String {
    let micros = (days * DAY_US).round();
    match jiff::Timestamp::from_microsecond(micros as i64) {
        Ok(at) if days.fract() == 0.0 => Offset::UTC.to_datetime(at).date().to_string(),
        Ok(at) => at.to_string(),
        Err(_) => days.to_string(),
    }
}

fn days_of(day: Date) -> f64 {
    let hours = day.duration_since(date(1970, 1, 1)).as_hours();
    (hours / 24) as f64
}

/// Splits a zone off a time of day; the zone in seconds east of Greenwich.
fn split_zone(text: &str) -> Option<(&str, i32)> {
    if let Some(clock) = text.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let Some(at) = text.rfind(['+', '-']) else {
        return Some((text, 0));
    };
    let sign = if text.as_bytes()[at] == b'-' { -1 } else { 1 };
    let zone = &text[at + 1..];
    let (hours, minutes) = match (zone.len(), zone.split_once(':')) {
        (5, Some(parts)) => parts,
        (4, None) => zone.split_at_checked(2)?,
        (2, None) => (zone, "0"),
        _ => return None,
    };
    let (hours, minutes): (u8, u8) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60)
        .then(|| (text[..at].trim_end(), sign * (i32::from(hours) * 60 + i32::from(minutes)) * 60))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates_and_times_become_days() {
        let days = |text| parse(text).unwrap();
        assert_eq!(days("1970-01-01"), (0.0, false));
        assert_eq!(days("1969/12/31"), (-1.0, false));
        assert_eq!(days("2024-02-29"), (19_782.0, false));
        assert_eq!(days("2024-02-29T12:00"), (19_782.5, true));
        assert_eq!(days("2024-02-29 12:00:00.000Z"), (19_782.5, true));
        assert_eq!(days("2024-02-29T13:30:00+01:30"), (19_782.5, true));
        assert_eq!(days("2024-02-29T07:00:00-0500"), (19_782.5, true));
        assert_eq!(write(19_782.0), "2024-02-29");
        assert_eq!(write(19_782.5), "2024-02-29T12:00:00Z");
    }

    #[test]
    fn what_only_looks_like_a_date_is_none() {
        for bad in [
            "",
            "2024",
            "2023-02-29",
            "2024-13-01",
            "2024-01/02",
            "20240102",
            "2024-01-02x",
            "2024-01-02T",
            "2024-01-02T25:00",
            "2024-01-02T12",
            "2024-01-02T12:00+99:00",
            "é024-01-02",
            "1234567é9",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[0-9T:+ Z./-]{0,30}|.{0,20}") {
            if let Some((days, _)) = parse(&text) {
                prop_assert!(days.is_finite());
            }
        }

        #[test]
        fn a_date_reads_back(days in -700_000_i32..2_000_000) {
            prop_assert_eq!(parse(&write(f64::from(days))), Some((f64::from(days), false)));
        }
    }
}
