//! The functions of LightGBM's C API that are used, as its `c_api.h` declares them. The one unsafe module of the crate.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;

use super::LightgbmError;

/// A dataset or a booster.
pub(super) type Handle = *mut c_void;

const FLOAT32: c_int = 0;
const FLOAT64: c_int = 1;
/// Predict with the objective's transform.
pub(super) const NORMAL: c_int = 0;
/// Predict raw margins.
pub(super) const RAW: c_int = 1;

/// Declares the functions, their lookup, and nothing else.
macro_rules! api {
    ($($field:ident = $symbol:literal ($($argument:ty),*);)*) => {
        /// The functions. They stay valid: the library is never closed, as OpenMP's threads may be in its code.
        #[derive(Clone, Copy, Debug)]
        pub(super) struct Api {
            last_error: unsafe extern "C" fn() -> *const c_char,
            $($field: unsafe extern "C" fn($($argument),*) -> c_int,)*
        }

        impl Api {
            /// Loads the library and looks its functions up.
            pub(super) fn load(path: &Path) -> Result<Self, LightgbmError> {
                let failed = |why: libloading::Error| match path.parent() {
                    Some(dir) if dir.as_os_str().is_empty() => LightgbmError::NotFound(super::find::NAME),
                    _ => LightgbmError::Load { path: path.display().to_string(), why: why.to_string() },
                };
                // Safety: running a library's initialisers is as safe as the library is; this one was named by the user
                // or found where LightGBM is installed, and its only initialisers set up static tables.
                let library = unsafe { libloading::Library::new(path) }.map_err(failed)?;
                // Safety: each type below is the one that c_api.h declares for that name, unchanged since LightGBM 3.3.
                let api = unsafe {
                    Self {
                        last_error: *library.get(b"LGBM_GetLastError\0").map_err(failed)?,
                        $($field: *library.get(concat!($symbol, "\0").as_bytes()).map_err(failed)?,)*
                    }
                };
                std::mem::forget(library);
                Ok(api)
            }
        }
    };
}

api! {
    register_log = "LGBM_RegisterLogCallback"(Option<unsafe extern "C" fn(*const c_char)>);
    dump_param_aliases = "LGBM_DumpParamAliases"(i64, *mut i64, *mut c_char);
    dataset_from_mat = "LGBM_DatasetCreateFromMat"(
        *const c_void, c_int, i32, i32, c_int, *const c_char, Handle, *mut Handle
    );
    dataset_set_field = "LGBM_DatasetSetField"(Handle, *const c_char, *const c_void, c_int, c_int);
    dataset_set_names = "LGBM_DatasetSetFeatureNames"(Handle, *mut *const c_char, c_int);
    dataset_free = "LGBM_DatasetFree"(Handle);
    booster_create = "LGBM_BoosterCreate"(Handle, *const c_char, *mut Handle);
    booster_load = "LGBM_BoosterLoadModelFromString"(*const c_char, *mut c_int, *mut Handle);
    booster_add_valid = "LGBM_BoosterAddValidData"(Handle, Handle);
    booster_update = "LGBM_BoosterUpdateOneIter"(Handle, *mut c_int);
    booster_eval_counts = "LGBM_BoosterGetEvalCounts"(Handle, *mut c_int);
    booster_eval_names = "LGBM_BoosterGetEvalNames"(Handle, c_int, *mut c_int, usize, *mut usize, *mut *mut c_char);
    booster_eval = "LGBM_BoosterGetEval"(Handle, c_int, *mut c_int, *mut f64);
    booster_classes = "LGBM_BoosterGetNumClasses"(Handle, *mut c_int);
    booster_features = "LGBM_BoosterGetNumFeature"(Handle, *mut c_int);
    booster_save = "LGBM_BoosterSaveModelToString"(Handle, c_int, c_int, c_int, i64, *mut i64, *mut c_char);
    booster_predict = "LGBM_BoosterPredictForMat"(
        Handle, *const c_void, c_int, i32, i32, c_int, c_int, c_int, c_int, *const c_char, *mut i64, *mut f64
    );
    booster_free = "LGBM_BoosterFree"(Handle);
}

thread_local! {
    /// What the library logged on this thread since it was last asked for.
    static LOG: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The most that is kept of a log, in bytes.
const LOG_BYTES_MAX: usize = 64 << 10;

unsafe extern "C" fn log(text: *const c_char) {
    // Safety: the library passes a string that it ended with a zero byte and that lives during the call.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    // A thread that is ending has no log any more, and nobody to read it.
    let _ = LOG.try_with(|log| match log.try_borrow_mut() {
        Ok(mut log) if log.len() < LOG_BYTES_MAX => log.push_str(&text),
        _ => {}
    });
}

impl Api {
    fn check(&self, status: c_int) -> Result<(), LightgbmError> {
        if status == 0 {
            return Ok(());
        }
        // Safety: the library returns a pointer to a string of this thread that lives until its next error.
        let words = unsafe { CStr::from_ptr((self.last_error)()) }.to_string_lossy();
        Err(LightgbmError::Refused(words.trim().to_owned()))
    }

    /// Runs `work` and gives what the library logged on this thread meanwhile, instead of printing it.
    pub(super) fn logged<T>(&self, work: impl FnOnce() -> T) -> (T, String) {
        LOG.with_borrow_mut(String::clear);
        // Safety: `log` has the type that the library calls and never unwinds; the registration is this thread's.
        unsafe { (self.register_log)(Some(log)) };
        let result = work();
        // Safety: as above; no callback is the library's own default, printing.
        unsafe { (self.register_log)(None) };
        (result, LOG.take())
    }

    /// All parameters and their aliases, as JSON.
    pub(super) fn parameter_names(&self) -> Result<String, LightgbmError> {
        // Safety: `text` calls this with a buffer of the length it names.
        self.text(|len, out_len, buffer| unsafe { (self.dump_param_aliases)(len, out_len, buffer) })
    }

    /// A text that the library writes into a buffer, telling how long it had to be (its zero byte included).
    fn text(&self, write: impl Fn(i64, *mut i64, *mut c_char) -> c_int) -> Result<String, LightgbmError> {
        let mut buffer: Vec<u8> = vec![0; 1 << 20];
        loop {
            let mut needed: i64 = 0;
            self.check(write(buffer.len() as i64, &raw mut needed, buffer.as_mut_ptr().cast()))?;
            let needed = usize::try_from(needed).unwrap_or(0);
            if needed <= buffer.len() {
                buffer.truncate(needed.saturating_sub(1));
                return Ok(String::from_utf8_lossy(&buffer).into_owned());
            }
            buffer.resize(needed, 0);
        }
    }

    /// A dataset over a column-major matrix of `rows` x `columns`, binned like `like` where that is not null.
    pub(super) fn dataset(
        &self,
        data: &[f64],
        rows: i32,
        columns: i32,
        parameters: &CStr,
        like: Handle,
    ) -> Result<Handle, LightgbmError> {
        assert_eq!(data.len(), rows as usize * columns as usize, "a matrix of another shape");
        let mut handle = std::ptr::null_mut();
        // Safety: `data` has rows x columns values, as asserted, and is only read during the call; `like` is null or a
        // live dataset (the callers hold it); `handle` is written once.
        self.check(unsafe {
            (self.dataset_from_mat)(
                data.as_ptr().cast(),
                FLOAT64,
                rows,
                columns,
                0,
                parameters.as_ptr(),
                like,
                &raw mut handle,
            )
        })?;
        Ok(handle)
    }

    /// Sets the labels of a live dataset.
    pub(super) fn set_labels(&self, dataset: Handle, labels: &[f32]) -> Result<(), LightgbmError> {
        let count = i32::try_from(labels.len()).unwrap_or(i32::MAX);
        // Safety: `labels` has at least `count` values and is copied during the call; the library checks the count
        // against the dataset's rows.
        self.check(unsafe {
            (self.dataset_set_field)(dataset, c"label".as_ptr(), labels.as_ptr().cast(), count, FLOAT32)
        })
    }

    /// Names the features of a live dataset.
    pub(super) fn set_names(&self, dataset: Handle, names: &[CString]) -> Result<(), LightgbmError> {
        let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
        let count = i32::try_from(pointers.len()).unwrap_or(i32::MAX);
        // Safety: `pointers` has at least `count` strings, all alive during the call, in which they are copied.
        self.check(unsafe { (self.dataset_set_names)(dataset, pointers.as_mut_ptr(), count) })
    }

    /// Frees a dataset, which must not be used after.
    pub(super) fn free_dataset(&self, dataset: Handle) {
        // Safety: `Dataset` owns the handle and calls this once, when it is dropped.
        unsafe { (self.dataset_free)(dataset) };
    }

    /// A booster that trains on a live dataset, which must outlive it.
    pub(super) fn booster(&self, train: Handle, parameters: &CStr) -> Result<Handle, LightgbmError> {
        let mut handle = std::ptr::null_mut();
        // Safety: `train` is a live dataset, which `Booster` keeps alive; `handle` is written once.
        self.check(unsafe { (self.booster_create)(train, parameters.as_ptr(), &raw mut handle) })?;
        Ok(handle)
    }

    /// A booster from a model's text.
    pub(super) fn booster_from(&self, model: &CStr) -> Result<Handle, LightgbmError> {
        let (mut rounds, mut handle) = (0, std::ptr::null_mut());
        // Safety: the text ends with a zero byte; `rounds` and `handle` are written once.
        self.check(unsafe { (self.booster_load)(model.as_ptr(), &raw mut rounds, &raw mut handle) })?;
        Ok(handle)
    }

    /// Adds a live dataset to validate on, which must outlive the booster.
    pub(super) fn add_valid(&self, booster: Handle, valid: Handle) -> Result<(), LightgbmError> {
        // Safety: both are alive, and `Booster` keeps `valid` so.
        self.check(unsafe { (self.booster_add_valid)(booster, valid) })
    }

    /// Adds one round of trees; says whether there was nothing left to split.
    pub(super) fn update(&self, booster: Handle) -> Result<bool, LightgbmError> {
        let mut finished = 0;
        // Safety: the booster is alive and exclusively borrowed by the caller.
        self.check(unsafe { (self.booster_update)(booster, &raw mut finished) })?;
        Ok(finished != 0)
    }

    /// The names of the metrics.
    pub(super) fn metric_names(&self, booster: Handle) -> Result<Vec<String>, LightgbmError> {
        const NAME_BYTES: usize = 256;
        let (mut count, mut written, mut longest) = (0, 0, 0);
        // Safety: the booster is alive; `count` is written once.
        self.check(unsafe { (self.booster_eval_counts)(booster, &raw mut count) })?;
        let mut buffers = vec![[0_u8; NAME_BYTES]; usize::try_from(count).unwrap_or(0)];
        let mut pointers: Vec<*mut c_char> = buffers.iter_mut().map(|b| b.as_mut_ptr().cast()).collect();
        // Safety: there are `count` buffers of the length told; the library writes no more than that into each.
        self.check(unsafe {
            (self.booster_eval_names)(
                booster,
                count,
                &raw mut written,
                NAME_BYTES,
                &raw mut longest,
                pointers.as_mut_ptr(),
            )
        })?;
        let name = |buffer: &[u8; NAME_BYTES]| {
            CStr::from_bytes_until_nul(buffer).map_or(String::new(), |n| n.to_string_lossy().into_owned())
        };
        Ok(buffers.iter().map(name).collect())
    }

    /// The metrics' values (`count` of them) on the first validation dataset.
    pub(super) fn metrics(&self, booster: Handle, count: usize) -> Result<Vec<f64>, LightgbmError> {
        let mut values = vec![0.0; count];
        let mut written = 0;
        // Safety: `values` has room for `count` values, which is what `metric_names` counted for this live booster.
        self.check(unsafe { (self.booster_eval)(booster, 1, &raw mut written, values.as_mut_ptr()) })?;
        Ok(values)
    }

    /// Margins of a row.
    pub(super) fn classes(&self, booster: Handle) -> Result<usize, LightgbmError> {
        let mut classes = 0;
        // Safety: the booster is alive; `classes` is written once.
        self.check(unsafe { (self.booster_classes)(booster, &raw mut classes) })?;
        Ok(usize::try_from(classes).unwrap_or(0).max(1))
    }

    /// Features that a model takes.
    pub(super) fn features(&self, booster: Handle) -> Result<usize, LightgbmError> {
        let mut features = 0;
        // Safety: the booster is alive; `features` is written once.
        self.check(unsafe { (self.booster_features)(booster, &raw mut features) })?;
        Ok(usize::try_from(features).unwrap_or(0))
    }

    /// The text of the first `rounds` rounds.
    pub(super) fn save(&self, booster: Handle, rounds: i32) -> Result<String, LightgbmError> {
        // Safety: the booster is alive; `text` gives a buffer of the length it names. The last 0 asks for importances by
        // split counts.
        self.text(|len, out_len, buffer| unsafe { (self.booster_save)(booster, 0, rounds, 0, len, out_len, buffer) })
    }

    /// Scores a column-major matrix; `width` values a row.
    pub(super) fn predict(
        &self,
        booster: Handle,
        data: &[f64],
        rows: i32,
        columns: i32,
        kind: c_int,
        width: usize,
    ) -> Result<Vec<f64>, LightgbmError> {
        assert_eq!(data.len(), rows as usize * columns as usize, "a matrix of another shape");
        let mut out = vec![0.0; rows as usize * width];
        let mut written = 0;
        // Safety: `data` has rows x columns values, as asserted, and the library refuses a column count that is not the
        // model's; `out` has room for rows x `width`, and `width` is what `classes` told for this live booster.
        self.check(unsafe {
            (self.booster_predict)(
                booster,
                data.as_ptr().cast(),
                FLOAT64,
                rows,
                columns,
                0,
                kind,
                0,
                -1,
                c"num_threads=1".as_ptr(),
                &raw mut written,
                out.as_mut_ptr(),
            )
        })?;
        Ok(out)
    }

    /// Frees a booster, which must not be used after.
    pub(super) fn free_booster(&self, booster: Handle) {
        // Safety: `Booster` owns the handle and calls this once, when it is dropped.
        unsafe { (self.booster_free)(booster) };
    }
}
