//! The gateways that poll, and what each of them knows.

use std::collections::HashMap;
use std::time::Duration;

use headgate_contract::fleet::WAIT_MS_MAX;
use tokio::time::Instant;

/// The most gateways that are told apart.
const POLLERS_MAX: usize = 1024;
/// A gateway that has not asked for so long is gone: the longest poll and as long again.
const GONE_AFTER: Duration = Duration::from_millis(2 * WAIT_MS_MAX);

/// The gateways that poll.
#[derive(Debug, Default)]
pub struct Pollers {
    known: HashMap<String, (u64, Instant)>,
}

impl Pollers {
    /// Takes note of a poll with a cursor at `number`. True where the gateway knows more than before.
    pub fn polled(&mut self, poller: &str, number: u64, now: Instant) -> bool {
        if !self.known.contains_key(poller) && self.known.len() >= POLLERS_MAX {
            self.known.retain(|_, (_, last)| now.duration_since(*last) < GONE_AFTER);
            if self.known.len() >= POLLERS_MAX {
                return false;
            }
        }
        let before = self.known.insert(poller.to_owned(), (number, now));
        before.is_none_or(|(before, _)| before < number)
    }

    /// Whether every gateway that still polls knows of the change `number`.
    pub fn all_know(&mut self, number: u64, now: Instant) -> bool {
        self.known.retain(|_, (_, last)| now.duration_since(*last) < GONE_AFTER);
        self.known.values().all(|(known, _)| *known >= number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_slowest_gateway_that_still_asks_counts() {
        let mut pollers = Pollers::default();
        assert!(pollers.all_know(7, Instant::now()));
        assert!(pollers.polled("a", 7, Instant::now()));
        assert!(pollers.polled("b", 6, Instant::now()));
        assert!(!pollers.polled("b", 6, Instant::now()));
        assert!(!pollers.all_know(7, Instant::now()));
        tokio::time::sleep(GONE_AFTER / 2).await;
        pollers.polled("a", 7, Instant::now());
        tokio::time::sleep(GONE_AFTER / 2).await;
        assert!(pollers.all_know(7, Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn they_are_bounded() {
        let mut pollers = Pollers::default();
        (0..2 * POLLERS_MAX).for_each(|n| {
            pollers.polled(&n.to_string(), 1, Instant::now());
        });
        assert_eq!(pollers.known.len(), POLLERS_MAX);
        tokio::time::sleep(GONE_AFTER).await;
        assert!(pollers.polled("new", 1, Instant::now()));
        assert_eq!(pollers.known.len(), 1);
    }
}
