//! For how long a thread that serves connections has worked without waiting for any: what came meanwhile waits as long.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Beyond this, work that others can do is better left to them.
const LONG: Duration = Duration::from_micros(200);

thread_local! {
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// This thread has waited, and works again.
pub fn began() {
    BEGAN.set(Some(Instant::now()));
}

/// Whether this thread has worked for long. A thread that never said when it began has not.
pub fn is_long() -> bool {
    BEGAN.get().is_some_and(|began| began.elapsed() > LONG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_long_once_it_lasts() {
        assert!(!is_long());
        began();
        std::thread::sleep(2 * LONG);
        assert!(is_long());
    }
}
