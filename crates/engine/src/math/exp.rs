//! `exp`, after the ARM optimized routines: x = k ln2/128 + r, exp(x) = 2^(k/128) exp(r), with a table of 128 powers and
//! a polynomial of degree 5. Under 0.52 units in the last place.

use super::table::EXP2;

/// 128 / ln 2.
const INV_LN2: f64 = f64::from_bits(0x3FF7_1547_652B_82FE) * 128.0;
/// -ln 2 / 128 in two parts, the first with spare low bits so that its product with `k` is exact.
const NEG_LN2_HI: f64 = f64::from_bits(0xBF76_2E42_FEFA_0000);
const NEG_LN2_LO: f64 = f64::from_bits(0xBD0C_F79A_BC9E_3B39);
/// Added and taken off again, it rounds to an integer, which is then in the low bits.
const SHIFT: f64 = f64::from_bits(0x4338_0000_0000_0000);
/// exp(r) - 1 - r = r^2 (C2 + C3 r + C4 r^2 + C5 r^3).
const C2: f64 = f64::from_bits(0x3FDF_FFFF_FFFF_FDBD);
const C3: f64 = f64::from_bits(0x3FC5_5555_5555_543C);
const C4: f64 = f64::from_bits(0x3FA5_5555_CF17_2B91);
const C5: f64 = f64::from_bits(0x3F81_1111_67A4_D017);

/// `e` to the power of `x`; overflows to infinity above 709.79, reaches zero below -745.14, NaN stays NaN.
pub fn exp(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    // All that is sure to overflow or underflow.
    if x.abs() >= 1024.0 {
        return if x > 0.0 { f64::INFINITY } else { 0.0 };
    }
    let shifted = x * INV_LN2 + SHIFT;
    let bits = shifted.to_bits();
    let k = shifted - SHIFT;
    let r = (x + k * NEG_LN2_HI) + k * NEG_LN2_LO;
    from_table(x, bits, k, r)
}

/// 2^(k/128) exp(r), `bits` being those of the shifted k: the last step of both exponentials of `x`.
#[inline(always)]
fn from_table(x: f64, bits: u64, k: f64, r: f64) -> f64 {
    let (tail, power) = EXP2[(bits % 128) as usize];
    let scale_bits = power.wrapping_add(bits << 45);
    let r2 = r * r;
    let tmp = ((f64::from_bits(tail) + r) + r2 * (C2 + r * C3)) + r2 * r2 * (C4 + r * C5);
    if x.abs() > 512.0 {
        return near_the_limits(tmp, scale_bits, k > 0.0);
    }
    let scale = f64::from_bits(scale_bits);
    scale + scale * tmp
}

/// The last step where the power of two alone may be out of range, or the result is subnormal.
fn near_the_limits(tmp: f64, scale_bits: u64, positive: bool) -> f64 {
    if positive {
        let scale = f64::from_bits(scale_bits.wrapping_sub(1009 << 52));
        return f64::from_bits((1023 + 1009) << 52) * (scale + scale * tmp);
    }
    let scale = f64::from_bits(scale_bits.wrapping_add(1022 << 52));
    let mut y = scale + scale * tmp;
    if y < 1.0 {
        // Round once, at the place of the subnormal result's last bit, not twice.
        let mut low = scale - y + scale * tmp;
        let high = 1.0 + y;
        low += 1.0 - high + y;
        y = (high + low) - 1.0;
    }
    f64::MIN_POSITIVE * y
}

/// Two to the power of `x`, by the same table: x = k/128 + r, 2^x = 2^(k/128) exp(r ln 2). Under 0.52 units in the last
/// place. Overflows to infinity from 1024 on, reaches zero below -1075, NaN stays NaN.
pub fn exp2(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    if !(-1076.0..1024.0).contains(&x) {
        return if x > 0.0 { f64::INFINITY } else { 0.0 };
    }
    let shifted = x * 128.0 + SHIFT;
    let bits = shifted.to_bits();
    let k = shifted - SHIFT;
    // Exact: both are multiples of the last place of `x`, and near each other.
    let r = (x - k / 128.0) * std::f64::consts::LN_2;
    from_table(x, bits, k, r)
}

/// `e` to the power of `x` in `f32`: the `f64` result rounded.
pub fn expf(x: f32) -> f32 {
    exp(f64::from(x)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bits of `x` and of exp(x) to 60 decimal digits, rounded once.
    const KNOWN: [(u64, u64); 10] = include!("exp_known.in");

    fn ulps(a: f64, b: f64) -> u64 {
        a.to_bits().abs_diff(b.to_bits())
    }

    #[test]
    fn within_one_unit_of_the_exact_value() {
        for (x, y) in KNOWN {
            let (x, y) = (f64::from_bits(x), f64::from_bits(y));
            assert!(ulps(exp(x), y) <= 1, "exp({x}) = {}, not {y}", exp(x));
        }
    }

    #[test]
    fn powers_of_two() {
        for n in -1074..1024i32 {
            let power =
                if n < -1022 { f64::from_bits(1 << (n + 1074)) } else { f64::from_bits(((n + 1023) as u64) << 52) };
            assert_eq!(exp2(f64::from(n)), power, "2^{n}");
        }
        // From 60 digits, rounded once.
        for (x, y) in [
            (0.5, std::f64::consts::SQRT_2),
            (-0.3, 0.8122523963562356),
            (0.7, 1.624504792712471),
            (-17.123, 7.0058911308358995e-06),
            (300.9, 3.801243541734874e+90),
            (-1000.001, 9.326169536002177e-302),
            (-1060.4, 6.135e-320),
            (1023.999, 1.796447500688184e+308),
        ] {
            assert!(ulps(exp2(x), y) <= 1, "2^{x} = {}, not {y}", exp2(x));
        }
        assert_eq!(
            (exp2(1024.0), exp2(-1076.0), exp2(1e300), exp2(f64::NEG_INFINITY)),
            (f64::INFINITY, 0.0, f64::INFINITY, 0.0)
        );
        assert!(exp2(f64::NAN).is_nan());
    }

    #[test]
    fn special_values() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-0.0), 1.0);
        assert_eq!(exp(f64::INFINITY), f64::INFINITY);
        assert_eq!(exp(f64::NEG_INFINITY), 0.0);
        assert_eq!(exp(709.8), f64::INFINITY);
        assert_eq!(exp(-745.2), 0.0);
        assert_eq!(exp(-1e300), 0.0);
        assert!(exp(f64::NAN).is_nan());
        assert_eq!(exp(-745.13).to_bits(), 1, "the smallest subnormal");
        assert_eq!(expf(89.0), f32::INFINITY);
        assert_eq!(expf(-104.0), 0.0);
    }
}
