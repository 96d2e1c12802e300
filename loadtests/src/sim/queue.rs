//! What is to happen, in the order of time; what is due at once, in the order in which it was planned.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use headgate_balance::Nanos;

/// Events of virtual time.
#[derive(Debug)]
pub struct Queue<E> {
    heap: BinaryHeap<Due<E>>,
    planned: u64,
}

#[derive(Debug)]
struct Due<E> {
    at: Nanos,
    nth: u64,
    event: E,
}

impl<E> Queue<E> {
    /// An empty queue.
    pub fn new() -> Self {
        Self { heap: BinaryHeap::new(), planned: 0 }
    }

    /// Plans an event.
    pub fn push(&mut self, at: Nanos, event: E) {
        self.planned += 1;
        self.heap.push(Due { at, nth: self.planned, event });
    }

    /// The next event and its time.
    pub fn pop(&mut self) -> Option<(Nanos, E)> {
        self.heap.pop().map(|due| (due.at, due.event))
    }

    /// Events that were planned so far.
    pub fn planned(&self) -> u64 {
        self.planned
    }
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> Ord for Due<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap gives its greatest first.
        (other.at, other.nth).cmp(&(self.at, self.nth))
    }
}

impl<E> PartialOrd for Due<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Due<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Due<E> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_time_then_by_turn() {
        let mut queue = Queue::new();
        [(5, 'c'), (1, 'a'), (5, 'd'), (2, 'b')].into_iter().for_each(|(at, event)| queue.push(at, event));
        let order: String = std::iter::from_fn(|| queue.pop()).map(|(_, event)| event).collect();
        assert_eq!((order.as_str(), queue.planned()), ("abcd", 4));
    }
}
