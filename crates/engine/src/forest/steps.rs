//! Trees walked on ranks: the way of few rows, and of trees too large to be evaluated whole.

use super::lanes::{Index, Lane, Lanes};
use super::walk::Sum;
use super::{Forest, SPLIT};

/// Trees that are walked side by side: as many as there are registers for.
const SIDE: usize = 9;
/// Rows that are walked side by side.
pub(super) const ROWS: usize = 8;
/// The place of a leaf: no rank is above it.
const NONE_ABOVE: u8 = u8::MAX;

/// A node as it is walked.
pub(super) trait Step: Copy {
    /// The node's lane. Of a leaf any lane that there is.
    fn lane(self) -> usize;
    /// The row goes right where its rank is above.
    fn place(self) -> u8;
    /// How far away the left child is, before the right one; 0 of a leaf, which leads to itself.
    fn ahead(self) -> u32;
}

/// A node of small trees over few lanes. A leaf has its number for a lane: [`Ranks`] has room for all of a byte.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Narrow {
    lane: u8,
    place: u8,
    ahead: u16,
}

/// A node of any tree.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Wide {
    lane: u16,
    place: u8,
    ahead: u32,
}

/// The nodes of all trees, as those of the forest in order and number.
#[derive(Debug)]
pub(super) enum Steps {
    Narrow(Vec<Narrow>),
    /// And for each node, if it is a leaf, its number.
    Wide(Vec<Wide>, Vec<u32>),
}

/// What is known of all trees, each by its number.
pub(super) struct Trees<'a> {
    /// Their first nodes.
    pub(super) roots: &'a [u32],
    /// The margins that they add to.
    pub(super) groups: &'a [u32],
    /// Where the values of their leaves begin, and may be where the last ones end.
    pub(super) firsts: &'a [u32],
    pub(super) leaves: &'a [f64],
}

/// The ranks of one row, in the order of values, not flipped.
#[derive(Debug, Default)]
pub(super) struct Ranks {
    bytes: Vec<u8>,
}

impl Step for Narrow {
    #[inline(always)]
    fn lane(self) -> usize {
        self.lane.into()
    }

    #[inline(always)]
    fn place(self) -> u8 {
        self.place
    }

    #[inline(always)]
    fn ahead(self) -> u32 {
        self.ahead.into()
    }
}

impl Step for Wide {
    #[inline(always)]
    fn lane(self) -> usize {
        self.lane.into()
    }

    #[inline(always)]
    fn place(self) -> u8 {
        self.place
    }

    #[inline(always)]
    fn ahead(self) -> u32 {
        self.ahead
    }
}

impl Ranks {
    /// For so many lanes, with room for a leaf's number.
    pub(super) fn of(&mut self, lanes: usize) -> &mut [u8] {
        self.bytes.resize(lanes.max(1 << u8::BITS), 0);
        &mut self.bytes
    }
}

impl Steps {
    /// Leaves are numbered from a tree's last node on.
    pub(super) fn new(forest: &Forest, lanes: &Lanes, index: &Index) -> Self {
        let largest = (0..forest.roots.len()).map(|t| forest.nodes_of(t).len()).max().unwrap_or(0);
        let test = |at: usize| {
            let node = &forest.nodes[at];
            let test = lanes.test(index, node);
            (test.lane, test.rank(), node.child - at as u32)
        };
        let mut numbers = vec![0; forest.nodes.len()];
        for tree in 0..forest.roots.len() {
            forest.leaves_of(tree).zip(0..).for_each(|(leaf, number)| numbers[leaf] = number);
        }
        let split = |at: usize| forest.nodes[at].meta & SPLIT != 0;
        if lanes.len() <= 1 << u8::BITS && largest < 1 << (u8::BITS + 1) {
            let narrow = |at: usize| match split(at) {
                true => {
                    let (lane, place, ahead) = test(at);
                    Narrow { lane: lane as u8, place, ahead: ahead as u16 }
                }
                false => Narrow { lane: numbers[at] as u8, place: NONE_ABOVE, ahead: 0 },
            };
            return Self::Narrow((0..forest.nodes.len()).map(narrow).collect());
        }
        let wide = |at: usize| match split(at) {
            true => {
                let (lane, place, ahead) = test(at);
                Wide { lane: lane as u16, place, ahead }
            }
            false => Wide { lane: 0, place: NONE_ABOVE, ahead: 0 },
        };
        Self::Wide((0..forest.nodes.len()).map(wide).collect(), numbers)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Self::Narrow(nodes) => size_of_val(nodes.as_slice()),
            Self::Wide(nodes, numbers) => size_of_val(nodes.as_slice()) + size_of_val(numbers.as_slice()),
        }
    }

    /// Walks one row down all trees and adds their leaves to its margins, in order. `ranks` are [`Ranks::of`] all lanes.
    pub(super) fn row<S: Sum>(&self, trees: &Trees<'_>, ranks: &[u8], margins: &mut [f64]) {
        match self {
            Self::Narrow(nodes) => row::<_, S>(nodes, trees, ranks, margins, |_, node| node.lane()),
            Self::Wide(nodes, numbers) => row::<_, S>(nodes, trees, ranks, margins, |at, _| numbers[at] as usize),
        }
    }

    /// Walks rows down the tree that begins at `root`, [`ROWS`] side by side from row `first` on, and calls `found` with
    /// each one's place among them and leaf number. `ranks`, flipped by `FLIP`, have all lanes and as many as a byte tells.
    #[inline(always)]
    pub(super) fn tree<const W: usize, const FLIP: u8>(
        &self,
        root: u32,
        ranks: &[Lane<W>],
        first: usize,
        mut found: impl FnMut(usize, usize),
    ) {
        match self {
            Self::Narrow(nodes) => {
                tree::<W, FLIP, _>(nodes, root, ranks, first, |row, _, node| found(row, node.lane()));
            }
            Self::Wide(nodes, numbers) => {
                tree::<W, FLIP, _>(nodes, root, ranks, first, |row, at, _| found(row, numbers[at] as usize));
            }
        }
    }
}

/// Not inlined, so that the loop has all registers, whatever it is called from.
#[inline(never)]
fn row<N: Step, S: Sum>(
    nodes: &[N],
    trees: &Trees<'_>,
    ranks: &[u8],
    margins: &mut [f64],
    number: impl Fn(usize, N) -> usize,
) {
    let mut sum = margins[0];
    let sides = trees.roots.chunks(SIDE).zip(trees.firsts.chunks(SIDE)).zip(trees.groups.chunks(SIDE));
    for ((roots, firsts), groups) in sides {
        let mut at: [u32; SIDE] = std::array::from_fn(|i| roots[i.min(roots.len() - 1)]);
        loop {
            for at in &mut at {
                step(nodes, ranks, at);
            }
            // Every other step is looked at, as those at their leaves stay there.
            if at.iter_mut().fold(0, |moved, at| moved | step(nodes, ranks, at)) == 0 {
                break;
            }
        }
        for ((&at, &first), &group) in at.iter().zip(firsts).zip(groups) {
            // SAFETY: as in `step`.
            let node = unsafe { *nodes.get_unchecked(at as usize) };
            let leaf = trees.leaves[first as usize + number(at as usize, node)];
            if margins.len() == 1 {
                sum = S::add(sum, leaf);
            } else {
                margins[group as usize] = S::add(margins[group as usize], leaf);
            }
        }
    }
    if let [margin] = margins {
        *margin = sum;
    }
}

/// Goes a step down, and answers whether that was one: not 0.
#[inline(always)]
fn step<N: Step>(nodes: &[N], ranks: &[u8], at: &mut u32) -> u32 {
    // SAFETY: a walk begins at a root and goes to children or stays, all of them nodes of the tree, as the builder has
    // proven. A node's lane is one of the forest's, a leaf's is a byte: ranks has both.
    let (node, rank) = unsafe {
        let node = *nodes.get_unchecked(*at as usize);
        (node, *ranks.get_unchecked(node.lane()))
    };
    *at = *at + node.ahead() + u32::from(node.place() < rank);
    node.ahead()
}

#[inline(always)]
fn tree<const W: usize, const FLIP: u8, N: Step>(
    nodes: &[N],
    root: u32,
    ranks: &[Lane<W>],
    first: usize,
    mut found: impl FnMut(usize, usize, N),
) {
    let step = |i: usize, at: &mut u32| {
        // SAFETY: as in `step`.
        let (node, ranks) = unsafe {
            let node = *nodes.get_unchecked(*at as usize);
            (node, ranks.get_unchecked(node.lane()))
        };
        // The remainder changes nothing: `first` is a multiple of `ROWS`, and so is `W`.
        *at = *at + node.ahead() + u32::from(node.place() < ranks[(first + i) % W] ^ FLIP);
        node.ahead()
    };
    let mut at = [root; ROWS];
    loop {
        for (i, at) in at.iter_mut().enumerate() {
            step(i, at);
        }
        // Every other step is looked at, as those at their leaves stay there.
        if at.iter_mut().enumerate().fold(0, |moved, (i, at)| moved | step(i, at)) == 0 {
            break;
        }
    }
    for (i, &at) in at.iter().enumerate() {
        // SAFETY: as in `step`.
        found(i, at as usize, unsafe { *nodes.get_unchecked(at as usize) });
    }
}
