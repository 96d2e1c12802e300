//! Room for a call: not more than the backends can carry at once, and of that to each caller its share.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};

use headgate_balance::share::{Place, Shares};
use headgate_contract::Kind;

use super::Edge;
use super::choose::Chosen;
use super::reply::Failed;
use crate::config::Config;
use crate::metrics;

/// A call that was let in; it counts until it is dropped.
pub(super) struct LetIn {
    shares: Arc<Shares>,
    place: Place,
}

impl Edge {
    /// Lets a call in where its caller has not had its share. `caller` is its address.
    pub(super) fn let_in(&self, caller: &str, config: &Config) -> Result<LetIn, Failed> {
        let entered = self.shares.enter(hash(caller), self.fleet.room(), &config.fleet.share);
        match entered {
            Ok(place) => Ok(LetIn { shares: Arc::clone(&self.shares), place }),
            Err(over) => {
                metrics::shed("share");
                let (calls, share) = (over.calls, over.share);
                let message =
                    format!("{calls} calls of this caller are in flight, and its share is {share} of them now");
                Err(Failed::new(Kind::RateLimited, message))
            }
        }
    }

    /// Whether the backends have so much to do that nothing is sent twice.
    pub(super) fn is_tight(&self, config: &Config) -> bool {
        self.shares.is_tight(self.fleet.room(), &config.fleet.share)
    }

    /// No backend that holds the version has room.
    pub(super) fn no_room(&self, chosen: &Chosen) -> Failed {
        metrics::shed("limit");
        let backends = chosen.planned.backends.len();
        let message =
            format!("none of the {backends} backends that hold '{}' has room for another call", chosen.model.name);
        Failed::new(Kind::Overloaded, message)
    }
}

impl Drop for LetIn {
    fn drop(&mut self) {
        self.shares.leave(self.place);
    }
}

/// All connections of one address are one caller. The hash has a key of its own in each process: nobody can look for
/// addresses that fall together with another's.
fn hash(caller: &str) -> u64 {
    static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    KEYS.hash_one(caller.rsplit_once(':').map_or(caller, |(address, _)| address))
}
