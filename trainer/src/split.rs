//! Which rows train, which validate, which are held out: by a hash of the row's place and the seed, so that a row is in
//! the same part whatever else is selected.

/// The part of the rows that are held out, in percent.
const TEST_PERCENT: u64 = 20;
/// The part of the rows that early stopping watches, in percent.
const VALID_PERCENT: u64 = 10;

/// The parts, each in the order of the rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Split {
    /// Rows that are learnt from.
    pub train: Vec<u32>,
    /// Rows that early stopping watches.
    pub valid: Vec<u32>,
    /// Rows that the evaluation and the golden rows are from.
    pub test: Vec<u32>,
}

/// Splits rows, named by their place in the data.
pub fn split(rows: &[u32], seed: u64) -> Split {
    let mut split = Split::default();
    for &row in rows {
        let part = match hash(u64::from(row), seed) % 100 {
            draw if draw < TEST_PERCENT => &mut split.test,
            draw if draw < TEST_PERCENT + VALID_PERCENT => &mut split.valid,
            _ => &mut split.train,
        };
        part.push(row);
    }
    split
}

/// SplitMix64 (Steele, Lea, Flood 2014) of both numbers.
pub(crate) fn hash(row: u64, seed: u64) -> u64 {
    let mix = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    mix(mix(seed.wrapping_add(0x9e37_79b9_7f4a_7c15)).wrapping_add(row.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_of_their_size_and_do_not_depend_on_other_rows() {
        let rows: Vec<u32> = (0..100_000).collect();
        let all = split(&rows, 1);
        assert!((19_500..20_500).contains(&all.test.len()) && (9_500..10_500).contains(&all.valid.len()));
        assert_eq!(all.train.len() + all.valid.len() + all.test.len(), rows.len());
        let some: Vec<u32> = rows.iter().copied().filter(|row| row % 3 == 0).collect();
        assert!(split(&some, 1).test.iter().all(|row| all.test.binary_search(row).is_ok()));
        assert_ne!(split(&rows, 2).test, all.test);
    }
}
