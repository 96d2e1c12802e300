//! Numbers of JSON, correctly rounded.
//!
//! Most numbers have few digits: their digits as an integer times or divided by an exact power of ten is one rounding,
//! and so the right one (Clinger, "How to read floating point numbers accurately", 1990). The rest go to the standard
//! library.

/// The powers of ten that an f64 holds exactly.
const EXACT: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// Reads the number that `bytes` begin with: its value, and how many bytes it takes. The words `NaN`, `Infinity` and
/// `-Infinity` are numbers too; one too large for an f64 is an error.
#[inline]
pub(super) fn read(bytes: &[u8]) -> Result<(f64, usize), &'static str> {
    let negative = bytes.first() == Some(&b'-');
    let mut at = usize::from(negative);
    let mut digits: u64 = 0;
    let whole_from = at;
    while let Some(digit @ b'0'..=b'9') = bytes.get(at) {
        digits = digits.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
        at += 1;
    }
    let whole = at - whole_from;
    if whole == 0 {
        return word(bytes, negative);
    }
    if whole > 1 && bytes[whole_from] == b'0' {
        return Err("a number that begins with 0");
    }
    let mut fraction = 0;
    if bytes.get(at) == Some(&b'.') {
        let from = at + 1;
        at = from;
        while let Some(digit @ b'0'..=b'9') = bytes.get(at) {
            digits = digits.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            at += 1;
        }
        fraction = at - from;
        if fraction == 0 {
            return Err("a digit expected after '.'");
        }
    }
    let exponent = if matches!(bytes.get(at), Some(b'e' | b'E')) { exponent(bytes, &mut at)? } else { 0 };
    // 19 digits fit a u64; those up to 2^53 an f64.
    if whole + fraction <= 19 && digits <= 1 << 53 {
        let scale = exponent - fraction as i64;
        let value = digits as f64;
        let value = match scale {
            0 => Some(value),
            1..=22 => Some(value * EXACT[scale as usize]),
            -22..=-1 => Some(value / EXACT[-scale as usize]),
            _ => None,
        };
        if let Some(value) = value {
            return Ok((if negative { -value } else { value }, at));
        }
    }
    slow(&bytes[..at]).map(|value| (value, at))
}

/// The exponent after `e`; where it is absurdly long its value does not matter, as the slow path reads it again.
fn exponent(bytes: &[u8], at: &mut usize) -> Result<i64, &'static str> {
    *at += 1;
    let negative = bytes.get(*at) == Some(&b'-');
    *at += usize::from(matches!(bytes.get(*at), Some(b'-' | b'+')));
    let from = *at;
    let mut value: i64 = 0;
    while let Some(digit @ b'0'..=b'9') = bytes.get(*at) {
        value = (value * 10 + i64::from(digit - b'0')).min(1_000_000);
        *at += 1;
    }
    if *at == from {
        return Err("a digit expected in the exponent");
    }
    Ok(if negative { -value } else { value })
}

#[cold]
fn slow(token: &[u8]) -> Result<f64, &'static str> {
    let value = std::str::from_utf8(token).ok().and_then(|t| t.parse::<f64>().ok()).ok_or("a number expected")?;
    if value.is_finite() { Ok(value) } else { Err("a number too large for a 64-bit float") }
}

fn word(bytes: &[u8], negative: bool) -> Result<(f64, usize), &'static str> {
    match negative {
        false if bytes.starts_with(b"NaN") => Ok((f64::NAN, 3)),
        false if bytes.starts_with(b"Infinity") => Ok((f64::INFINITY, 8)),
        true if bytes.starts_with(b"-Infinity") => Ok((f64::NEG_INFINITY, 9)),
        _ => Err("a number expected"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn grammar() {
        for bad in ["-", "01", "-01", "1.", ".5", "1e", "1e+", "1.e3", "N", "Inf", "-NaN", "1e999", "-1e999"] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
        for (text, value) in [
            ("0", 0.0),
            ("-0", -0.0),
            ("1E+2", 100.0),
            ("1e-400", 0.0),
            ("9007199254740993", 9007199254740992.0),
            ("123456789012345678901234567890", 123456789012345678901234567890.0),
            ("2.2250738585072011e-308", 2.225073858507201e-308),
            ("Infinity", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("NaN", f64::NAN),
        ] {
            let (read, length) = read(format!("{text},").as_bytes()).unwrap();
            assert_eq!((read.to_bits(), length), (value.to_bits(), text.len()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_float_reads_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            for text in [format!("{value:e}"), serde_json::to_string(&value).unwrap()] {
                prop_assert_eq!(read(text.as_bytes()).unwrap().0.to_bits(), bits, "{}", text);
            }
        }

        #[test]
        fn decimals_round_as_the_standard_library_does(text in "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?") {
            let expected: f64 = text.parse().unwrap();
            match read(text.as_bytes()) {
                Ok((value, length)) => prop_assert_eq!((value.to_bits(), length), (expected.to_bits(), text.len())),
                Err(_) => prop_assert!(expected.is_infinite()),
            }
        }
    }
}
