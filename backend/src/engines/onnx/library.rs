//! ONNX Runtime's library: found, loaded once, bounded.

use std::error::Error as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};

use ort::AsPointer;
use ort::environment::{Environment, GlobalThreadPoolOptions};
use ort::logging::LogLevel;
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};

use super::tensors::words;
use crate::config::Onnx;

/// How to get it, in a line.
const HOW: &str = "`pip install onnxruntime` brings it, as libonnxruntime.so.* in the package's folder onnxruntime/capi \
                   (set 'onnx.library' to it); or install the distribution's package";

/// The process has one, from the first success on: ONNX Runtime allows no second.
static LOADED: Mutex<Option<Environment>> = Mutex::new(None);

/// The library, loaded and set up where it is not yet. An error, in words, may pass: the next call tries again.
pub(super) fn environment(bounds: &Onnx) -> Result<Environment, String> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(environment) = &*loaded {
        return Ok(environment.clone());
    }
    let mut failures = Vec::new();
    for path in places(bounds.library.as_deref(), std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from)) {
        match guarded(|| load(&path, bounds)) {
            Ok(environment) => {
                tracing::info!(library = %path.display(), "onnx runtime");
                return Ok(loaded.insert(environment).clone());
            }
            Err(why) => failures.push(why),
        }
    }
    Err(format!("ONNX Runtime can't be loaded: {}; {HOW}", failures.join("; ")))
}

/// Where it may be: where the configuration says, else the environment, else where the system keeps libraries.
fn places(configured: Option<&Path>, variable: Option<PathBuf>) -> Vec<PathBuf> {
    let named = configured.map(Path::to_owned).or_else(|| variable.filter(|path| !path.as_os_str().is_empty()));
    match named {
        Some(path) => vec![path],
        None if cfg!(target_os = "macos") => vec!["libonnxruntime.dylib".into()],
        None => vec!["libonnxruntime.so.1".into(), "libonnxruntime.so".into()],
    }
}

fn load(path: &Path, bounds: &Onnx) -> Result<Environment, String> {
    let builder = ort::init_from(path).map_err(|e| unloaded(&e))?;
    let threads = GlobalThreadPoolOptions::default().with_intra_threads(bounds.intra_threads);
    let threads = threads.and_then(|t| t.with_inter_threads(1)).and_then(|t| t.with_spin_control(false));
    // What a run can't do is told to its caller; the library's own lines are for who looks closer.
    let log = |_: LogLevel, category: &str, _: &str, place: &str, text: &str| {
        tracing::debug!(target: "onnxruntime", category, place, "{text}");
    };
    let environment = builder.with_name("headgate").with_telemetry(false).with_logger(Arc::new(log));
    let environment = environment.with_global_thread_pool(threads.map_err(words)?).build().map_err(words)?;
    environment.set_log_level(LogLevel::Warning);
    bound_memory(&environment, bounds.memory_bytes_max).map_err(words)?;
    Ok(environment)
}

/// Why the library could not be loaded: of what the system says the binding tells nothing.
fn unloaded(error: &ort::LoadDynamicError) -> String {
    let said = match error {
        ort::LoadDynamicError::Dlopen { error, .. } => error.source(),
        _ => None,
    };
    said.map_or_else(|| words(error), |said| format!("{}: {}", words(error), words(said)))
}

/// Makes all sessions share one arena of at most so many bytes: what a model holds and what its runs need come from it.
#[allow(unsafe_code)]
fn bound_memory(environment: &Environment, bytes_max: u64) -> ort::Result<()> {
    let info = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Arena, MemoryType::Default)?;
    // It grows by what is asked for, not by doubling.
    let settings = [(c"max_mem", usize::try_from(bytes_max).unwrap_or(usize::MAX)), (c"arena_extend_strategy", 1)];
    let (names, values) = (settings.map(|(name, _)| name.as_ptr()), settings.map(|(_, value)| value));
    let mut arena = ptr::null_mut();
    let api = ort::api();
    // SAFETY: names and values are two arrays of the stated length that outlive the call, which copies them; `arena` is
    // set where it succeeds.
    unsafe {
        ort::Error::result_from_status((api.CreateArenaCfgV2)(
            names.as_ptr(),
            values.as_ptr(),
            names.len(),
            &mut arena,
        ))?
    };
    // SAFETY: environment, memory info and arena are live and of this library; it copies the settings, which are freed once.
    unsafe {
        let registered = (api.CreateAndRegisterAllocator)(environment.ptr().cast_mut(), info.ptr(), arena);
        (api.ReleaseArenaCfg)(arena);
        ort::Error::result_from_status(registered)
    }
}

/// Runs what the binding may panic in.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("the binding gave up: {}", words(text.unwrap_or("no reason given"))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_tried_alone() {
        let path = |text: &str| PathBuf::from(text);
        assert_eq!(places(Some(Path::new("/a")), Some(path("/b"))), [path("/a")]);
        assert_eq!(places(None, Some(path("/b"))), [path("/b")]);
        assert!(places(None, Some(path(""))).iter().all(|p| p.to_string_lossy().starts_with("libonnxruntime")));
    }
}
