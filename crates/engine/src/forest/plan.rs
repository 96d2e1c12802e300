//! Into which blocks the rows of a batch are split.
//!
//! A block costs nearly the same however many of its rows are filled, and wide ones cost less a row.

/// Rows of a block.
pub(super) const NARROW: usize = 16;
pub(super) const MEDIUM: usize = 32;
pub(super) const WIDE: usize = 64;
pub(super) const BROAD: usize = 96;
pub(super) const WIDEST: usize = 128;
/// From so many rows on a block costs less than as many rows one by one.
pub(super) const FEW: usize = 7;

/// Rows that are scored together and what that costs, a row alone costing 100: measured with AVX2 on a forest of 500
/// trees of 63 leaves over 50 features.
const WAYS: [(usize, u32); 6] = [(1, 100), (NARROW, 630), (MEDIUM, 770), (WIDE, 1180), (BROAD, 1600), (WIDEST, 1990)];
/// Rows up to which all splits are weighed; of more, a widest block is taken off first.
const MOST: usize = 2 * WIDEST;

/// For so many rows the way of the first of them, and what all cost.
const BEST: [(u8, u32); MOST + 1] = {
    let mut best = [(0, 0); MOST + 1];
    let mut rows = 1;
    while rows <= MOST {
        best[rows].1 = u32::MAX;
        let mut way = 0;
        while way < WAYS.len() {
            let (width, cost) = WAYS[way];
            let cost = cost + best[rows.saturating_sub(width)].1;
            if cost < best[rows].1 {
                best[rows] = (width as u8, cost);
            }
            way += 1;
        }
        rows += 1;
    }
    best
};

/// How many of the rows that are left are scored together next: 1, or a block that may be less than full.
pub(super) fn next(left: usize) -> usize {
    if left > MOST { WIDEST } else { left.min(BEST[left].0.into()) }
}

/// The same with AVX-512, where a row alone costs less and a vector is as wide as a wide block.
pub(super) fn next_avx512(left: usize) -> usize {
    match left {
        _ if left > NARROW => left.min(WIDE),
        _ if left >= FEW => left,
        _ => 1,
    }
}

/// What rows cost, in rows alone.
pub(super) fn cost(rows: usize) -> f64 {
    let widest = rows.saturating_sub(MOST).div_ceil(WIDEST);
    let (_, rest) = BEST[rows - widest * WIDEST];
    (widest as f64 * f64::from(WAYS[WAYS.len() - 1].1) + f64::from(rest)) / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(mut rows: usize, next: fn(usize) -> usize) -> Vec<usize> {
        let mut blocks = Vec::new();
        while rows > 0 {
            blocks.push(next(rows));
            rows -= next(rows);
        }
        blocks
    }

    /// What the blocks cost that these rows fit into.
    fn sum(blocks: &[usize]) -> f64 {
        let way =
            |rows: usize| WAYS.iter().find(|(width, _)| rows <= *width).map_or(f64::NAN, |w| f64::from(w.1) / 100.0);
        blocks.iter().map(|rows| way(*rows)).sum()
    }

    #[test]
    fn splits_cost_what_is_said_and_no_other_costs_less() {
        for rows in 0..1000 {
            let blocks = split(rows, next);
            assert_eq!(blocks.iter().sum::<usize>(), rows);
            assert!((sum(&blocks) - cost(rows)).abs() < 1e-6, "{rows}: {blocks:?}");
            for (width, _) in WAYS {
                let first = width.min(rows);
                assert!(rows > MOST || rows == 0 || cost(rows) <= sum(&[first]) + cost(rows - first) + 1e-6, "{rows}");
            }
        }
    }

    #[test]
    fn rows_that_a_block_would_waste_go_another_way() {
        assert_eq!(split(FEW - 1, next), [1; FEW - 1]);
        assert_eq!(split(FEW, next), [FEW]);
        let mut over = split(BROAD + 2, next);
        over.sort_unstable();
        assert_eq!(over, [1, 1, BROAD]);
        assert_eq!(split(WIDEST, next), [WIDEST]);
        assert_eq!(split(3 * WIDEST, next), [WIDEST; 3]);
    }

    #[test]
    fn with_avx512_blocks_are_as_wide_as_a_vector() {
        assert_eq!(split(150, next_avx512), [64, 64, 22]);
        assert_eq!(split(70, next_avx512), [64, 1, 1, 1, 1, 1, 1]);
        assert_eq!(split(71, next_avx512), [64, 7]);
    }
}
