//! From when a version counts as there: on all the backends that should hold it, or on half of them after a while.
//!
//! Without waiting for all, one fast backend would carry all the traffic of a new version; without the second rule, one
//! backend that can't load it would keep it from everybody.

use crate::Millis;

/// How long a version that is ready on some backends waits for the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// After so long, half of the backends will do.
    pub patience_ms: Millis,
}

impl Default for Rules {
    fn default() -> Self {
        Self { patience_ms: 10_000 }
    }
}

/// The part of the capacity that can serve a version which is ready on `ready` of the `of` backends that should hold
/// it, and has been on one of them for `since_ms`: 1 once it is admitted. What `headgate_contract::release::pick` asks
/// for.
pub fn usable(ready: usize, of: usize, since_ms: Millis, rules: &Rules) -> f64 {
    if ready == 0 || of == 0 {
        0.0
    } else if ready >= of || (ready * 2 >= of && since_ms >= rules.patience_ms) {
        1.0
    } else {
        ready as f64 / of as f64
    }
}

/// After how long [`usable`] answers otherwise by time alone, where it does.
pub fn changes_in(ready: usize, of: usize, since_ms: Millis, rules: &Rules) -> Option<Millis> {
    (ready < of && ready * 2 >= of && ready > 0)
        .then(|| rules.patience_ms.saturating_sub(since_ms))
        .filter(|&left| left > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn all_at_once_half_after_a_while() {
        let rules = Rules::default();
        assert_eq!(usable(4, 4, 0, &rules), 1.0);
        assert_eq!(usable(3, 4, 9_999, &rules), 0.75);
        assert_eq!(usable(2, 4, 10_000, &rules), 1.0);
        assert_eq!(usable(1, 4, 60_000, &rules), 0.25);
        assert_eq!(changes_in(3, 4, 4_000, &rules), Some(6_000));
        assert_eq!((changes_in(1, 4, 0, &rules), changes_in(4, 4, 0, &rules)), (None, None));
    }

    proptest! {
        #[test]
        fn more_backends_and_more_time_never_make_it_less(ready in 0usize..20, of in 0usize..20, since in 0u64..20_000) {
            let rules = Rules::default();
            let now = usable(ready, of, since, &rules);
            prop_assert!((0.0..=1.0).contains(&now));
            prop_assert!(usable(ready + 1, of, since, &rules) >= now);
            prop_assert!(usable(ready, of, since + 1_000, &rules) >= now);
            prop_assert_eq!(now > 0.0, ready > 0 && of > 0);
            if let Some(left) = changes_in(ready, of, since, &rules) {
                prop_assert!(now < 1.0 && usable(ready, of, since + left, &rules) == 1.0);
            }
        }
    }
}
