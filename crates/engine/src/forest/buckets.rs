//! A value's rank found from where it lies between the least and the greatest threshold.
//!
//! That range is cut into buckets of one width. Which bucket a number falls into never sinks as the number rises, as
//! subtraction, multiplication and cutting off never do, rounding included: thresholds of lower buckets are below a value,
//! those of higher ones are not, and the few of its own bucket are compared with it one by one. Exact, then, whatever is
//! rounded on the way.

/// Buckets of a list.
const COUNT: usize = 256;
/// Thresholds of a bucket, at most: as many are compared.
const NEAR: usize = 4;
/// Thresholds from which on a search takes longer.
const FEWEST: usize = 8;

/// A sorted list of thresholds to find ranks in.
#[derive(Debug)]
pub(super) struct Buckets {
    low: f64,
    scale: f64,
    /// For each bucket how many thresholds lower ones have.
    starts: Box<[u8; COUNT]>,
    /// The thresholds, and as many infinities as are compared.
    sorted: Box<[f64]>,
}

impl Buckets {
    /// None where thresholds are few, over 255, infinite, or too unevenly spread.
    pub(super) fn new(sorted: &[f64]) -> Option<Self> {
        let (&low, &high) = (sorted.first()?, sorted.last()?);
        let scale = COUNT as f64 / (high - low);
        let counted = (FEWEST..=usize::from(u8::MAX)).contains(&sorted.len());
        if !(counted && scale.is_finite() && scale > 0.0) {
            return None;
        }
        let (mut buckets, mut counts) =
            (Self { low, scale, starts: Box::new([0; COUNT]), sorted: Box::default() }, [0u8; COUNT]);
        sorted.iter().for_each(|t| counts[buckets.bucket(*t)] += 1);
        if counts.iter().any(|c| usize::from(*c) > NEAR) {
            return None;
        }
        let mut before = 0;
        for (start, count) in buckets.starts.iter_mut().zip(counts) {
            *start = before;
            // At most 255 altogether.
            before = before.wrapping_add(count);
        }
        buckets.sorted = sorted.iter().copied().chain([f64::INFINITY; NEAR]).collect();
        Some(buckets)
    }

    /// The bucket of a value: the first one for NaN.
    #[inline(always)]
    fn bucket(&self, value: f64) -> usize {
        let place = ((value - self.low) * self.scale).max(0.0).min((COUNT - 1) as f64);
        // SAFETY: neither `max` nor `min` answers NaN for a number and NaN, so it is a number from 0 to 255.
        let bucket = unsafe { place.to_int_unchecked::<i32>() };
        bucket as usize % COUNT
    }

    /// How many thresholds are below the value; of no meaning for NaN.
    #[inline(always)]
    pub(super) fn rank(&self, value: f64) -> u32 {
        let start = self.starts[self.bucket(value)];
        // SAFETY: a start is at most the number of thresholds, after which there are as many again as are compared.
        let near = unsafe { self.sorted.get_unchecked(usize::from(start)..usize::from(start) + NEAR) };
        u32::from(start) + near.iter().map(|t| u32::from(*t < value)).sum::<u32>()
    }

    /// [`Buckets::rank`] of each.
    #[inline(always)]
    pub(super) fn ranks<const W: usize>(&self, values: &[f64; W]) -> [u32; W] {
        let mut ranks = values.map(|value| self.bucket(value) as u32);
        for (rank, value) in ranks.iter_mut().zip(values) {
            let start = usize::from(self.starts[*rank as usize % COUNT]);
            // SAFETY: as in `rank`.
            let near = unsafe { self.sorted.get_unchecked(start..start + NEAR) };
            let below: [u8; NEAR] = std::array::from_fn(|n| u8::from(near[n] < *value));
            *rank = start as u32 + u32::from_ne_bytes(below).count_ones();
        }
        ranks
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + COUNT + size_of_val(&*self.sorted)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn few_infinite_and_uneven_ones_are_left_to_a_search() {
        let even: Vec<f64> = (0..255).map(|i| f64::from(i) * 0.1).collect();
        assert!(Buckets::new(&even).is_some());
        assert!(Buckets::new(&even[..7]).is_none());
        let all: Vec<f64> = (0..256).map(f64::from).collect();
        assert!(Buckets::new(&all).is_none());
        let mut infinite = even.clone();
        infinite.push(f64::INFINITY);
        assert!(Buckets::new(&infinite).is_none());
        let uneven: Vec<f64> = (0..20).map(|i| 1e-6 * f64::from(i)).chain([1e6]).collect();
        assert!(Buckets::new(&uneven).is_none());
        assert!(Buckets::new(&[f64::MIN, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, f64::MAX]).is_none());
    }

    proptest! {
        #[test]
        fn ranks_are_those_of_a_search(
            mut list in prop::collection::vec(-1e3..1e3f64, 8..120),
            values in prop::collection::vec(prop_oneof![-2e3..2e3f64, any::<f64>()], 40),
        ) {
            list.sort_by(f64::total_cmp);
            list.dedup();
            let Some(buckets) = Buckets::new(&list) else { return Ok(()) };
            let near = list.iter().flat_map(|t| [t.next_down(), *t, t.next_up()]);
            let ends = [f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0];
            for value in values.into_iter().chain(near).chain(ends).filter(|v| !v.is_nan()) {
                prop_assert_eq!(buckets.rank(value), list.partition_point(|t| *t < value) as u32, "{}", value);
            }
            // Whatever it is, it is within bounds.
            buckets.rank(f64::NAN);
        }
    }
}
