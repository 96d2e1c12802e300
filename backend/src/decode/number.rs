//! Numbers of JSON, correctly rounded.
//!
//! Most numbers have few digits: their digits as an integer times or divided by an exact power of ten is one rounding,
//! and so the right one (Clinger, "How to read floating point numbers accurately", 1990). Those with up to 19 digits
//! that are divided by a power of ten, as all that a program prints, are rounded from a 128-bit product. The rest go to
//! the standard library.

/// The powers of ten that an f64 holds exactly.
pub(super) const EXACT: [f64; 23] = [
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
    // Mostly one digit or two.
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
        at = digits_from(bytes, from, &mut digits);
        fraction = at - from;
        if fraction == 0 {
            return Err("a digit expected after '.'");
        }
    }
    let exponent = if matches!(bytes.get(at), Some(b'e' | b'E')) { exponent(bytes, &mut at)? } else { 0 };
    // 19 digits fit a u64.
    if whole + fraction <= 19
        && let Some(value) = scaled(digits, exponent - fraction as i64)
    {
        return Ok((if negative { -value } else { value }, at));
    }
    slow(&bytes[..at]).map(|value| (value, at))
}

/// Bytes that [`plain`] looks at, and [`runs`](super::runs) for short ones.
pub(super) const WINDOW: usize = 32;

/// Reads what most numbers look like, and answers as [`read`] does: up to eight digits, then up to 17 behind a point; no
/// exponent. None where it is anything else, an error too.
#[inline(always)]
pub(super) fn plain(window: &[u8; WINDOW]) -> Option<(f64, usize)> {
    let from = usize::from(window[0] == b'-');
    let lead = window[from].wrapping_sub(b'0');
    // Most have one digit before the point and few behind it. Said as branches, as the processor then goes on before it
    // knows.
    let one = window[from + 1] == b'.' && lead < 10;
    if one {
        let (fraction, count) = eight_from(window, from + 2);
        let at = from + 2 + count;
        if count < 8 {
            // Signed numbers become floats in one step, others in several.
            let value = (u64::from(lead) * POWERS[count] + fraction) as i64 as f64 / EXACT[count];
            return (count > 0 && window[at] | 0x20 != b'e').then(|| (signed(value, from), at));
        }
    }
    let (mut digits, whole) = if one { (u64::from(lead), 1) } else { eight_from(window, from) };
    if whole == 0 || whole == 8 || (whole > 1 && window[from] == b'0') {
        return None;
    }
    let mut at = from + whole;
    if window[at] == b'.' {
        let (first, count) = eight_from(window, at + 1);
        (digits, at) = (digits * POWERS[count] + first, at + 1 + count);
        if count == 8 {
            let (second, count) = eight_from(window, at);
            (digits, at) = (digits.wrapping_mul(POWERS[count]).wrapping_add(second), at + count);
            if count == 8 && window[at].is_ascii_digit() {
                digits = digits.wrapping_mul(10).wrapping_add(u64::from(window[at] - b'0'));
                at += 1;
            }
        } else if count == 0 {
            return None;
        }
    }
    if window[at].is_ascii_digit() || window[at] | 0x20 == b'e' || at - from > 20 {
        return None;
    }
    // The point is no digit.
    let value = scaled(digits, -((at - from).saturating_sub(whole + 1) as i64))?;
    Some((signed(value, from), at))
}

/// A value with the sign that is 1 for negative. No branch: one number in two is, and nothing foretells which.
#[inline(always)]
fn signed(value: f64, sign: usize) -> f64 {
    f64::from_bits(value.to_bits() | (sign as u64) << 63)
}

/// The number that up to eight digits from `at` on make, and how many they are. Panics beyond [`WINDOW`].
#[inline(always)]
fn eight_from(window: &[u8; WINDOW], at: usize) -> (u64, usize) {
    let mut eight = [0; 8];
    eight.copy_from_slice(&window[at..at + 8]);
    let (values, count) = leading_digits(u64::from_le_bytes(eight));
    (if count == 0 { 0 } else { eight_digits(values << (64 - 8 * count)) }, count)
}

/// The values of bytes that are digits, and how many of them are digits before the first that is none.
#[inline(always)]
fn leading_digits(eight: u64) -> (u64, usize) {
    // A byte that is no digit gets its highest bit set; a carry only reaches bytes behind the first such one.
    let values = eight ^ 0x3030_3030_3030_3030;
    let others = (values.wrapping_add(0x7676_7676_7676_7676) | values) & 0x8080_8080_8080_8080;
    (values, others.trailing_zeros() as usize / 8)
}

/// Reads digits from `at` on, eight at a time, and answers where they end. They wrap around where they are too many.
#[inline]
fn digits_from(bytes: &[u8], mut at: usize, digits: &mut u64) -> usize {
    while let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let (values, count) = leading_digits(u64::from_le_bytes(*eight));
        if count == 0 {
            return at;
        }
        // What is behind the digits falls out; zeros come before them.
        *digits = digits.wrapping_mul(POWERS[count]).wrapping_add(eight_digits(values << (64 - 8 * count)));
        at += count;
        if count < 8 {
            return at;
        }
    }
    while let Some(digit @ b'0'..=b'9') = bytes.get(at) {
        *digits = digits.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
        at += 1;
    }
    at
}

/// The number that eight digits make, the first in the lowest byte (Lemire, "Quickly parsing eight digits", 2018).
#[inline]
pub(super) fn eight_digits(values: u64) -> u64 {
    let pairs = values.wrapping_mul(10).wrapping_add(values >> 8);
    let outer = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(0x000f_4240_0000_0064);
    let inner = ((pairs >> 16) & 0x0000_00ff_0000_00ff).wrapping_mul(0x0000_2710_0000_0001);
    outer.wrapping_add(inner) >> 32
}

/// `digits` times ten to the power of `scale`, correctly rounded; none where that takes the slow way.
#[inline]
fn scaled(digits: u64, scale: i64) -> Option<f64> {
    if digits <= 1 << 53 {
        let value = digits as i64 as f64;
        return match scale {
            0 => Some(value),
            1..=22 => Some(value * EXACT[scale as usize]),
            -22..=-1 => Some(value / EXACT[-scale as usize]),
            _ => None,
        };
    }
    match scale {
        0 => Some(digits as f64),
        -27..=-1 => Some(divided(digits, -scale as usize)),
        _ => None,
    }
}

/// `digits`, more than 2^53 of them, divided by 10^`power` of 1 to 27: rounded from 128 bits of the quotient, which is
/// never in doubt for such powers (Lemire, "Number parsing at a gigabyte per second", 2021; for these the fallback that
/// the article needs can't happen, and no result is subnormal).
#[inline]
fn divided(digits: u64, power: usize) -> f64 {
    let shift = digits.leading_zeros();
    let (reciprocal, digits) = (RECIPROCALS[power], digits << shift);
    let wide = |a: u64, b: u64| u128::from(a) * u128::from(b);
    let mut product = wide(digits, (reciprocal >> 64) as u64);
    if (product >> 64) as u64 & 0x1ff == 0x1ff {
        product += wide(digits, reciprocal as u64) >> 64;
    }
    let (high, low) = ((product >> 64) as u64, product as u64);
    let upper = (high >> 63) as u32;
    let cut = upper + 64 - 52 - 3;
    let mut mantissa = high >> cut;
    // floor(log2(10^-power)), and where the mantissa's highest bit stands.
    let mut exponent = ((-217_706 * power as i64) >> 16) + 63 + i64::from(upper) - i64::from(shift) + 1023;
    // Exactly between two floats: to the even one.
    if low <= 1 && power <= 4 && mantissa & 3 == 1 && mantissa << cut == high {
        mantissa &= !1;
    }
    mantissa = (mantissa + (mantissa & 1)) >> 1;
    if mantissa >= 2 << 52 {
        mantissa = 1 << 52;
        exponent += 1;
    }
    f64::from_bits(mantissa & !(1 << 52) | (exponent as u64) << 52)
}

/// 10^0 to 10^8.
pub(super) const POWERS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// The first 128 bits of 1 / 5^n, rounded up, for n of 0 to 27.
const RECIPROCALS: [u128; 28] = {
    let mut table = [0; 28];
    let mut power: u128 = 1;
    let mut n = 1;
    while n < 28 {
        power *= 5;
        // 2^(z + 127) / 5^n bit by bit, z the bits of 5^n: the first remainder is 2^(z - 1).
        let mut remainder = power.next_power_of_two() >> 1;
        let (mut quotient, mut bit) = (0u128, 0);
        while bit < 128 {
            remainder <<= 1;
            quotient <<= 1;
            if remainder >= power {
                remainder -= power;
                quotient |= 1;
            }
            bit += 1;
        }
        table[n] = quotient + 1;
        n += 1;
    }
    table
};

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
            ("900719925474099.3", 900719925474099.2),
            ("0.9007199254740993", 0.9007199254740993),
            ("9007199254740993.0", 9007199254740992.0),
            ("9007199254740995.0", 9007199254740996.0),
            ("900719925474.09925", 900719925474.0992),
            ("0.12345678901234567", 0.12345678901234567),
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

    #[test]
    fn what_is_plain_is_read_in_one_go() {
        let plainly = |text: &str| {
            let mut window = [b','; WINDOW];
            window[..text.len()].copy_from_slice(text.as_bytes());
            plain(&window)
        };
        for (text, value) in
            [("0", 0.0_f64), ("-0", -0.0), ("1.5", 1.5), ("-7654321.25", -7654321.25), ("0.12345678", 0.12345678)]
        {
            let (read, length) = plainly(text).unwrap();
            assert_eq!((read.to_bits(), length), (value.to_bits(), text.len()), "{text}");
        }
        for long in ["0.1234567890123456", "0.12345678901234567", "12.34567890123456789"] {
            assert_eq!(plainly(long).unwrap(), (long.parse().unwrap(), long.len()));
        }
        for other in [
            "",
            "-",
            "01",
            ".5",
            "1.",
            "1.e5",
            "1e5",
            "1.5E5",
            "12345678",
            "NaN",
            "+1",
            "0.123456789012345678",
            "1.12345678x1",
        ] {
            assert!(plainly(other).is_none_or(|(_, length)| other == "1.12345678x1" && length == 10), "{other}");
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
        fn digits_before_and_after_the_point_round_as_the_standard_library_does(
            digits in 1u64 << 53..10_000_000_000_000_000_000, point in 1usize..19
        ) {
            let mut text = format!("{digits:019}").trim_start_matches('0').to_owned();
            text.insert(point.min(text.len() - 1), '.');
            let (value, length) = read(format!("{text},1234567").as_bytes()).unwrap();
            prop_assert_eq!((value.to_bits(), length), (text.parse::<f64>().unwrap().to_bits(), text.len()), "{}", text);
        }

        #[test]
        fn halves_between_two_floats_round_to_the_even_one(odd in (1u64 << 53)..(1u64 << 59), power in 1u32..5) {
            // An odd number of 54 bits and more, over a power of two: printed in full it lies on a half or near one.
            let text = format!("{}.{}", odd | 1, ["5", "25", "125", "0625"][power as usize - 1]);
            prop_assert_eq!(read(text.as_bytes()).unwrap().0.to_bits(), text.parse::<f64>().unwrap().to_bits(), "{}", text);
        }

        #[test]
        fn decimals_round_as_the_standard_library_does(text in "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?") {
            let expected: f64 = text.parse().unwrap();
            let mut window = [b' '; WINDOW];
            let shown = text.len().min(WINDOW);
            window[..shown].copy_from_slice(&text.as_bytes()[..shown]);
            if let Some((value, length)) = plain(&window) {
                prop_assert_eq!((value.to_bits(), length), (expected.to_bits(), text.len()), "{}", text);
            }
            match read(text.as_bytes()) {
                Ok((value, length)) => prop_assert_eq!((value.to_bits(), length), (expected.to_bits(), text.len())),
                Err(_) => prop_assert!(expected.is_infinite()),
            }
        }
    }
}
