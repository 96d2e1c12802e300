//! Runs of JSON numbers. Most bodies are made of short ones: up to eight digits, perhaps a point among them, and the same
//! between all of the numbers.
//!
//! Only where a number ends is waited for by the next one, so this is found first and from few bytes. What the number is
//! depends on data and not on branches, as sign and number of digits are foretold by nothing.

use std::num::NonZeroU64;

use super::number::{self, EXACT, POWERS, WINDOW, eight_digits};

/// The most numbers of a run.
pub(super) const TOGETHER: usize = 64;

/// The most bytes of a short number, its sign among them.
const LONGEST: usize = 9;

/// Bytes that are looked at before a number.
const BEFORE: usize = 8;

/// A one in each byte.
const LOW: u64 = 0x0101_0101_0101_0101;

/// What the next numbers of a run are taken for, going by the last ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Looks {
    /// Short ones with a comma and a blank between them.
    Spaced,
    /// Short ones with a comma between them.
    Dense,
    /// Anything.
    Other,
}

/// Reads numbers from `at` on as long as they are short and `GAP` bytes stand between them: a comma, or one and a blank.
/// Answers how many came and where the last one ends. They are what [`read`](super::number::read) says, to the bit.
#[inline(never)]
pub(super) fn short<const GAP: usize>(bytes: &[u8], at: usize, into: &mut [f64]) -> (usize, usize) {
    let Some(mut rest) = at.checked_sub(BEFORE).and_then(|from| bytes.get(from..)) else { return (0, at) };
    let mut divisors = [1.0; TOGETHER];
    let (mut came, mut left) = (0, rest.len());
    for (place, divisor) in into.iter_mut().zip(&mut divisors) {
        let Some(window) = rest.first_chunk() else { break };
        let Some(number) = leading(window).or_else(|| shifted(window)) else { break };
        let next = BEFORE + number.length;
        let goes_on = window[next..].starts_with(&b", "[..GAP]);
        if !goes_on && window[next] | 0x20 == b'e' {
            break;
        }
        (*place, *divisor) = (f64::from_bits(CARRIER.to_bits() | number.digits), number.divisor);
        came += 1;
        left = rest.len() - number.length;
        if !goes_on {
            break;
        }
        rest = &rest[number.length + GAP..];
    }
    // Many at once take less time.
    into[..came].iter_mut().zip(&divisors).for_each(|(place, divisor)| *place = (*place - CARRIER) / divisor);
    (came, bytes.len() - left + BEFORE)
}

/// Reads numbers from `at` on that are [`plain`](number::plain), with a comma behind each and white space behind that.
/// Answers how many came, where the last one ends and whether it is short. In variables of its own: where one number ends
/// is where the next can be begun.
#[inline]
pub(super) fn other(bytes: &[u8], mut at: usize, into: &mut [f64]) -> (usize, usize, bool) {
    let (mut came, mut end, mut last) = (0, at, usize::MAX);
    for place in into {
        let window = bytes.get(at..).and_then(<[u8]>::first_chunk);
        let Some((value, length)) = window.and_then(number::plain) else { break };
        *place = value;
        came += 1;
        (end, last) = (at + length, length);
        match bytes.get(end..end + 2) {
            Some(b", ") => at = end + 2,
            Some([b',', _]) => {
                at = end + 1;
                while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
                    at += 1;
                }
            }
            _ => break,
        }
    }
    (came, end, last <= LONGEST)
}

/// Its lowest bits are an integer below 2^52, and without it they are that integer as a float. The processor's own
/// conversion waits for what its register had before, and that is the number before.
const CARRIER: f64 = (1u64 << 52) as f64;

/// A number as a quotient.
struct Quotient {
    digits: u64,
    /// A power of ten with the number's sign.
    divisor: f64,
    /// How many bytes the number takes.
    length: usize,
}

/// Reads a number of one digit, a point and up to seven more; the window begins [`BEFORE`] bytes before it. None where it
/// is anything else, but an exponent may follow.
#[inline(always)]
fn leading(window: &[u8; WINDOW]) -> Option<Quotient> {
    let sign = usize::from(window[BEFORE] == b'-');
    let count = searched(window)?;
    let lead = window[BEFORE + sign].wrapping_sub(b'0');
    let behind = count.wrapping_sub(sign);
    if window[BEFORE + 1 + sign] != b'.' || lead > 9 || behind.wrapping_sub(1) > 6 {
        return None;
    }
    let fraction = &FRACTIONS[behind];
    let last = word(window, BEFORE + 2 + count);
    // Of '-' to '9' the digits have this bit.
    if !last & fraction.digits != 0 {
        return None;
    }
    let digits = u64::from(lead) * fraction.power + eight_digits(last & fraction.values);
    Some(Quotient { digits, divisor: fraction.divisors[sign], length: 2 + count })
}

/// As [`leading`] for other numbers of up to eight digits: whole ones, and those with more than one digit before the point.
#[inline(always)]
fn shifted(window: &[u8; WINDOW]) -> Option<Quotient> {
    let sign = usize::from(window[BEFORE] == b'-');
    let (first, end) = (BEFORE + sign, BEFORE + 2 + searched(window)?);
    let lead = window[first].wrapping_sub(b'0');
    // A digit alone: its end may be before what was searched.
    if lead < 10 && !matches!(window[first + 1], b'-'..=b'9') {
        let length = 1 + sign;
        return Some(Quotient { digits: u64::from(lead), divisor: FRACTIONS[0].divisors[sign], length });
    }
    // Zero digits go before them.
    let values = |end: usize, count: usize| (word(window, end) ^ (0x30 * LOW)) & LAST[count];
    let length = end - first;
    let last = values(end, length);
    // No digit has this bit, and a point does.
    let points = last & (0x10 * LOW);
    let (digits, behind, whole) = if points == 0 {
        (last, 0, length)
    } else {
        // What is before the point moves to its place.
        let behind = points.leading_zeros() as usize / 8;
        let before = values(end - 1, length - 1) & !LAST[behind];
        if behind == 0 || window[end - 1 - behind] != b'.' {
            return None;
        }
        (before | last & LAST[behind], behind, length.wrapping_sub(behind + 1))
    };
    let others = (digits.wrapping_add(0x76 * LOW) | digits) & (0x80 * LOW);
    if others != 0 || behind + whole > 8 || whole == 0 || (whole > 1 && lead == 0) {
        return None;
    }
    let divisor = FRACTIONS[behind].divisors[sign];
    Some(Quotient { digits: eight_digits(digits), divisor, length: end - BEFORE })
}

/// How many bytes there are from a number's third one on to one that is below '-' or above '9'; none beyond seven.
#[inline(always)]
fn searched(window: &[u8; WINDOW]) -> Option<usize> {
    let rest = word(window, BEFORE + 10);
    // Such bytes get their highest bit set, and carries only reach what is behind the first of them.
    let others = (rest.wrapping_sub(0x2d * LOW) | rest.wrapping_add(0x46 * LOW)) & (0x80 * LOW);
    Some(NonZeroU64::new(others)?.trailing_zeros() as usize / 8)
}

/// The eight bytes before a place.
#[inline(always)]
fn word(window: &[u8; WINDOW], end: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&window[end - 8..end]);
    u64::from_le_bytes(eight)
}

/// What is to be known of so many digits behind a point.
struct Fraction {
    /// The bit of a digit in so many last bytes of eight.
    digits: u64,
    /// The bits of their values.
    values: u64,
    /// Ten to their number.
    power: u64,
    /// That as floats, and below zero.
    divisors: [f64; 2],
}

const FRACTIONS: [Fraction; 8] = {
    let mut fractions = [const { Fraction { digits: 0, values: 0, power: 1, divisors: [1.0, -1.0] } }; 8];
    let mut n = 1;
    while n < 8 {
        fractions[n] = Fraction {
            digits: LAST[n] & (0x10 * LOW),
            values: LAST[n] & (0x0f * LOW),
            power: POWERS[n],
            divisors: [EXACT[n], -EXACT[n]],
        };
        n += 1;
    }
    fractions
};

/// Masks of so many last bytes of eight; a ninth is none of them.
const LAST: [u64; 10] = {
    let mut masks = [u64::MAX; 10];
    let mut n = 0;
    while n < 8 {
        masks[n] = !(u64::MAX >> (8 * n));
        n += 1;
    }
    masks
};
