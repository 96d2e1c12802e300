//! What a server says that it has, and has not when it is called: not believed for a while, longer each time.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headgate_contract::{ModelName, Version};
use tokio::time::Instant;

/// How long it is not believed at first.
const FIRST: Duration = Duration::from_secs(1);
/// And at most; for so long after that is over, it is remembered.
const LONGEST: Duration = Duration::from_secs(60);
/// Versions that are remembered at once.
const MAX: usize = 1_024;

/// The versions that it has not.
#[derive(Debug, Default)]
pub(super) struct Astray(Mutex<HashMap<(ModelName, Version), Since>>);

#[derive(Clone, Copy, Debug)]
struct Since {
    until: Instant,
    last: Duration,
}

impl Astray {
    /// It was called for a version, and said that it has not got it.
    pub(super) fn note(&self, model: &ModelName, version: Version) {
        let now = Instant::now();
        let mut all = self.lock();
        all.retain(|_, since| now < since.until + LONGEST);
        let key = (model.clone(), version);
        let before = all.get(&key).copied();
        if before.is_some_and(|since| now < since.until) || (before.is_none() && all.len() >= MAX) {
            // Calls that were on their way count once.
            return;
        }
        let last = before.map_or(FIRST, |since| (since.last * 2).min(LONGEST));
        all.insert(key, Since { until: now + last, last });
        tracing::warn!(%model, %version, not_believed_ms = last.as_millis() as u64, "listed as ready, and not there");
    }

    /// What it is not believed to have now.
    pub(super) fn all(&self) -> HashSet<(ModelName, Version)> {
        let now = Instant::now();
        self.lock().iter().filter(|(_, since)| now < since.until).map(|(key, _)| key.clone()).collect()
    }

    /// It is another process.
    pub(super) fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(ModelName, Version), Since>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_lies_again_is_believed_later() {
        let (astray, model): (_, ModelName) = (Astray::default(), "m".parse().unwrap());
        let lies = || astray.note(&model, Version::FIRST);
        let believed = || astray.all().is_empty();
        assert!(believed());
        (0..10).for_each(|_| lies());
        assert_eq!(astray.all(), HashSet::from([(model.clone(), Version::FIRST)]));
        tokio::time::sleep(FIRST).await;
        assert!(believed());
        lies();
        tokio::time::sleep(FIRST).await;
        assert!(!believed(), "it was believed as soon as at first");
        tokio::time::sleep(FIRST + LONGEST).await;
        lies();
        tokio::time::sleep(FIRST).await;
        assert!(believed(), "an old lie was held against it");
        lies();
        astray.forget();
        assert!(believed());
    }
}
