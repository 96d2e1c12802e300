//! How long a model takes to load and what memory it holds: each engine in a fresh process, which loads the model some
//! times over and keeps every copy.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::path::Path;

use headgate_engine::{Engine, Format, Limits, load};
use serde_json::{Value, json};

use crate::clock;
use crate::contender::{Failed, read};
use crate::lightgbm::Loader;
use crate::plan::Plan;

const COPIES: usize = 8;

unsafe extern "C" {
    /// glibc: gives the pages that no allocation uses back.
    fn malloc_trim(pad: usize) -> c_int;
}

/// Figures of this engine and of LightGBM.
pub(crate) fn of_each(plan: &Path, model: &str) -> Result<Value, Failed> {
    let mut all = serde_json::Map::new();
    for engine in ["headgate", "lightgbm"] {
        let run = std::process::Command::new(std::env::current_exe()?)
            .args(["footprint", engine])
            .arg(plan)
            .arg(model)
            .stderr(std::process::Stdio::inherit())
            .output()?;
        if !run.status.success() {
            return Err(format!("the footprint of {engine}: {}", run.status).into());
        }
        all.insert(engine.to_owned(), serde_json::from_slice(&run.stdout)?);
    }
    Ok(all.into())
}

/// Measures in this process and prints.
pub(crate) fn measure_here(engine: &str, plan: &Path, model: &str) -> Result<(), Failed> {
    let plan = Plan::read(plan)?;
    let text = &plan.model(model)?.text;
    let found = if engine == "lightgbm" {
        let loader = Loader::open(plan.library("lightgbm")?)?;
        let text = loader.text(text)?;
        let (load_ms, resident_bytes, _) = copies(|| loader.load(&text))?;
        json!({"load_ms": load_ms, "resident_bytes": resident_bytes})
    } else {
        let bytes = read(text)?;
        let load =
            || -> Result<Box<dyn Engine>, Failed> { Ok(load(Format::LightgbmText, &bytes, &Limits::default())?) };
        let (load_ms, resident_bytes, engine) = copies(load)?;
        json!({"load_ms": load_ms, "resident_bytes": resident_bytes, "stated_bytes": engine.memory_bytes()})
    };
    println!("{found}");
    Ok(())
}

/// The median processor time of a load in milliseconds, the memory that a copy holds in bytes, and a copy.
fn copies<T>(mut load: impl FnMut() -> Result<T, Failed>) -> Result<(f64, usize, T), Failed> {
    // What loading sets up once (thread pools, tables) is no part of a model.
    drop(load()?);
    let before = resident()?;
    let (mut models, mut times) = (Vec::new(), Vec::new());
    for _ in 0..COPIES {
        let started = clock::thread()?;
        models.push(load()?);
        times.push((clock::thread()? - started) * 1e3);
    }
    let grown = resident()?.saturating_sub(before);
    times.sort_by(f64::total_cmp);
    Ok((times[COPIES / 2], grown / COPIES, models.swap_remove(0)))
}

/// Resident memory that no file backs, in bytes.
fn resident() -> Result<usize, Failed> {
    // Safety: takes a number, returns one, and moves no allocation.
    unsafe { malloc_trim(0) };
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:")).ok_or("/proc/self/status has no RssAnon")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<usize>()? * 1024)
}
