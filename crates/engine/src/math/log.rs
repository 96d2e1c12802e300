//! Logarithms: `ln` in `f32` after the ARM optimized routines, `ln(1 + x)` in `f64` after FreeBSD's msun.

/// ln 2.
const LN2: f64 = f64::from_bits(0x3FE6_2E42_FEFA_39EF);
/// Coefficients of ln(1 + r) - r, from r^4 down to r^2.
const POLY: [f64; 3] = [
    f64::from_bits(0xBFD0_0EA3_48B8_8334),
    f64::from_bits(0x3FD5_575B_0BE0_0B6A),
    f64::from_bits(0xBFDF_FFFE_F20A_4123),
];
/// Pairs (1 / c, ln c) for 16 values of `c` in the middles of the parts of [0x1.661ec7p-1, 0x1.661ec7p0).
const TABLE: [(u64, u64); 16] = [
    (0x3FF6_61EC_79F8_F3BE, 0xBFD5_7BF7_808C_AADE),
    (0x3FF5_71ED_4AAF_883D, 0xBFD2_BEF0_A7C0_6DDB),
    (0x3FF4_9539_F0F0_10B0, 0xBFD0_1EAE_7F51_3A67),
    (0x3FF3_C995_B0B8_0385, 0xBFCB_31D8_A682_24E9),
    (0x3FF3_0D19_0C88_64A5, 0xBFC6_574F_0AC0_7758),
    (0x3FF2_5E22_7B0B_8EA0, 0xBFC1_AA2B_C79C_8100),
    (0x3FF1_BB4A_4A1A_343F, 0xBFBA_4E76_CE8C_0E5E),
    (0x3FF1_2358_F08A_E5BA, 0xBFB1_973C_5A61_1CCC),
    (0x3FF0_953F_4199_00A7, 0xBFA2_52F4_38E1_0C1E),
    (0x3FF0_0000_0000_0000, 0x0000_0000_0000_0000),
    (0x3FEE_608C_FD9A_47AC, 0x3FAA_A5AA_5DF2_5984),
    (0x3FEC_A4B3_1F02_6AA0, 0x3FBC_5E53_AA36_2EB4),
    (0x3FEB_2036_576A_FCE6, 0x3FC5_26E5_7720_DB08),
    (0x3FE9_C2D1_63A1_AA2D, 0x3FCB_C286_0D22_4770),
    (0x3FE8_86E6_0378_41ED, 0x3FD1_058B_C8A0_7EE1),
    (0x3FE7_67DC_F553_4862, 0x3FD4_0430_57B6_EE09),
];

/// Natural logarithm in `f32`, under 0.82 units in the last place, with glibc's bits.
pub fn logf(x: f32) -> f32 {
    const OFFSET: u32 = 0x3F33_0000;
    if x == 1.0 {
        return 0.0;
    }
    if x == 0.0 {
        return f32::NEG_INFINITY;
    }
    if x.is_nan() || x < 0.0 {
        return f32::NAN;
    }
    if x == f32::INFINITY {
        return x;
    }
    let mut bits = x.to_bits();
    if x < f32::MIN_POSITIVE {
        bits = (x * 8_388_608.0).to_bits().wrapping_sub(23 << 23);
    }
    let offset = bits.wrapping_sub(OFFSET);
    let (inverse, ln_c) = TABLE[((offset >> 19) % 16) as usize];
    let exponent = (offset as i32) >> 23;
    let z = f64::from(f32::from_bits(bits.wrapping_sub(offset & (0x1ff << 23))));
    let r = z * f64::from_bits(inverse) - 1.0;
    let y0 = f64::from_bits(ln_c) + f64::from(exponent) * LN2;
    let r2 = r * r;
    let y = POLY[1] * r + POLY[2];
    let y = POLY[0] * r2 + y;
    (y * r2 + (y0 + r)) as f32
}

/// ln 2 in two parts, the first with spare low bits.
const LN2_HI: f64 = f64::from_bits(0x3FE6_2E42_FEE0_0000);
const LN2_LO: f64 = f64::from_bits(0x3DEA_39EF_3579_3C76);
/// Coefficients of (ln(1 + f) - ln(1 - f)) / f - 2 in powers of f^2.
const LG: [f64; 7] = [
    f64::from_bits(0x3FE5_5555_5555_5593),
    f64::from_bits(0x3FD9_9999_9997_FA04),
    f64::from_bits(0x3FD2_4924_9422_9359),
    f64::from_bits(0x3FCC_71C5_1D8E_78AF),
    f64::from_bits(0x3FC7_4664_96CB_03DE),
    f64::from_bits(0x3FC3_9A09_D078_C69F),
    f64::from_bits(0x3FC2_F112_DF3E_5244),
];

/// ln(1 + x), under one unit in the last place; -infinity at -1, NaN below.
pub fn log1p(x: f64) -> f64 {
    if x.is_nan() || x < -1.0 {
        return f64::NAN;
    }
    if x == -1.0 {
        return f64::NEG_INFINITY;
    }
    if x == f64::INFINITY || x.abs() < f64::EPSILON / 2.0 {
        return x;
    }
    let (mut k, mut c, mut f) = (0i32, 0.0, x);
    // Outside sqrt(2)/2 - 1 .. sqrt(2) - 1: 1 + x = 2^k (1 + f), and c makes up for the rounding of 1 + x.
    if !(-0.292_893_218_813_452_5..0.414_213_562_373_095_1).contains(&x) {
        let u = 1.0 + x;
        let high = ((u.to_bits() >> 32) as u32).wrapping_add(0x3ff0_0000 - 0x3fe6_a09e);
        k = (high >> 20) as i32 - 0x3ff;
        if k < 54 {
            c = if k >= 2 { 1.0 - (u - x) } else { x - (u - 1.0) };
            c /= u;
        }
        let high = (high & 0x000f_ffff) + 0x3fe6_a09e;
        f = f64::from_bits((u64::from(high) << 32) | (u.to_bits() & 0xffff_ffff)) - 1.0;
    }
    let half_square = 0.5 * f * f;
    let s = f / (2.0 + f);
    let z = s * s;
    let w = z * z;
    let t1 = w * (LG[1] + w * (LG[3] + w * LG[5]));
    let t2 = z * (LG[0] + w * (LG[2] + w * (LG[4] + w * LG[6])));
    let rest = t2 + t1;
    let dk = f64::from(k);
    s * (half_square + rest) + (dk * LN2_LO + c) - half_square + f + dk * LN2_HI
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bits of `x` and of ln(1 + x) to 60 decimal digits, rounded once.
    const KNOWN: [(u64, u64); 10] = include!("log1p_known.in");

    #[test]
    fn log1p_is_within_one_unit() {
        for (x, y) in KNOWN {
            let (x, y) = (f64::from_bits(x), f64::from_bits(y));
            assert!(log1p(x).to_bits().abs_diff(y.to_bits()) <= 1, "log1p({x}) = {}, not {y}", log1p(x));
        }
        assert_eq!(log1p(0.0), 0.0);
        assert_eq!(log1p(-1.0), f64::NEG_INFINITY);
        assert_eq!(log1p(f64::INFINITY), f64::INFINITY);
        assert!(log1p(-1.5).is_nan());
    }

    #[test]
    fn logf_of_known_values() {
        assert_eq!(logf(1.0), 0.0);
        assert_eq!(logf(0.0), f32::NEG_INFINITY);
        assert!(logf(-1.0).is_nan());
        assert_eq!(logf(f32::INFINITY), f32::INFINITY);
        for (x, y) in [
            (2.0f32, std::f32::consts::LN_2),
            (10.0, std::f32::consts::LN_10),
            (0.7, -0.356_674_94),
            (1e-40, -92.103_4),
        ] {
            assert!(logf(x).to_bits().abs_diff(y.to_bits()) <= 1, "ln({x}) = {}, not {y}", logf(x));
        }
    }
}
