//! Which heads the other side knows: the sender's side of the table.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

/// Heads that were seen once and not sent for keeping, by hash.
const SEEN: usize = 1024;

/// The heads that a receiver keeps, by number.
#[derive(Debug)]
pub struct Heads {
    numbers: HashMap<Arc<[u8]>, u16>,
    kept: Vec<Kept>,
    most: usize,
    /// The one that is looked at next for replacement.
    hand: usize,
    seen: Vec<u64>,
}

#[derive(Debug)]
struct Kept {
    block: Arc<[u8]>,
    used: bool,
}

/// How a call's head is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// By its number.
    Known(u16),
    /// It is to be sent for keeping under this number, then by it.
    New(u16),
    /// With the call: it may never come again.
    Inline,
}

impl Heads {
    /// None yet of so many.
    pub fn new(most: u16) -> Self {
        // The last number stands for a head that comes with its call.
        let most = usize::from(most.min(u16::MAX - 1));
        Self { numbers: HashMap::new(), kept: Vec::new(), most, hand: 0, seen: vec![0; SEEN] }
    }

    /// Where a head is. One that comes the second time is kept, in place of one that was not used for longest, about (the
    /// clock algorithm: Corbató, "A Paging Experiment with the Multics System", 1968).
    pub fn place(&mut self, block: &[u8]) -> Placed {
        if let Some(&number) = self.numbers.get(block) {
            if let Some(kept) = self.kept.get_mut(usize::from(number)) {
                kept.used = true;
            }
            return Placed::Known(number);
        }
        if self.most == 0 {
            return Placed::Inline;
        }
        let hash = self.numbers.hasher().hash_one(block) | 1;
        let seen = &mut self.seen[hash as usize / 2 % SEEN];
        if std::mem::replace(seen, hash) != hash {
            return Placed::Inline;
        }
        Placed::New(self.keep(block.into()))
    }

    /// The head of a number.
    pub fn get(&self, number: u16) -> Option<&Arc<[u8]>> {
        self.kept.get(usize::from(number)).map(|kept| &kept.block)
    }

    /// Whether a number still stands for this very head, which counts as used then: what [`Self::place`] would find by
    /// looking at all of it.
    pub fn is_still(&mut self, number: u16, block: &Arc<[u8]>) -> bool {
        let kept = self.kept.get_mut(usize::from(number)).filter(|kept| Arc::ptr_eq(&kept.block, block));
        kept.is_some_and(|kept| {
            kept.used = true;
            true
        })
    }

    fn keep(&mut self, block: Arc<[u8]>) -> u16 {
        let kept = Kept { block: Arc::clone(&block), used: true };
        let at = if self.kept.len() < self.most {
            self.kept.push(kept);
            self.kept.len() - 1
        } else {
            let at = self.unused();
            let before = std::mem::replace(&mut self.kept[at], kept);
            self.numbers.remove(&before.block);
            at
        };
        self.numbers.insert(block, at as u16);
        at as u16
    }

    fn unused(&mut self) -> usize {
        loop {
            let at = self.hand;
            self.hand = (self.hand + 1) % self.kept.len();
            if !std::mem::replace(&mut self.kept[at].used, false) {
                return at;
            }
        }
    }
}
