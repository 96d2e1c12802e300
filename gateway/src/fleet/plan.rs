//! Which versions of a model a call may get, and on which backends: the release's weights over what is admitted.
//!
//! A plan is made on the first call after something changed, and kept with the model: a change of one backend costs
//! nothing for the models that nobody calls.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use headgate_balance::life::State;
use headgate_balance::{Millis, admit, nanos};
use headgate_contract::fleet::VersionState;
use headgate_contract::release::{self, Serve};
use headgate_contract::route::Choice;
use headgate_contract::{Digest, Kind, Version};
use http::HeaderValue;

use super::place::Field;
use super::{Model, Seen, Snapshot};
use crate::config;

/// Reasons that an answer quotes.
const REASONS_MAX: usize = 3;
/// Rounds of backends, as [`State::round`] numbers them.
const ROUNDS: u8 = 3;
/// After so long, backends are told again what they were to load.
const WANT_AGAIN_MS: Millis = 1_000;

/// What is served of a model now.
#[derive(Debug)]
pub struct Plan {
    /// The serve list, in the release's order.
    pub serve: Vec<Serve>,
    /// The same with the backends that hold each version.
    pub planned: Vec<Arc<Planned>>,
    /// Whether it is today's list, and not an earlier one that stands in for it.
    pub current: bool,
    /// Whether too few that serve hold it: ejected, silent or draining backends are tried.
    pub panic: bool,
    /// Backends that are to be told to load it, by id.
    wants: Vec<u64>,
    /// Whether they were.
    told: AtomicBool,
}

/// A plan, or why there is none, and how long that holds.
#[derive(Debug)]
pub(super) struct Kept {
    epoch: u64,
    until: Millis,
    /// Whether it depends on how many backends are to hold it, and how many these were.
    is_placed: bool,
    replicas: u32,
    plan: Result<Arc<Plan>, Refusal>,
}

/// A version, and the backends to try for it.
#[derive(Debug)]
pub struct Planned {
    /// The version.
    pub version: Version,
    /// Its manifest's digest.
    pub digest: Digest,
    /// The version as a header's value.
    pub version_header: HeaderValue,
    /// The digest as a header's value.
    pub digest_header: HeaderValue,
    /// The backends: those among which one is chosen, then those that are tried one after another where that fails.
    pub backends: Vec<Seen>,
    /// How many of those that are chosen among serve, by whether they are far, and whether outside.
    pub serve: [[usize; 2]; 2],
    /// How many are chosen among.
    pub first: usize,
    /// How many have it ready: these come before the others. 0: the one that is called loads it.
    pub ready: usize,
    /// Whether any of them is none of ours, and may not take every call.
    pub foreign: bool,
}

impl Plan {
    /// Backends that are to be told to load the model, by id: once.
    pub fn wants(&self) -> &[u64] {
        match self.wants.is_empty() || self.told.load(Relaxed) || self.told.swap(true, Relaxed) {
            true => &[],
            false => &self.wants,
        }
    }
}

impl Planned {
    fn new(version: Version, digest: Digest, backends: Vec<Seen>) -> Self {
        let all = backends.len();
        Self::among(version, digest, backends, all, all)
    }

    /// The first of some backends are chosen among; so many of them have it ready.
    pub(super) fn among(version: Version, digest: Digest, backends: Vec<Seen>, first: usize, ready: usize) -> Self {
        let digest_header = HeaderValue::try_from(digest.to_string());
        // A digest is hex digits, which any header can hold.
        let digest_header = digest_header.unwrap_or_else(|_| HeaderValue::from_static(""));
        let mut serve = [[0; 2]; 2];
        for seen in backends.iter().take(first).filter(|seen| seen.state.serves()) {
            serve[usize::from(seen.far)][usize::from(seen.outside)] += 1;
        }
        let foreign = backends.iter().any(|seen| seen.backend.is_foreign());
        let version_header = version.get().into();
        Self { version, digest, version_header, digest_header, backends, serve, first, ready, foreign }
    }

    /// The same on those of its backends that a call may go to.
    pub(crate) fn only(&self, may: impl Fn(&Seen) -> bool) -> Self {
        let count = |of: usize| self.backends.iter().take(of).filter(|seen| may(seen)).count();
        let (first, ready) = (count(self.first), count(self.ready));
        let backends: Vec<Seen> = self.backends.iter().filter(|seen| may(seen)).cloned().collect();
        // Where none is left of those that are chosen among, the next one is.
        let first = first.max(1).min(backends.len());
        Self::among(self.version, self.digest, backends, first, ready)
    }
}

/// Why there is nothing to serve, for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// [`Kind::NotFound`], [`Kind::Loading`] or [`Kind::Unavailable`].
    pub kind: Kind,
    /// In words.
    pub message: String,
}

impl Model {
    /// What is served of it now.
    pub fn plan(&self, snapshot: &Snapshot, now: Millis, rules: &config::Fleet) -> Result<Arc<Plan>, Refusal> {
        let kept = self.plan.load();
        if let Some(kept) = &*kept
            && kept.epoch == snapshot.epoch
            && now < kept.until
            && (!kept.is_placed || kept.replicas == self.demand.members(nanos(now), &rules.place))
        {
            return kept.plan.clone();
        }
        let until = Cell::new(Millis::MAX);
        let plan = self.make_plan(snapshot, now, rules, None, &until).map(Arc::new);
        let kept = Kept {
            epoch: snapshot.epoch,
            until: until.get(),
            is_placed: snapshot.backends.iter().any(|seen| seen.member.is_some()),
            replicas: self.demand.members(nanos(now), &rules.place),
            plan: plan.clone(),
        };
        self.plan.store(Some(Arc::new(kept)));
        plan
    }

    /// What is served of it if `missing` is nowhere, whatever the backends reported.
    pub fn plan_without(
        &self,
        missing: Version,
        snapshot: &Snapshot,
        now: Millis,
        rules: &config::Fleet,
    ) -> Result<Plan, Refusal> {
        self.make_plan(snapshot, now, rules, Some(missing), &Cell::new(Millis::MAX))
    }

    /// The version that a caller named, and where it is.
    pub fn named(&self, choice: &Choice, snapshot: &Snapshot) -> Result<Planned, Refusal> {
        let (version, digest) = match choice {
            Choice::Version(version) => (*version, self.release.digest_of(*version)),
            Choice::Label(label) => match self.release.labels.get(label) {
                Some(labelled) => (labelled.version, Some(labelled.digest)),
                None => return refuse(Kind::NotFound, format!("model '{}' has no label '{label}'", self.name)),
            },
            Choice::Any => return refuse(Kind::Internal, "no version is named".to_owned()),
        };
        let Some(digest) = digest.or_else(|| self.reports(version).next().map(|(_, report)| report.digest)) else {
            return refuse(Kind::NotFound, format!("model '{}' has no version {version}", self.name));
        };
        for round in 0..ROUNDS {
            let (planned, _) = Field::new(self, snapshot, round, 1).planned(version, digest);
            if !planned.backends.is_empty() {
                return Ok(planned);
            }
            let backends = self.retiring(snapshot, version, digest, round);
            if !backends.is_empty() {
                return Ok(Planned::new(version, digest, backends));
            }
        }
        Err(self.why(&[(version, digest)]))
    }

    /// Wherever a backend knows of it, in whatever state; with any version that is known.
    pub fn anywhere(&self, snapshot: &Snapshot) -> Option<Planned> {
        let known = self.on.iter().flat_map(|held| held.versions.iter()).next()?;
        (0..ROUNDS).find_map(|round| {
            let in_round = snapshot.backends.iter().filter(|seen| seen.round == Some(round));
            let backends: Vec<Seen> = in_round.filter(|seen| self.is_on(seen.backend.id)).cloned().collect();
            (!backends.is_empty()).then(|| Planned::new(known.version, known.digest, backends))
        })
    }

    /// `until` is lowered to when time alone makes another plan of it.
    fn make_plan(
        &self,
        snapshot: &Snapshot,
        now: Millis,
        rules: &config::Fleet,
        missing: Option<Version>,
        until: &Cell<Millis>,
    ) -> Result<Plan, Refusal> {
        for round in 0..ROUNDS {
            let field = Field::new(self, snapshot, round, self.demand.members(nanos(now), &rules.place));
            if field.is_empty() {
                continue;
            }
            let picked = release::pick(&self.release, |serve| {
                if missing == Some(serve.version) {
                    return 0.0;
                }
                let standing = field.standing(serve.version, serve.digest);
                let since = now.saturating_sub(self.since(serve.version, serve.digest).unwrap_or(now));
                if let Some(left) = admit::changes_in(standing.ready, standing.of, since, &rules.admit) {
                    until.set(until.get().min(now.saturating_add(left)));
                }
                standing.usable(since, &rules.admit)
            });
            if let Some(picked) = picked {
                let mut wants = Vec::new();
                let planned = picked.serve.iter().map(|serve| {
                    let (planned, missing) = field.planned(serve.version, serve.digest);
                    wants.extend(missing);
                    Arc::new(planned)
                });
                let (planned, serve) = (planned.collect(), picked.serve.to_vec());
                if !wants.is_empty() {
                    until.set(until.get().min(now.saturating_add(WANT_AGAIN_MS)));
                }
                let (current, panic) = (picked.current, round > 0 || snapshot.panic);
                return Ok(Plan { planned, serve, current, panic, wants, told: AtomicBool::new(false) });
            }
        }
        let served = self.release.serve.iter().map(|serve| (serve.version, serve.digest));
        Err(self.why(&served.collect::<Vec<_>>()))
    }

    /// The backends of a round where a version is about to go, and still answers.
    fn retiring(&self, snapshot: &Snapshot, version: Version, digest: Digest, round: u8) -> Vec<Seen> {
        let retires = |seen: &&Seen| {
            self.state_on(seen.backend.id, version, digest) == Some(VersionState::Retiring) && seen.round == Some(round)
        };
        snapshot.backends.iter().filter(retires).cloned().collect()
    }

    fn since(&self, version: Version, digest: Digest) -> Option<Millis> {
        self.ready_since.iter().find(|(v, d, _)| (*v, *d) == (version, digest)).map(|known| known.2)
    }

    /// Why none of these versions can answer.
    fn why(&self, wanted: &[(Version, Digest)]) -> Refusal {
        let name = &self.name;
        if wanted.is_empty() {
            return Refusal {
                kind: Kind::NotFound,
                message: format!("model '{name}' has no version that is released"),
            };
        }
        let mut reasons = Vec::new();
        let mut loading = false;
        let reports = wanted.iter().flat_map(|(version, _)| self.reports(*version));
        for (_, report) in reports.filter(|(_, report)| wanted.contains(&(report.version, report.digest))) {
            loading |= report.state.as_index() == "LOADING";
            let state = report.state.as_str();
            let reason = match report.reason.as_str() {
                "" => format!("version {} is {state}", report.version),
                reason => {
                    format!("version {} is {state}: {}", report.version, reason.chars().take(300).collect::<String>())
                }
            };
            if reasons.len() < REASONS_MAX && !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
        if reasons.is_empty() {
            reasons.push("no backend has its version".to_owned());
        }
        let kind = if loading { Kind::Loading } else { Kind::Unavailable };
        Refusal { kind, message: format!("model '{name}' can't answer now: {}", reasons.join("; ")) }
    }
}

impl Snapshot {
    /// Whether any backend is listed that could be asked at all.
    pub fn any_backend(&self) -> bool {
        self.backends.iter().any(|seen| seen.state != State::Gone)
    }
}

fn refuse<T>(kind: Kind, message: String) -> Result<T, Refusal> {
    Err(Refusal { kind, message })
}
