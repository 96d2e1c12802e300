//! One model: its release, and its versions' lives.

use std::sync::Arc;
use std::time::Duration;

use headgate_contract::fleet::{ModelReport, VersionReport, VersionState};
use headgate_contract::release::{self, Release};
use headgate_contract::{Digest, ModelName, Version};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::demand::{Ask, Urgency};
use super::plan::{Fares, Plan, RANK_KEPT, Wanted, plan};
use super::resident::Use;
use super::{Cause, Event, Life, State};
use crate::servable::Servable;
use crate::snapshot::{Known, Model};

/// Versions that calls name beside those that serve, at most.
const NAMED_MAX: usize = 2;
/// Who holds a version's engine when no call does: the keeper and the snapshot.
const HOLDERS: usize = 2;

/// A model as the keeper knows it.
#[derive(Debug)]
pub struct Kept {
    /// Its name.
    pub name: ModelName,
    /// Its release; an empty one once the catalog has none.
    pub release: Arc<Release>,
    /// Its versions.
    pub versions: Vec<Tracked>,
    /// Whether the newest list has been ready or failed once: before, nothing is served, so that a starting backend
    /// does not answer from yesterday.
    pub started: bool,
    /// Whether waiting for it is over: it can answer, or never will.
    pub settled: bool,
    /// The states that its versions were last counted in.
    pub counted: Vec<VersionState>,
    /// Whether it is loaded because the release says so, or when it is asked for.
    pub load: Load,
}

/// When a model is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Load {
    /// Always.
    Always,
    /// On demand, and nobody asks for it.
    Cold,
    /// On demand, and it was asked for.
    Asked {
        /// How urgent its loads are.
        urgency: Urgency,
        /// Versions that are asked for beside those that serve, the latest first.
        named: Vec<(Version, Digest)>,
    },
}

/// A version as the keeper knows it.
#[derive(Debug)]
pub struct Tracked {
    /// The model.
    pub model: ModelName,
    /// The version.
    pub version: Version,
    /// Its manifest's digest.
    pub digest: Digest,
    /// Its life.
    pub life: Life,
    /// What answers, while it is Ready or Retiring.
    pub servable: Option<Arc<Servable>>,
    /// Its place among the loads that wait for their turn.
    pub queued: Option<(u8, u64)>,
    /// The load that is under way.
    pub job: Option<Job>,
    /// The change by which gateways were told that it retires.
    pub told: Option<u64>,
    /// Whether it comes and goes too often for a line of the log each time.
    quiet: bool,
}

/// A load that is under way.
#[derive(Debug)]
pub struct Job {
    /// Which: a load that was given up may still report.
    pub id: u64,
    /// Gives it up.
    pub cancel: CancellationToken,
}

impl Drop for Job {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Kept {
    /// A model that was not here before.
    pub fn new(name: ModelName, release: Arc<Release>, load: Load) -> Self {
        Self { name, release, versions: Vec::new(), started: false, settled: false, counted: Vec::new(), load }
    }

    /// It is asked for, where it is loaded on demand. False where that changes nothing.
    pub fn ask(&mut self, ask: Ask) -> bool {
        let before = self.load.clone();
        let (urgency, mut named) = match &self.load {
            Load::Always => return false,
            Load::Cold => (ask.urgency, Vec::new()),
            Load::Asked { urgency, named } => (ask.urgency.min(*urgency), named.clone()),
        };
        if let Some(version) = ask.version.filter(|version| !named.contains(version)) {
            named.truncate(NAMED_MAX - 1);
            named.insert(0, version);
        }
        self.load = Load::Asked { urgency, named };
        self.load != before || !self.is_under_way()
    }

    /// Everything of it goes, at once: calls in flight end on what they hold. Returns how many bytes that frees.
    pub fn evict(&mut self) -> u64 {
        let held = self.versions.iter().filter_map(|t| t.servable.as_ref());
        let bytes = held.map(|servable| servable.memory_bytes()).sum();
        self.versions.retain(|t| !matches!(t.life.state(), State::Ready | State::Retiring { .. }));
        self.started = false;
        self.load = Load::Cold;
        bytes
    }

    /// Whether a release that changes is loaded at once.
    pub fn follows_releases(&self) -> bool {
        matches!(self.load, Load::Always | Load::Asked { urgency: Urgency::Change, .. })
    }

    /// Whether it holds memory, or will in a moment.
    pub fn is_resident(&self) -> bool {
        self.versions.iter().any(|t| t.servable.is_some() || t.job.is_some())
    }

    /// Whether anything of it is loaded, or waits for its turn.
    pub fn is_under_way(&self) -> bool {
        self.versions.iter().any(|t| t.job.is_some() || t.queued.is_some())
    }

    /// How it is used.
    pub fn usage(&self) -> Use {
        let mut used = 0;
        for servable in self.versions.iter().filter_map(|t| t.servable.as_ref()) {
            if Arc::strong_count(servable) > HOLDERS {
                return Use::Busy;
            }
            used = used.max(servable.used());
        }
        if self.is_under_way() { Use::Busy } else { Use::Idle(used) }
    }

    /// Brings the versions in line with the release: adds what is wanted, gives up what is not, lets go what may. Returns
    /// what waits for its turn.
    pub fn replan(&mut self, now: Instant, retire: Duration) -> Vec<Wanted> {
        let Plan { mut wanted, settled, newest_ready, hopeless } = plan(&self.release, |digest| self.fares(digest));
        let urgency = self.load.fit(&mut wanted);
        self.started |= settled && urgency.is_some();
        let gone = self.release.lists().is_empty();
        let release = Arc::clone(&self.release);
        self.versions.retain_mut(|tracked| {
            let is_wanted = wanted.iter().any(|w| w.digest == tracked.digest);
            match tracked.life.state() {
                State::Absent | State::Working(_) if !tracked.life.is_set_aside() => is_wanted,
                // Remembered as long as the release names it, or it would be tried again and again.
                State::Absent | State::Working(_) | State::Failed { .. } => {
                    is_wanted || release.digest_of(tracked.version) == Some(tracked.digest)
                }
                State::Ready if !is_wanted && (newest_ready || gone) => tracked.take(Event::Leave, now, retire),
                State::Retiring { .. } if is_wanted => {
                    tracked.told = None;
                    tracked.take(Event::Return, now, retire)
                }
                State::Ready | State::Retiring { .. } => true,
            }
        });
        for wanted in &wanted {
            if !self.versions.iter().any(|t| t.digest == wanted.digest) {
                let quiet = self.load != Load::Always;
                self.versions.push(Tracked::new(self.name.clone(), wanted.version, wanted.digest, quiet));
            }
        }
        self.settled |= hopeless || urgency.is_none() || !self.serving().is_empty();
        let Some(urgency) = urgency else { return Vec::new() };
        let waiting = |w: &&Wanted| self.tracked(&w.digest).is_some_and(|t| *t.life.state() == State::Absent);
        // What is only kept is not loaded on demand.
        let waiting = wanted.iter().filter(waiting).filter(|w| self.load == Load::Always || w.rank < RANK_KEPT);
        waiting.map(|w| Wanted { rank: w.rank + urgency as u8 * (RANK_KEPT + 1), ..*w }).collect()
    }

    /// Brings how it is loaded in line with what it holds.
    pub fn review(&mut self) {
        let (resident, under_way) = (self.is_resident(), self.is_under_way());
        match &mut self.load {
            Load::Always | Load::Cold => {}
            // Nothing came of it, and it is not tried again before it is asked for again.
            Load::Asked { .. } if !resident && !under_way => self.load = Load::Cold,
            // Whoever waited has it: what comes now is another version, which can wait for those that calls wait for.
            Load::Asked { urgency, .. } if !under_way => *urgency = Urgency::Change,
            Load::Asked { .. } => {}
        }
    }

    /// The version with this digest.
    pub fn tracked(&self, digest: &Digest) -> Option<&Tracked> {
        self.versions.iter().find(|t| t.digest == *digest)
    }

    /// The version with this digest.
    pub fn tracked_mut(&mut self, digest: &Digest) -> Option<&mut Tracked> {
        self.versions.iter_mut().find(|t| t.digest == *digest)
    }

    /// Lets time pass, and lets those go whose retirement is over. True where something changed.
    pub fn tick(&mut self, now: Instant, all_know: impl Fn(u64) -> bool) -> bool {
        let mut changed = false;
        self.versions.retain_mut(|tracked| {
            changed |= tracked.life.tick(now);
            let over = match tracked.life.state() {
                State::Retiring { until } => *until <= now || tracked.told.is_some_and(&all_know),
                _ => false,
            };
            changed |= over;
            if over {
                tracing::info!(model = %self.name, version = %tracked.version, state = "gone", "version");
            }
            !over
        });
        changed
    }

    /// Whether any version retires.
    pub fn retires(&self) -> bool {
        self.versions.iter().any(|t| matches!(t.life.state(), State::Retiring { .. }))
    }

    /// When time next changes something here.
    pub fn wakes_at(&self) -> Option<Instant> {
        self.versions.iter().filter_map(|t| t.life.wakes_at()).min()
    }

    /// Whether nothing is left of it. One that serves nothing may still name who answers for its scopes.
    pub fn is_gone(&self) -> bool {
        self.versions.is_empty() && self.release.lists().is_empty() && self.release.fallback.is_none()
    }

    /// As calls see it.
    pub fn model(&self) -> Model {
        Model {
            name: self.name.clone(),
            release: Arc::clone(&self.release),
            serving: self.serving(),
            held: self.versions.iter().filter_map(|t| t.servable.clone()).collect(),
            states: self.versions.iter().map(|t| t.known(&self.load)).collect(),
        }
    }

    /// As gateways see it.
    pub fn report(&self) -> ModelReport {
        let mut release = Release::clone(&self.release);
        // What picking does not need stays in the bucket.
        for entry in &mut release.history {
            entry.who.clear();
            entry.why.clear();
        }
        let versions = self.versions.iter().map(|t| t.report(&self.load)).collect();
        ModelReport { model: self.name.clone(), release, versions }
    }

    fn serving(&self) -> Vec<release::Serve> {
        if !self.started {
            return Vec::new();
        }
        let usable = |digest: &Digest| self.tracked(digest).is_some_and(|t| *t.life.state() == State::Ready);
        let picked = release::pick(&self.release, |serve| if usable(&serve.digest) { 1.0 } else { 0.0 });
        picked.map_or_else(Vec::new, |p| p.serve.to_vec())
    }

    fn fares(&self, digest: &Digest) -> Fares {
        self.tracked(digest).map_or(Fares::Unsettled, |t| t.life.fares())
    }
}

impl Load {
    /// Adds versions that are named to those that a release wants, and leaves out what is not even looked at. How urgent it
    /// is to load them; none where they are not to be loaded.
    fn fit(&self, wanted: &mut Vec<Wanted>) -> Option<Urgency> {
        match self {
            Load::Always => Some(Urgency::Call),
            Load::Cold => {
                wanted.retain(|w| w.rank < RANK_KEPT);
                None
            }
            Load::Asked { urgency, named } => {
                for &(version, digest) in named {
                    match wanted.iter_mut().find(|w| w.digest == digest) {
                        Some(known) => known.rank = 0,
                        None => wanted.push(Wanted { version, digest, rank: 0 }),
                    }
                }
                Some(*urgency)
            }
        }
    }
}

impl Tracked {
    fn new(model: ModelName, version: Version, digest: Digest, quiet: bool) -> Self {
        let life = Life::default();
        Self { model, version, digest, life, servable: None, queued: None, job: None, told: None, quiet }
    }

    /// Takes an event, and says so in one line; one that can't be is a fault of ours, and changes nothing. Always true.
    pub fn take(&mut self, event: Event, now: Instant, retire: Duration) -> bool {
        let (before, reason) = self.life.reported();
        let before = (before, reason.to_owned());
        let taken = self.life.take(event, now, retire, rand::random());
        let (state, reason) = self.life.reported();
        let unchanged = (state, reason) == (before.0, before.1.as_str());
        let (model, version, state) = (&self.model, self.version, state.as_str());
        match taken {
            Err(error) => tracing::error!(%model, %version, %error, "version: out of order"),
            Ok(()) if unchanged => tracing::debug!(%model, %version, state, reason, "version: looked at again"),
            Ok(()) if state == "failed" => tracing::warn!(%model, %version, state, reason, "version"),
            Ok(()) if self.quiet => tracing::debug!(%model, %version, state, "version"),
            Ok(()) => tracing::info!(%model, %version, state, "version"),
        }
        true
    }

    fn known(&self, load: &Load) -> Known {
        let (state, reason) = self.life.reported();
        let retried = matches!(self.life.state(), State::Failed { cause: Cause::Passing | Cause::Lacking, .. });
        let (cold, absent) = (*load == Load::Cold, *self.life.state() == State::Absent);
        // Of a model that nobody asks for, what failed is tried again when someone does.
        let state = if cold && absent { VersionState::Absent } else { state };
        let comes = matches!(self.life.state(), State::Working(_)) || absent && (cold || self.queued.is_some());
        Known { version: self.version, digest: self.digest, state, reason: reason.to_owned(), retried, comes }
    }

    fn report(&self, load: &Load) -> VersionReport {
        let Known { version, digest, state, reason, .. } = self.known(load);
        let memory_bytes = self.servable.as_ref().map_or(0, |s| s.memory_bytes());
        VersionReport { version, digest, state, reason, memory_bytes }
    }
}
