//! Which versions of a model a call may get, and on which backends: the release's weights over what is admitted.
//!
//! A plan is made on the first call after something changed, and kept with the model: a change of one backend costs
//! nothing for the models that nobody calls.

use std::cell::Cell;
use std::sync::Arc;

use headgate_balance::life::State;
use headgate_balance::{Millis, admit};
use headgate_contract::fleet::VersionState;
use headgate_contract::release::{self, Serve};
use headgate_contract::route::Choice;
use headgate_contract::{Digest, Kind, Version};
use http::HeaderValue;

use super::{Model, Seen, Snapshot};

/// Reasons that an answer quotes.
const REASONS_MAX: usize = 3;
/// Rounds of backends, as [`State::round`] numbers them.
const ROUNDS: u8 = 3;

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
}

/// A plan, or why there is none, and how long that holds.
#[derive(Debug)]
pub(super) struct Kept {
    epoch: u64,
    until: Millis,
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
    /// The backends.
    pub backends: Vec<Seen>,
    /// How many of them serve, by whether they are far, and whether outside.
    pub serve: [[usize; 2]; 2],
}

impl Planned {
    fn new(version: Version, digest: Digest, backends: Vec<Seen>) -> Self {
        let digest_header = HeaderValue::try_from(digest.to_string());
        // A digest is hex digits, which any header can hold.
        let digest_header = digest_header.unwrap_or_else(|_| HeaderValue::from_static(""));
        let mut serve = [[0; 2]; 2];
        for seen in backends.iter().filter(|seen| seen.state.serves()) {
            serve[usize::from(seen.far)][usize::from(seen.outside)] += 1;
        }
        let version_header = version.get().into();
        Self { version, digest, version_header, digest_header, backends, serve }
    }

    /// The same on other backends.
    pub(crate) fn with(&self, backends: Vec<Seen>) -> Self {
        Self::new(self.version, self.digest, backends)
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
    pub fn plan(&self, snapshot: &Snapshot, now: Millis, rules: &admit::Rules) -> Result<Arc<Plan>, Refusal> {
        let kept = self.plan.load();
        if let Some(kept) = &*kept
            && kept.epoch == snapshot.epoch
            && now < kept.until
        {
            return kept.plan.clone();
        }
        let until = Cell::new(Millis::MAX);
        let plan = self.make_plan(snapshot, now, rules, None, &until).map(Arc::new);
        let kept = Kept { epoch: snapshot.epoch, until: until.get(), plan: plan.clone() };
        self.plan.store(Some(Arc::new(kept)));
        plan
    }

    /// What is served of it if `missing` is nowhere, whatever the backends reported.
    pub fn plan_without(
        &self,
        missing: Version,
        snapshot: &Snapshot,
        now: Millis,
        rules: &admit::Rules,
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
            for state in [VersionState::Ready, VersionState::Retiring] {
                let backends = self.holders(snapshot, version, digest, round, state);
                if !backends.is_empty() {
                    return Ok(Planned::new(version, digest, backends));
                }
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
        rules: &admit::Rules,
        missing: Option<Version>,
        until: &Cell<Millis>,
    ) -> Result<Plan, Refusal> {
        // Ours should hold what is released; others hold what they want.
        let is_foreign = self.is_foreign();
        let should_hold = |seen: &Seen| match is_foreign {
            true => self.is_on(seen.backend.id),
            false => !seen.backend.is_foreign(),
        };
        for round in 0..ROUNDS {
            let of = snapshot.backends.iter().filter(|seen| seen.round == Some(round) && should_hold(seen)).count();
            if of == 0 {
                continue;
            }
            let picked = release::pick(&self.release, |serve| {
                if missing == Some(serve.version) {
                    return 0.0;
                }
                let ready = self.holders(snapshot, serve.version, serve.digest, round, VersionState::Ready).len();
                let since = now.saturating_sub(self.since(serve.version, serve.digest).unwrap_or(now));
                if let Some(left) = admit::changes_in(ready, of, since, rules) {
                    until.set(until.get().min(now.saturating_add(left)));
                }
                admit::usable(ready, of, since, rules)
            });
            if let Some(picked) = picked {
                let planned = picked.serve.iter().map(|serve| {
                    let backends = self.holders(snapshot, serve.version, serve.digest, round, VersionState::Ready);
                    Arc::new(Planned::new(serve.version, serve.digest, backends))
                });
                return Ok(Plan {
                    planned: planned.collect(),
                    serve: picked.serve.to_vec(),
                    current: picked.current,
                    panic: round > 0 || snapshot.panic,
                });
            }
        }
        let served = self.release.serve.iter().map(|serve| (serve.version, serve.digest));
        Err(self.why(&served.collect::<Vec<_>>()))
    }

    fn holders(
        &self,
        snapshot: &Snapshot,
        version: Version,
        digest: Digest,
        round: u8,
        state: VersionState,
    ) -> Vec<Seen> {
        let holds = |id: &u64| {
            self.on
                .iter()
                .filter(|held| held.backend == *id)
                .flat_map(|held| held.versions.iter())
                .any(|report| report.version == version && report.digest == digest && report.state == state)
        };
        let in_round = snapshot.backends.iter().filter(|seen| seen.round == Some(round));
        in_round.filter(|seen| holds(&seen.backend.id)).cloned().collect()
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
