//! Forests right at, below and above what kernels have room for.

use super::*;

/// Every number of rows that is scored in another way.
const ROWS_EACH: [usize; 15] = [0, 1, 6, 7, 8, 9, 16, 17, 32, 64, 65, 96, 97, 128, 130];

fn leaf(value: f64) -> RawNode<'static> {
    RawNode::Leaf { value, linear: None, cover: 1.0 }
}

/// A tree that has so many leaves and compares column `c` with threshold `t` where `asks(split)` is `(c, t)`.
fn add(builder: &mut Builder, group: u32, leaves: usize, asks: impl Fn(usize) -> (usize, f64)) {
    let node = |n: usize| {
        if n >= leaves - 1 {
            return Ok(leaf(n as f64 * 0.1 - 3.0));
        }
        let (column, threshold) = asks(n);
        let test = Test::AtMost { threshold, rule: Rule::F64 };
        Ok(RawNode::Split {
            column,
            test,
            missing_left: column % 2 == 0,
            left: 2 * n + 1,
            right: 2 * n + 2,
            cover: 1.0,
        })
    };
    builder.add(group, 2 * leaves - 1, node).unwrap();
}

/// Values on, between and beyond the thresholds 0, 1, 2, ... `values`, and odd ones.
fn rows(rows: usize, columns: usize, values: usize) -> Batch {
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MAX, f64::MIN, -f64::NAN];
    let mut batch = Batch::new(columns, rows);
    for row in 0..rows {
        for column in 0..columns {
            let pick = row * 7919 + column * 104_729;
            let value = match pick % 11 {
                0 => odd[pick % odd.len()],
                1 => values as f64,
                _ => (pick % (2 * values + 3)) as f64 / 2.0 - 0.5,
            };
            batch.set(row, column, value);
        }
    }
    batch
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// All numbers of rows, at all levels, with a bench that other forests have used.
fn holds(forest: &Forest, columns: usize, values: usize, width: usize, bench: &mut Bench) {
    for n in ROWS_EACH {
        let batch = rows(n, columns, values);
        let mut expected = vec![0.5; n * width];
        forest.add::<f64>(&batch, &mut Scratch::default(), &mut expected, width);
        for level in Level::ALL.into_iter().filter(|l| l.here()) {
            let kernel = Kernel::new(forest, Lanes::of(forest).unwrap(), level, usize::MAX);
            let mut margins = vec![0.5; n * width];
            kernel.add::<f64>(forest, &batch, bench, &mut margins, width);
            assert_eq!(bits(&margins), bits(&expected), "{level}, {n} rows");
        }
        single_rows::<f64>(forest, &batch, &expected, width);
    }
}

#[test]
fn leaves_lanes_and_thresholds_at_their_bounds() {
    let mut bench = Bench::default();
    for lanes in [1, 2, 63, 64, 65, 255, 256, 257] {
        for leaves in [1, 2, 63, 64, 65, 255, 256, 257, 511, 512, 513] {
            let mut builder = Builder::new(lanes);
            // A tree that has the greatest lane's number, small ones around a large one.
            (0..lanes).for_each(|c| add(&mut builder, 0, 2, |_| (c, 3.0)));
            add(&mut builder, 1, leaves, |n| ((n + lanes - 1) % lanes, 3.0));
            add(&mut builder, 0, 1, |_| (0, 0.0));
            let forest = builder.finish();
            assert_eq!(Lanes::of(&forest).unwrap().0.len(), lanes);
            holds(&forest, lanes, 6, 2, &mut bench);
        }
    }
}

#[test]
fn thresholds_of_a_column_at_the_bounds_of_its_lanes() {
    let mut bench = Bench::default();
    // Even ones are told by where they lie, others are searched for; missing values go left by one column, right by the other.
    for (even, column) in [(true, 0), (true, 1), (false, 0), (false, 1)] {
        for thresholds in [7, 8, 127, 128, 254, 255, 256, 257, 509, 510, 511, 765, 766] {
            let at = |n: usize| n as f64 + if even || n < 3 { 0.0 } else { 1e9 };
            let mut builder = Builder::new(2);
            add(&mut builder, 0, thresholds + 1, |n| (column, at(n * 7 % thresholds)));
            (0..thresholds).for_each(|n| add(&mut builder, 0, 2, |_| (column, at(n))));
            let forest = builder.finish();
            assert_eq!(Lanes::of(&forest).unwrap().0.len(), thresholds.div_ceil(255));
            holds(&forest, 2, thresholds, 1, &mut bench);
        }
    }
}

#[test]
fn only_trees_that_are_evaluated_whole_are_spared_the_walk() {
    let spared = |leaves: &[usize]| {
        let mut builder = Builder::new(1);
        leaves.iter().for_each(|leaves| add(&mut builder, 0, *leaves, |n| (0, n as f64)));
        let forest = builder.finish();
        Kernel::new(&forest, Lanes::of(&forest).unwrap(), Level::best(), usize::MAX).spared()
    };
    assert_eq!((spared(&[]), spared(&[1]), spared(&[256, 2])), (1.0, 1.0, 1.0));
    assert_eq!((spared(&[257]), spared(&[16, 4096])), (0.0, 0.25));
}

#[test]
fn forests_of_leaves_or_of_nothing() {
    let mut bench = Bench::default();
    for trees in [0, 1, 7, 8, 9, 10, 256, 257, 600] {
        let mut builder = Builder::new(0);
        (0..trees).for_each(|tree| add(&mut builder, tree % 3, 1, |_| (0, 0.0)));
        holds(&builder.finish(), 0, 1, 3, &mut bench);
    }
}

#[test]
fn lanes_beyond_what_operations_and_steps_tell() {
    let mut bench = Bench::default();
    let forest = |lanes: usize| {
        let mut builder = Builder::new(lanes);
        add(&mut builder, 0, 300, |n| ((lanes - 1 - n) % lanes, 3.0));
        (0..lanes).for_each(|c| add(&mut builder, 0, 2, |_| (c, 3.0)));
        builder.finish()
    };
    for lanes in [blocks::LANES_MAX - 1, blocks::LANES_MAX, blocks::LANES_MAX + 1] {
        holds(&forest(lanes), lanes, 6, 1, &mut bench);
    }
    let most = usize::from(u16::MAX);
    let (widest, batch) = (forest(most), rows(9, most, 6));
    let kernel = Kernel::new(&widest, Lanes::of(&widest).unwrap(), Level::best(), usize::MAX);
    let (mut margins, mut expected) = (vec![0.5; 9], vec![0.5; 9]);
    kernel.add::<f64>(&widest, &batch, &mut bench, &mut margins, 1);
    widest.add::<f64>(&batch, &mut Scratch::default(), &mut expected, 1);
    assert_eq!(bits(&margins), bits(&expected));
    assert!(Lanes::of(&forest(most + 1)).is_none());
}

#[test]
fn a_level_that_this_processor_lacks_is_not_used() {
    let mut builder = Builder::new(1);
    add(&mut builder, 0, 4, |n| (0, n as f64));
    let forest = builder.finish();
    for level in Level::ALL {
        let kernel = Kernel::new(&forest, Lanes::of(&forest).unwrap(), level, usize::MAX);
        assert!(kernel.level.here(), "{level} became {}", kernel.level);
    }
}

#[test]
fn tables_of_supernodes_are_left_out_where_there_is_no_room() {
    let mut builder = Builder::new(1);
    (0..100).for_each(|_| add(&mut builder, 0, 2, |_| (0, 1.0)));
    let forest = builder.finish();
    let (lanes, index) = Lanes::of(&forest).unwrap();
    let room = |bytes| Supernodes::new(&forest, &lanes, &index, bytes, |_| 0);
    let bytes = room(usize::MAX).unwrap().memory_bytes();
    assert!(room(bytes).is_some() && room(bytes - 1).is_none());
    // Tight or not, a kernel takes no more than one without them.
    let tight = Kernel::new(&forest, (lanes, index), Level::best(), 0);
    assert!(tight.supernodes.is_none());
}
