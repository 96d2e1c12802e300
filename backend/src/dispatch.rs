//! The one way from a call to a reply, whatever door it came through.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use headgate_contract::route::Target;
use headgate_contract::{Digest, Kind, ModelName, Version};
use headgate_engine::{Batch, Outputs};
use http::HeaderMap;
use tokio::time::Instant;

use crate::compute::{Compute, with_desk};
use crate::config::Limits;
use crate::decode::{Asked, Bounds, Form};
use crate::encode;
use crate::fleet::Board;
use crate::gather::{self, Joined, Place};
use crate::life::demand::Demand;
use crate::metrics::{Metrics, Outcome};
use crate::predict::{Answer, Desk};
use crate::refusal::Refusal;
use crate::runtime::Predictor;
use crate::servable::Servable;
use crate::snapshot::Snapshot;
use crate::turn;

pub mod bring;
pub mod resolve;

/// What is scored where it is read: less than the time that other calls on the thread would notice.
const INLINE: Duration = Duration::from_micros(500);
/// The same on a thread that has worked for long already: about what it takes to hand a call over.
const INLINE_BUSY: Duration = Duration::from_micros(60);
/// Bodies up to this are decoded where they are read: 64 KiB take about 0.2 ms.
const INLINE_BYTES: usize = 64 << 10;
/// And on a thread that has worked for long.
const INLINE_BYTES_BUSY: usize = 12 << 10;
/// And up to so many values: a row of absent features has two bytes and is as long as any other.
const INLINE_CELLS: usize = 64 << 10;
/// What decoding a byte costs, about: of a text, and of values that lie in the body as they are.
const NS_PER_BYTE: f64 = 3.0;
const NS_PER_BINARY_BYTE: f64 = 0.5;

/// Everything that a call may touch.
#[derive(Debug)]
pub struct Shared {
    /// What is served.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// What gateways are told.
    pub board: Arc<Board>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Threads for large calls.
    pub compute: Compute,
    /// What bounds calls.
    pub limits: Limits,
    /// Where models are loaded on demand: who waits for them.
    pub demand: Option<Arc<Demand>>,
    /// Predictions in flight.
    pub in_flight: AtomicUsize,
}

/// A prediction call.
#[derive(Debug)]
pub struct Call<'a> {
    /// How its body is written.
    pub form: Form,
    /// The model, and which of its versions.
    pub target: &'a Target,
    /// The version that a gateway chose, and its digest.
    pub chosen: Option<Chosen>,
    /// When an answer is of no more use.
    pub deadline: Instant,
    /// The headers, for the one that a release may pick by.
    pub headers: &'a HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// A version that a gateway chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The version.
    pub version: Version,
    /// Its digest, where the gateway said it.
    pub digest: Option<Digest>,
}

/// A reply to a prediction call.
#[derive(Debug)]
pub struct Reply {
    /// The version that answered.
    pub servable: Arc<Servable>,
    /// The answer.
    pub answer: Answer,
    /// The model that answered, where it is not the one asked for.
    pub fallback: Option<ModelName>,
    /// How long the call waited for its model to be loaded, where it did.
    pub waited: Option<Duration>,
}

/// A place among the calls in flight.
#[derive(Debug)]
pub struct InFlight<'s> {
    shared: &'s Shared,
}

impl Shared {
    /// Takes a place among the calls in flight; refused where there is none.
    pub fn enter(&self) -> Result<InFlight<'_>, Refusal> {
        let before = self.in_flight.fetch_add(1, Ordering::AcqRel);
        let place = InFlight { shared: self };
        if before >= self.limits.in_flight_max {
            let words = format!("{} calls are in flight already", self.limits.in_flight_max);
            return Err(Refusal::new(Kind::Overloaded, words));
        }
        Ok(place)
    }

    /// Answers a call.
    pub async fn dispatch(&self, call: Call<'_>) -> Result<Reply, Refusal> {
        let started = Instant::now();
        let (resolved, has_waited) = self.brought(&call, started).await;
        let waited = has_waited.then(|| started.elapsed());
        if has_waited {
            self.metrics.waited.increment(1);
        }
        let resolved = match resolved {
            Ok(resolved) => resolved,
            Err(refusal) => {
                self.metrics.series.unresolved().count(Outcome::Refused(refusal.kind), started.elapsed());
                return Err(refusal);
            }
        };
        let servable = resolved.servable;
        let bounds = Bounds { rows_max: self.limits.rows_max, strict: resolved.strict };
        let answer = match started + waited.unwrap_or_default() >= call.deadline {
            true => Err(Refusal::new(Kind::DeadlineExceeded, "the deadline passed before it was scored")),
            false => self.answer(&servable, &call, bounds).await,
        };
        let outcome = match &answer {
            Ok(answer) => Outcome::Answered { rows: answer.rows, ignored: answer.ignored.values() },
            Err(refusal) => Outcome::Refused(refusal.kind),
        };
        servable.series.count_since(outcome, started);
        Ok(Reply { answer: answer?, servable, fallback: resolved.fallback, waited })
    }

    /// Small calls are answered here, large ones on a compute thread.
    async fn answer(&self, servable: &Arc<Servable>, call: &Call<'_>, bounds: Bounds) -> Result<Answer, Refusal> {
        if let Some(predictor) = servable.predictor() {
            return self.predicted(servable, Arc::clone(predictor), call, bounds).await;
        }
        if call.body.len() <= INLINE_BYTES_BUSY || call.body.len() <= INLINE_BYTES && !turn::is_long() {
            match with_desk(|desk| inline(desk, servable, call, bounds))? {
                Inline::Answered(answer) => return Ok(answer),
                Inline::Joined(joined) => return gather::answer(joined).await,
                Inline::Elsewhere(read) => return self.elsewhere(servable, call, bounds, read).await,
            }
        }
        self.elsewhere(servable, call, bounds, None).await
    }

    /// Rows that are scored neither here nor on a compute thread; what is large is still read and written on one.
    async fn predicted(
        &self,
        servable: &Arc<Servable>,
        predictor: Arc<dyn Predictor>,
        call: &Call<'_>,
        bounds: Bounds,
    ) -> Result<Answer, Refusal> {
        let (form, deadline) = (call.form, call.deadline);
        let reading = reading(call);
        let here = match call.body.len() <= INLINE_BYTES {
            true => with_desk(|desk| {
                read_small(desk, servable, call, bounds).map(|asked| asked.map(|asked| (asked, desk.take())))
            })?,
            false => None,
        };
        let small = here.is_some();
        let (asked, batch) = match here {
            Some(read) => read,
            None => {
                let (servable, body) = (Arc::clone(servable), call.body.clone());
                let read =
                    move |desk: &mut Desk| desk.read(&servable, form, &body, bounds).map(|asked| (asked, desk.take()));
                self.compute.run(reading, deadline, read).await?
            }
        };
        let scored = match batch.rows() {
            // Every row is at fault: there is nothing to score.
            0 => Outputs::default(),
            _ => predictor.score(batch, encode::want(&servable.schema, &asked), deadline).await?,
        };
        if small {
            return Ok(Answer::new(servable, asked, &scored));
        }
        let servable = Arc::clone(servable);
        self.compute.run(reading, deadline, move |_| Ok(Answer::new(&servable, asked, &scored))).await
    }

    /// Answers a call on a compute thread, which reads what was not read before.
    async fn elsewhere(
        &self,
        servable: &Arc<Servable>,
        call: &Call<'_>,
        bounds: Bounds,
        read: Option<(Asked, Batch)>,
    ) -> Result<Answer, Refusal> {
        let cost = match &read {
            Some((asked, batch)) => cost(servable, batch.rows(), asked.contributions),
            None => reading(call) + cost(servable, rows_about(servable, call, bounds), false),
        };
        let (servable, body, form, deadline) = (Arc::clone(servable), call.body.clone(), call.form, call.deadline);
        self.compute
            .run(cost, deadline, move |desk| {
                let asked = match read {
                    Some((asked, batch)) => desk.put(asked, batch),
                    None => desk.read(&servable, form, &body, bounds)?,
                };
                // Known only now, where the body was not read before: contributions cost a multiple of scoring.
                let scoring = self::cost(&servable, desk.rows(), asked.contributions);
                if asked.contributions && Instant::now() + scoring > deadline {
                    let words =
                        format!("contributions take about {} ms: they can't meet the deadline", scoring.as_millis());
                    return Err(Refusal::new(Kind::Overloaded, words));
                }
                desk.answer(&servable, asked)
            })
            .await
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.shared.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What became of a small call where it was read.
enum Inline {
    Answered(Answer),
    /// It is scored with others.
    Joined(Joined),
    /// What was read of it, where scoring it takes too long here, or nothing where reading does.
    Elsewhere(Option<(Asked, Batch)>),
}

fn inline(desk: &mut Desk, servable: &Arc<Servable>, call: &Call<'_>, bounds: Bounds) -> Result<Inline, Refusal> {
    let Some(asked) = read_small(desk, servable, call, bounds)? else { return Ok(Inline::Elsewhere(None)) };
    let cost = cost(servable, desk.rows(), asked.contributions);
    if cost > INLINE || cost > INLINE_BUSY && turn::is_long() {
        return Ok(Inline::Elsewhere(Some((asked, desk.take()))));
    }
    match gather::join(desk, servable, asked) {
        Place::Among(joined) => Ok(Inline::Joined(joined)),
        Place::Alone(asked) => desk.answer(servable, asked).map(Inline::Answered),
    }
}

/// How many rows a body has that was not read yet: a value takes about eight bytes, in a small body two or more.
fn rows_about(servable: &Servable, call: &Call<'_>, bounds: Bounds) -> usize {
    let row_bytes = match call.body.len() {
        ..=INLINE_BYTES => 2,
        _ => 8 * servable.schema.features.len().max(1),
    };
    (call.body.len() / row_bytes).min(bounds.rows_max)
}

/// Reads a small body; none where it has more values than may be read here.
fn read_small(desk: &mut Desk, servable: &Servable, call: &Call<'_>, bounds: Bounds) -> Result<Option<Asked>, Refusal> {
    let rows_max = bounds.rows_max.min((INLINE_CELLS / servable.schema.features.len().max(1)).max(1));
    match desk.read(servable, call.form, &call.body, Bounds { rows_max, ..bounds }) {
        Err(refusal) if refusal.kind == Kind::TooLarge && rows_max < bounds.rows_max => Ok(None),
        asked => asked.map(Some),
    }
}

/// What reading a body takes, about.
fn reading(call: &Call<'_>) -> Duration {
    let is_binary = matches!(call.form, Form::Arrow | Form::Protobuf | Form::V2 { json_bytes: Some(_) });
    let per_byte = if is_binary { NS_PER_BINARY_BYTE } else { NS_PER_BYTE };
    Duration::from_nanos((call.body.len() as f64 * per_byte) as u64)
}

fn cost(servable: &Servable, rows: usize, contributions: bool) -> Duration {
    Duration::from_nanos(servable.cost_ns(rows, contributions) as u64)
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use headgate_contract::Manifest;
    use headgate_contract::route::Choice;
    use headgate_engine::{Format, Limits as EngineLimits, Want};
    use serde_json::json;

    use super::*;
    use crate::config::Config;
    use crate::runtime::{Runtime, Scored};
    use crate::schema::Schema;

    /// A model that adds its features up, and 1.
    pub(crate) fn servable(features: usize) -> Arc<Servable> {
        let names: Vec<String> = (0..features).map(|n| format!("x{n}")).collect();
        let file = json!({
            "format": "headgate-linear/1", "features": names, "weights": vec![1.0; features], "bias": 1.0, "link": "identity"
        });
        let engine = headgate_engine::load(Format::LinearJson, file.to_string().as_bytes(), &EngineLimits::default());
        let inputs: Vec<_> = names.iter().map(|name| json!({"name": name, "dtype": "FP64"})).collect();
        let manifest = json!({
            "format": "headgate.manifest/1.0", "model": "m", "version": 1, "created": "2026-01-01T00:00:00Z",
            "build_key": Digest::of(""), "engine": {"name": "linear"}, "files": [],
            "signature": {"inputs": inputs, "outputs": [{"name": "score", "dtype": "FP64"}]},
        });
        let manifest = Manifest::read(manifest.to_string().as_bytes()).unwrap();
        let (model, version) = (manifest.model.clone(), manifest.version);
        let schema = Schema::new(model, version, Digest::of("d"), &manifest.signature).unwrap();
        Arc::new(Servable::new(schema, manifest, Arc::default(), engine.unwrap(), ()))
    }

    /// Without room for any call that is not answered where it is read.
    fn shared() -> Shared {
        let flags = BTreeMap::from([("store".to_owned(), "file:///nowhere".to_owned())]);
        Shared {
            snapshot: Arc::default(),
            board: Arc::new(Board::new("b1".to_owned())),
            metrics: Arc::new(Metrics::new()),
            compute: Compute::new(1, 0).unwrap(),
            limits: Config::from_flags(flags).unwrap().limits,
            demand: None,
            in_flight: AtomicUsize::new(0),
        }
    }

    async fn answer(servable: &Arc<Servable>, rows: usize) -> Result<Answer, Refusal> {
        answer_to(servable, json!({"instances": vec![json!({}); rows]})).await
    }

    async fn answer_to(servable: &Arc<Servable>, body: serde_json::Value) -> Result<Answer, Refusal> {
        let body = body.to_string().into();
        let target = Target { model: "m".parse().unwrap(), choice: Choice::Any };
        let deadline = Instant::now() + Duration::from_secs(60);
        let headers = HeaderMap::new();
        let call = Call { form: Form::V1, target: &target, chosen: None, deadline, headers: &headers, body };
        shared().answer(servable, &call, Bounds { rows_max: 100_000, strict: false }).await
    }

    /// Gives 1 for each row, somewhere else.
    #[derive(Debug)]
    struct Elsewhere;

    impl Predictor for Elsewhere {
        fn score(&self, batch: Batch, _: Want, _: Instant) -> Scored<'_> {
            Box::pin(async move { Ok(Outputs { values: vec![1.0; batch.rows()], ..Outputs::default() }) })
        }

        fn misfit(&self, _: &Schema) -> Option<String> {
            None
        }

        fn memory_bytes(&self) -> usize {
            0
        }

        fn cost_ns_per_row(&self) -> f64 {
            0.0
        }
    }

    #[tokio::test]
    async fn nor_where_it_is_scored_elsewhere() {
        let here = Arc::into_inner(servable(64)).unwrap();
        let series = Arc::clone(&here.series);
        let schema =
            Schema::new(here.schema.model.clone(), here.schema.version, here.schema.digest, &here.manifest.signature);
        let runtime = Runtime::Predictor(Arc::new(Elsewhere));
        let there = Arc::new(Servable::new(schema.unwrap(), here.manifest.clone(), series, runtime, ()));
        assert_eq!(answer(&there, 1_000).await.unwrap().rows, 1_000);
        let refused = answer(&there, 3_000).await.unwrap_err();
        assert!(refused.kind == Kind::Overloaded && refused.message.contains("waiting"), "{refused}");
    }

    #[tokio::test]
    async fn a_small_body_of_many_values_is_not_read_on_a_threads_time() {
        let servable = servable(64);
        assert_eq!(answer(&servable, 1_000).await.unwrap().rows, 1_000);
        let refused = answer(&servable, 3_000).await.unwrap_err();
        assert!(refused.kind == Kind::Overloaded && refused.message.contains("waiting"), "{refused}");
    }

    #[tokio::test]
    async fn contributions_count_among_the_cost_and_have_a_bound() {
        let servable = servable(64);
        let explained = |rows| {
            answer_to(&servable, json!({"instances": vec![json!({}); rows], "parameters": {"contributions": true}}))
        };
        assert_eq!(explained(10).await.unwrap().rows, 10);
        let refused = explained(1_000).await.unwrap_err();
        assert!(refused.kind == Kind::Overloaded && refused.message.contains("waiting"), "{refused}");
        let mut desk = Desk::default();
        let bounds = Bounds { rows_max: 1_000_000, strict: false };
        let body = json!({"parameters": {"contributions": true}, "instances": vec![json!({}); 258_112]}).to_string();
        let refused = desk.read(&servable, Form::V1, body.as_bytes(), bounds).unwrap_err();
        assert!(refused.kind == Kind::TooLarge && refused.message.contains("258111 at most"), "{refused}");
    }
}
