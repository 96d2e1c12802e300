//! Hashes that are the same in every build and on every machine, for what gateways must agree on. Nobody is kept from making
//! them collide.

/// The step of SplitMix64: 2^64 by the golden ratio.
pub const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// FNV-1a (Fowler, Noll, Vo) over a name; another seed gives another hash. Its upper bits hardly differ between names that
/// differ in their last bytes.
pub fn name(seed: u64, name: &str) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325_u64 ^ seed.wrapping_mul(STEP);
    name.bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// SplitMix64's output function (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014): each bit of the
/// input changes half of the output's.
pub fn mix(word: u64) -> u64 {
    let z = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_the_published_ones() {
        // FNV's reference page, and the first numbers of SplitMix64 from the seed 0.
        assert_eq!(
            [name(0, ""), name(0, "a"), name(0, "foobar")],
            [0xcbf2_9ce4_8422_2325, 0xaf63_dc4c_8601_ec8c, 0x8594_4171_f739_67e8]
        );
        assert_eq!([mix(STEP), mix(STEP.wrapping_mul(2))], [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4]);
    }
}
