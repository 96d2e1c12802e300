//! What a prediction costs between its body and its reply's, by phase, on one thread; and how often it allocates. The
//! bodies are those that `make bench-serving` sends to servers (tools/bench-serving/bodies.py writes them):
//!
//! ```text
//! cargo bench -p headgate-backend --bench call -- MODEL.txt CALLS_FOLDER OUT.json [MS_A_CASE]
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use headgate_backend::decode::{Bounds, Form};
use headgate_backend::encode;
use headgate_backend::predict::{Answer, Desk};
use headgate_backend::schema::Schema;
use headgate_backend::servable::Servable;
use headgate_contract::{Digest, Manifest};
use headgate_engine::{Format, Limits};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

const BOUNDS: Bounds = Bounds { rows_max: 1_000_000, strict: false };
/// Each case is measured so often, the others in between.
const ROUNDS: usize = 5;
const MS_A_CASE: u64 = 1_000;
/// Folders of bodies, with what they hold and how many rows.
const CASES: [(&str, Kind, usize); 7] = [
    ("instances-1", Kind::V1, 1),
    ("instances-100", Kind::V1, 100),
    ("digits-100", Kind::V1, 100),
    ("tensor-1", Kind::V2, 1),
    ("tensor-100", Kind::V2, 100),
    ("binary-1", Kind::Binary, 1),
    ("binary-100", Kind::Binary, 100),
];

/// How a case's bodies are written.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    V1,
    V2,
    Binary,
}

/// The bodies of a case.
struct Case {
    name: &'static str,
    rows: usize,
    bodies: Vec<(Form, Vec<u8>)>,
}

/// Medians of a round, in microseconds a call, and means.
#[derive(Debug)]
struct Round {
    read_us: f64,
    score_us: f64,
    write_us: f64,
    /// Processor time of all three, the mean.
    cpu_us: f64,
    allocations: f64,
    allocated_bytes: f64,
}

/// The system's allocator, which counts.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is handed to the system's allocator as it came.
#[expect(unsafe_code, reason = "an allocator can be written in no other way")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        unsafe { System.realloc(memory, layout, size) }
    }
}

fn count(bytes: usize) {
    ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    BYTES.fetch_add(bytes as u64, Ordering::Relaxed);
}

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let [model, calls, out, more @ ..] = arguments.as_slice() else {
        return Err("MODEL.txt CALLS_FOLDER OUT.json [MS_A_CASE] expected".into());
    };
    let ms: u64 = more.first().map_or(Ok(MS_A_CASE), |ms| ms.parse())?;
    let servable = servable(Path::new(model))?;
    let cases: Vec<Case> =
        CASES.iter().map(|(name, kind, rows)| Case::read(calls, name, *kind, *rows)).collect::<Result<_, _>>()?;
    let mut rounds: Vec<Vec<Round>> = cases.iter().map(|_| Vec::new()).collect();
    let mut left_out: Vec<Option<String>> = cases.iter().map(|_| None).collect();
    for _ in 0..ROUNDS {
        for (at, case) in cases.iter().enumerate().filter(|(at, _)| left_out[*at].is_none()).collect::<Vec<_>>() {
            match measure(&servable, case, Duration::from_millis(ms) / ROUNDS as u32) {
                Ok(round) => rounds[at].push(round),
                Err(why) => left_out[at] = Some(why.to_string()),
            }
        }
    }
    let reports: Vec<Value> = cases.iter().zip(&rounds).zip(&left_out).map(|((c, r), why)| report(c, r, why)).collect();
    Ok(std::fs::write(out, serde_json::to_vec_pretty(&json!({ "cases": reports }))?)?)
}

impl Case {
    fn read(calls: &str, name: &'static str, kind: Kind, rows: usize) -> Result<Self, Box<dyn Error>> {
        let mut paths: Vec<_> =
            std::fs::read_dir(Path::new(calls).join(name))?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
        paths.sort();
        let mut bodies = Vec::with_capacity(paths.len());
        for path in paths {
            let body = std::fs::read(path)?;
            let form = match kind {
                Kind::V1 => Form::V1,
                Kind::V2 => Form::V2 { json_bytes: None },
                Kind::Binary => Form::V2 { json_bytes: Some(json_bytes(&body)?) },
            };
            bodies.push((form, body));
        }
        Ok(Self { name, rows, bodies })
    }
}

/// The length of the JSON before the binary tensor: it is one value.
fn json_bytes(body: &[u8]) -> Result<usize, Box<dyn Error>> {
    let mut values = serde_json::Deserializer::from_slice(body).into_iter::<serde::de::IgnoredAny>();
    values.next().ok_or("an empty body")??;
    Ok(values.byte_offset())
}

/// The model as a backend holds it.
fn servable(model: &Path) -> Result<Servable, Box<dyn Error>> {
    let text = std::fs::read(model)?;
    let engine = headgate_engine::load(Format::LightgbmText, &text, &Limits::default())?;
    let names = String::from_utf8_lossy(&text);
    let names = names.lines().find_map(|line| line.strip_prefix("feature_names=")).ok_or("no feature_names")?;
    let inputs: Vec<Value> = names.split(' ').map(|name| json!({"name": name, "dtype": "FP64"})).collect();
    let manifest = json!({
        "format": "headgate.manifest/1.0", "model": "bench", "version": 1, "created": "2026-01-01T00:00:00Z",
        "build_key": Digest::of(""), "engine": {"name": "lightgbm"}, "files": [],
        "signature": {"inputs": inputs, "outputs": [{"name": "probability", "dtype": "FP64"}]},
    });
    let manifest = Manifest::read(manifest.to_string().as_bytes())?;
    let schema = Schema::new(manifest.model.clone(), manifest.version, Digest::of("d"), &manifest.signature)?;
    Ok(Servable::new(schema, manifest, Arc::default(), engine, ()))
}

/// Calls for `length`, the case's bodies in turn: a body seen just before would be read and scored faster than any other.
fn measure(servable: &Servable, case: &Case, length: Duration) -> Result<Round, Box<dyn Error>> {
    let mut desk = Desk::default();
    let (mut read, mut score, mut write) =
        (Vec::with_capacity(1 << 17), Vec::with_capacity(1 << 17), Vec::with_capacity(1 << 17));
    // Warms the desk: its memory is used again by each call.
    for (form, body) in &case.bodies {
        call(servable, &mut desk, *form, body, &mut [Duration::ZERO; 3])?;
    }
    let (allocations, bytes) = (ALLOCATIONS.load(Ordering::Relaxed), BYTES.load(Ordering::Relaxed));
    let (started, cpu) = (Instant::now(), cpu());
    while started.elapsed() < length && read.len() + case.bodies.len() < read.capacity() {
        for (form, body) in &case.bodies {
            let mut phases = [Duration::ZERO; 3];
            call(servable, &mut desk, *form, body, &mut phases)?;
            read.push(phases[0]);
            score.push(phases[1]);
            write.push(phases[2]);
        }
    }
    let calls = read.len() as f64;
    let cpu_us = (self::cpu() - cpu) * 1e6 / calls;
    Ok(Round {
        read_us: median_us(&mut read),
        score_us: median_us(&mut score),
        write_us: median_us(&mut write),
        cpu_us,
        allocations: (ALLOCATIONS.load(Ordering::Relaxed) - allocations) as f64 / calls,
        allocated_bytes: (BYTES.load(Ordering::Relaxed) - bytes) as f64 / calls,
    })
}

fn call(
    servable: &Servable,
    desk: &mut Desk,
    form: Form,
    body: &[u8],
    phases: &mut [Duration; 3],
) -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    let asked = desk.read(servable, form, black_box(body), BOUNDS)?;
    let read = Instant::now();
    let want = encode::want(&servable.schema, &asked);
    let outputs = desk.score(servable, want)?;
    let scored = Instant::now();
    black_box(Answer::new(servable, asked, outputs));
    *phases = [read - begun, scored - read, scored.elapsed()];
    desk.shrink();
    Ok(())
}

fn median_us(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1e6)
}

/// Seconds of processor time of this thread.
fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

fn report(case: &Case, rounds: &[Round], left_out: &Option<String>) -> Value {
    if let Some(why) = left_out {
        return json!({ "name": case.name, "rows": case.rows, "left_out": why });
    }
    let median = |of: fn(&Round) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    };
    json!({
        "name": case.name,
        "rows": case.rows,
        "body_bytes": case.bodies.iter().map(|(_, body)| body.len()).sum::<usize>() / case.bodies.len().max(1),
        "read_us": median(|round| round.read_us),
        "score_us": median(|round| round.score_us),
        "write_us": median(|round| round.write_us),
        "cpu_us": median(|round| round.cpu_us),
        "allocations": median(|round| round.allocations),
        "allocated_bytes": median(|round| round.allocated_bytes),
    })
}
