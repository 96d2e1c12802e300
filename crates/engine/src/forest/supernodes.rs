//! One row: all splits of a tree decided at once, then resolved through tables of several splits each.
//!
//! The ranks of a row fit a few registers. One shuffle by the tree's lanes and one compare with its places give a bit for
//! each of its up to 63 splits. The tree is cut into *supernodes* of up to five splits whose bits are neighbours; a table of
//! 32 entries for each says which leaf they lead to, or which supernode. A tree of 63 leaves takes three or four look-ups
//! where a walk takes a dozen steps.

use super::lanes::{FLIP, Index, Lanes, Test};
use super::{Forest, SPLIT};

/// Lanes of a forest, and bits of a mask.
pub(super) const LANES_MAX: usize = 64;
/// Splits of a tree: the last bit of a mask stays 0, which is how leaves lead to themselves.
const SPLITS_MAX: usize = 63;
/// Splits of a supernode.
const BITS: usize = 5;
/// Entries of a supernode's table.
const ENTRIES: usize = 1 << BITS;
/// Bits of an entry that say by how much the mask is shifted: a leaf's is 63.
const SHIFT_BITS: u32 = 6;
const LEAF: u16 = 63;
/// Entries of a tree.
const TREE_ENTRIES_MAX: usize = 1 << (u16::BITS - SHIFT_BITS);
/// Trees that are resolved side by side.
const TREES: usize = 8;

/// What the splits of a tree compare, by their place in its mask.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Splits {
    lanes: [u8; LANES_MAX],
    /// A place beyond the tree's splits has one that no rank is above.
    places: [i8; LANES_MAX],
}

/// All trees of a forest.
#[derive(Debug, Default)]
pub(super) struct Supernodes {
    splits: Vec<Splits>,
    trees: Vec<Tree>,
    /// What the tables hold: the shift of what comes next and, above it, the place of its table in the tree's entries. A
    /// tree's first entries are its leaves', each of which holds its own: the shift leaves only the mask's last bit.
    entries: Vec<u16>,
}

#[derive(Clone, Copy, Debug)]
struct Tree {
    /// Its first entry.
    first: u32,
    /// Where its leaves' values begin in the blocks' list.
    leaves: u32,
    /// The root's entry.
    root: u16,
}

/// The ranks of a row: those of a forest's up to 64 lanes.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub(super) struct Ranks([i8; LANES_MAX]);

impl Ranks {
    /// Ranks in the order of values, 64 of them or more.
    pub(super) fn flipped(ranks: &[u8]) -> Self {
        Self(std::array::from_fn(|i| (ranks[i] ^ FLIP) as i8))
    }
}

impl Supernodes {
    /// None where the forest has too many lanes, a tree too many splits, or all of them would take more than `room_bytes`.
    /// `leaves_at` says where the values of a tree's leaves begin; they are numbered from its last node on.
    pub(super) fn new(
        forest: &Forest,
        lanes: &Lanes,
        index: &Index,
        room_bytes: usize,
        leaves_at: impl Fn(usize) -> u32,
    ) -> Option<Self> {
        if lanes.len() > LANES_MAX {
            return None;
        }
        let mut all = Self::default();
        for tree in 0..forest.roots.len() {
            if forest.nodes_of(tree).len() > 2 * SPLITS_MAX + 1 {
                return None;
            }
            all.tree(forest, lanes, index, tree, leaves_at(tree))?;
            if all.memory_bytes() > room_bytes {
                return None;
            }
        }
        all.entries.shrink_to_fit();
        Some(all)
    }

    fn tree(&mut self, forest: &Forest, lanes: &Lanes, index: &Index, tree: usize, leaves: u32) -> Option<()> {
        let shape = Shape::of(forest, tree);
        let mut splits = Splits { lanes: [0; LANES_MAX], places: [i8::MAX; LANES_MAX] };
        let cut = shape.cut();
        let count = shape.leaf.iter().flatten().count();
        if count + cut.len() * ENTRIES > TREE_ENTRIES_MAX {
            return None;
        }
        // Of each supernode the first bit, and its entry.
        let mut bit = 0;
        let mut places = Vec::new();
        for (nth, members) in cut.iter().enumerate() {
            let shift = bit.min(LANES_MAX - 1 - BITS);
            places.push((bit, ((count + nth * ENTRIES) << SHIFT_BITS | shift) as u16));
            for (i, &member) in members.iter().enumerate() {
                let test: Test = lanes.test(index, &forest.nodes[shape.start + member]);
                (splits.lanes[bit + i], splits.places[bit + i]) = (test.lane as u8, test.place);
            }
            bit += members.len();
        }
        let entry = |node: usize| match shape.leaf[node] {
            Some(leaf) => u16::from(leaf) << SHIFT_BITS | LEAF,
            None => cut.iter().zip(&places).find(|(c, _)| c[0] == node).map_or(LEAF, |(_, p)| p.1),
        };
        let first = u32::try_from(self.entries.len()).ok()?;
        self.entries.extend((0..count as u16).map(|leaf| leaf << SHIFT_BITS | LEAF));
        for (members, &(bit, place)) in cut.iter().zip(&places) {
            let shift = usize::from(place & LEAF);
            for bits in 0..ENTRIES {
                let mut node = members[0];
                while let Some(i) = members.iter().position(|&m| m == node) {
                    node = shape.child[node] + (bits >> (bit - shift + i) & 1);
                }
                self.entries.push(entry(node));
            }
        }
        self.trees.push(Tree { first, leaves, root: entry(0) });
        self.splits.push(splits);
        Some(())
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.splits.len() * (size_of::<Splits>() + size_of::<Tree>()) + self.entries.len() * size_of::<u16>()
    }

    /// The decisions of each tree's splits: bit for bit right or left. The plain twin of what follows.
    #[cfg(test)]
    pub(super) fn decide(&self, ranks: &Ranks, masks: &mut Vec<u64>) {
        masks.extend(self.splits.iter().map(|splits| {
            let bits = splits.lanes.iter().zip(&splits.places).enumerate();
            bits.fold(0, |mask, (i, (&lane, &place))| {
                mask | u64::from(ranks.0[usize::from(lane) % LANES_MAX] > place) << i
            })
        }));
    }

    /// The same in AVX-512, which finds a byte among 64.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    pub(super) fn decide_avx512(&self, ranks: &Ranks, masks: &mut Vec<u64>) {
        use std::arch::x86_64::*;
        // SAFETY: `Ranks` are 64 bytes at a multiple of 64, and so are both arrays of `Splits`.
        let load = |from: *const i8| unsafe { _mm512_load_si512(from.cast()) };
        let ranks = load(ranks.0.as_ptr());
        masks.extend(self.splits.iter().map(|splits| {
            let found = _mm512_permutexvar_epi8(load(splits.lanes.as_ptr().cast()), ranks);
            _mm512_cmpgt_epi8_mask(found, load(splits.places.as_ptr()))
        }));
    }

    /// Finds the leaf of each tree by its mask and calls `add` with the tree's number and the leaf's value, in order.
    #[inline(always)]
    pub(super) fn resolve(&self, masks: &[u64], leaves: &[f64], mut add: impl FnMut(usize, f64)) {
        // Values are added while the trees after theirs are resolved: each waits for the one before.
        let (mut waiting, mut count, mut tree) = ([0.0; TREES], 0, 0);
        for (trees, masks) in self.trees.chunks(TREES).zip(masks.chunks(TREES)) {
            let last = trees.len().min(masks.len()) - 1;
            let bases: [u32; TREES] = std::array::from_fn(|i| trees[i.min(last)].first);
            let masks: [u64; TREES] = std::array::from_fn(|i| masks[i.min(last)]);
            let mut at: [u16; TREES] = std::array::from_fn(|i| trees[i.min(last)].root);
            for value in &waiting[..count] {
                add(tree, *value);
                tree += 1;
            }
            loop {
                let mut all = LEAF;
                for i in 0..TREES {
                    let bits = (masks[i] >> (at[i] & LEAF)) as usize % ENTRIES;
                    let place = bases[i] as usize + usize::from(at[i] >> SHIFT_BITS) + bits;
                    // SAFETY: an entry names a table of its tree, which has `ENTRIES`, or, with a shift that leaves no bit,
                    // a leaf's own entry.
                    at[i] = unsafe { *self.entries.get_unchecked(place) };
                    all &= at[i];
                }
                if all == LEAF {
                    break;
                }
            }
            count = last + 1;
            for i in 0..count {
                waiting[i] = leaves[trees[i].leaves as usize + usize::from(at[i] >> SHIFT_BITS)];
            }
        }
        for value in &waiting[..count] {
            add(tree, *value);
            tree += 1;
        }
    }
}

/// What is needed of a tree's shape, by its nodes, which are in the order of levels.
struct Shape {
    start: usize,
    /// The left child.
    child: Vec<usize>,
    /// The numbers of leaves; none for splits.
    leaf: Vec<Option<u8>>,
    height: Vec<u32>,
}

impl Shape {
    fn of(forest: &Forest, tree: usize) -> Self {
        let range = forest.nodes_of(tree);
        let (start, nodes) = (range.start, &forest.nodes[range]);
        let mut shape =
            Self { start, child: vec![0; nodes.len()], leaf: vec![None; nodes.len()], height: vec![0; nodes.len()] };
        let mut leaves = 0;
        for (at, node) in nodes.iter().enumerate().rev() {
            if node.meta & SPLIT == 0 {
                shape.leaf[at] = Some(leaves);
                leaves += 1;
            } else {
                let child = node.child as usize - start;
                shape.child[at] = child;
                shape.height[at] = 1 + shape.height[child].max(shape.height[child + 1]);
            }
        }
        shape
    }

    /// The supernodes, each by its splits, its root first. None for a single leaf.
    fn cut(&self) -> Vec<Vec<usize>> {
        let (mut roots, mut next, mut cut) = (vec![0], 0, Vec::new());
        while let Some(&root) = roots.get(next) {
            next += 1;
            let members = self.grow(root);
            let children = members.iter().flat_map(|&m| [self.child[m], self.child[m] + 1]);
            roots.extend(children.filter(|c| self.leaf[*c].is_none() && !members.contains(c)));
            if !members.is_empty() {
                cut.push(members);
            }
        }
        cut
    }

    /// The splits of the supernode under `root`: from each the higher child goes in first, so that the longest way through
    /// the tree takes the fewest look-ups. Empty where the root is a leaf.
    fn grow(&self, root: usize) -> Vec<usize> {
        let mut members = Vec::with_capacity(BITS);
        let mut border = vec![root];
        while members.len() < BITS {
            let highest = (0..border.len()).filter(|&i| self.leaf[border[i]].is_none());
            let Some(i) = highest.max_by_key(|&i| self.height[border[i]]) else { break };
            let node = border.swap_remove(i);
            members.push(node);
            border.extend([self.child[node], self.child[node] + 1]);
        }
        members
    }
}
