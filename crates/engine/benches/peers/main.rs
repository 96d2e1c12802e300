//! This engine beside its peers, in one process, on one thread: LightGBM, lleaves, tl2cgen, treelite, ONNX Runtime and
//! XGBoost, each through its C interface. `make bench-engine` prepares what it needs and shows what it found.
//!
//! `peers PLAN RESULTS` measures all that PLAN (see [`plan`]) names and writes RESULTS; it fails where this engine's
//! margins are not equal to the bit with the training library's.

mod clock;
mod compiled;
mod contender;
mod footprint;
mod library;
mod lightgbm;
mod measure;
mod onnx;
mod ours;
mod plan;
mod treelite;
mod xgboost;

use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;

use headgate_engine::Level;

use contender::{Contender, Failed, Rows};
use measure::Measured;
use plan::{Model, Plan};
use serde_json::{Value, json};

fn main() -> ExitCode {
    // Cargo adds its own flags.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["footprint", engine, plan, model] => footprint::measure_here(engine, Path::new(plan), model),
        [plan, results] => run(Path::new(plan), Path::new(results)),
        _ => {
            eprintln!("peers: nothing measured: `make bench-engine` runs this");
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("peers: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(plan_path: &Path, results: &Path) -> Result<(), Failed> {
    let plan = Plan::read(plan_path)?;
    let core = clock::pin()?;
    let rows = Rc::new(Rows::read(&plan.rows, plan.features)?);
    let (wall, cpu) = (std::time::Instant::now(), (clock::thread()?, clock::process()?));
    let mut models = Vec::new();
    for model in &plan.models {
        eprintln!("{}: load time and memory", model.name);
        let footprints = footprint::of_each(plan_path, &model.name)?;
        let (engines, left_out) = contenders(&plan, model, &rows)?;
        let measured = measure::all(&model.name, engines)?;
        models.push(json!({
            "name": model.name,
            "footprint": footprints,
            "left_out": left_out,
            "engines": measured.iter().map(Measured::json).collect::<Vec<_>>(),
        }));
    }
    let (thread, process) = (clock::thread()? - cpu.0, clock::process()? - cpu.1);
    let report = json!({
        "machine": machine(core),
        "rows": rows.count,
        "features": rows.features,
        "rounds": measure::ROUNDS,
        "seconds": wall.elapsed().as_secs_f64(),
        // Every engine is held to one thread; what others burnt would not be in the figures.
        "other_threads_share": 1.0 - thread / process,
        "models": models,
    });
    std::fs::write(results, format!("{report:#}\n"))
        .map_err(|why| format!("cannot write {}: {why}", results.display()).into())
}

/// Every engine that can be loaded for a model, and for the others the reason.
fn contenders(plan: &Plan, model: &Model, rows: &Rc<Rows>) -> Result<(Vec<Contestant>, Vec<Value>), Failed> {
    let expected = Rc::new(contender::read_f64(&model.margins)?);
    let mut engines = vec![
        Contestant::of("Headgate", &expected, Box::new(ours::Ours::lightgbm(&model.text, rows, Level::best())?)),
        Contestant::of("LightGBM", &expected, Box::new(lightgbm::LightGbm::load(plan, model, rows)?)),
    ];
    for (level, name) in [(Level::Avx2, "Headgate (AVX2)"), (Level::Portable, "Headgate (portable)")] {
        if level < Level::best() {
            engines.push(Contestant::of(name, &expected, Box::new(ours::Ours::lightgbm(&model.text, rows, level)?)));
        }
    }
    let mut left_out = Vec::new();
    let mut peer = |name: &'static str, loaded: Result<Box<dyn Contender>, Failed>| match loaded {
        Ok(engine) => engines.push(Contestant::of(name, &expected, engine)),
        Err(why) => left_out.push(json!({"name": name, "why": plan.reason(name).unwrap_or_else(|| why.to_string())})),
    };
    peer("lleaves", compiled::lleaves(model, rows));
    peer("tl2cgen", compiled::tl2cgen(model, rows));
    peer("treelite GTIL", treelite::load(plan, model, rows));
    peer("ONNX Runtime", onnx::load(plan, model, rows));
    match &model.xgboost {
        Some(model) => {
            let expected = Rc::new(contender::read_f32(&model.margins)?);
            let ours = Box::new(ours::Ours::xgboost(&model.json, rows)?);
            engines.push(Contestant::of("XGBoost (own model)", &expected, xgboost::load(plan, model, rows)?));
            engines.push(Contestant::of("Headgate (XGBoost's model)", &expected, ours));
        }
        None => left_out.push(json!({"name": "XGBoost", "why": plan.reason("XGBoost")})),
    }
    Ok((engines, left_out))
}

/// An engine in the race, and the margins that it should give.
struct Contestant {
    name: &'static str,
    expected: Rc<Vec<f64>>,
    engine: Box<dyn Contender>,
}

impl Contestant {
    fn of(name: &'static str, expected: &Rc<Vec<f64>>, engine: Box<dyn Contender>) -> Self {
        Self { name, expected: expected.clone(), engine }
    }

    fn is_ours(&self) -> bool {
        self.name.starts_with("Headgate")
    }
}

fn machine(core: usize) -> Value {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |key: &str| {
        let line = cpuinfo.lines().find(|l| l.starts_with(key));
        line.and_then(|l| l.split_once(':')).map_or("", |(_, value)| value.trim()).to_owned()
    };
    let flags = field("flags");
    let has = |flag: &str| flags.split_whitespace().any(|f| f == flag);
    json!({
        "cpu": field("model name"),
        "family": field("cpu family"),
        "model": field("model\t"),
        "cores": cpuinfo.lines().filter(|l| l.starts_with("processor")).count(),
        "pinned_to": core,
        "avx2": has("avx2"),
        "avx512": has("avx512f") && has("avx512bw") && has("avx512vl"),
        "avx512_vbmi": has("avx512vbmi"),
    })
}
