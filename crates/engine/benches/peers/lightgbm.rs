//! LightGBM's C API: the single-row fast call for one row, the matrix call for more.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_void};
use std::path::Path;
use std::rc::Rc;

use crate::contender::{Contender, Failed, Rows};
use crate::library::{Errors, Library};
use crate::plan::{Model, Plan};

type Handle = *mut c_void;
type LoadModel = unsafe extern "C" fn(*const c_char, *mut c_int, *mut Handle) -> c_int;
type FastInit = unsafe extern "C" fn(Handle, c_int, c_int, c_int, c_int, i32, *const c_char, *mut Handle) -> c_int;
type Fast = unsafe extern "C" fn(Handle, *const c_void, *mut i64, *mut f64) -> c_int;
type Matrix = unsafe extern "C" fn(
    Handle,
    *const c_void,
    c_int,
    i32,
    i32,
    c_int,
    c_int,
    c_int,
    c_int,
    *const c_char,
    *mut i64,
    *mut f64,
) -> c_int;

const FLOAT64: c_int = 1;
const RAW_SCORE: c_int = 1;
const ALL_TREES: c_int = -1;
const PARAMETERS: *const c_char = c"num_threads=1".as_ptr();

/// A booster, never freed.
pub(crate) struct LightGbm {
    errors: Errors,
    fast: Fast,
    matrix: Matrix,
    booster: Handle,
    single_row: Handle,
    rows: Rc<Rows>,
    batch_rows: usize,
    out: Vec<f64>,
}

impl LightGbm {
    /// Loads the plan's library and a model.
    pub(crate) fn load(plan: &Plan, model: &Model, rows: &Rc<Rows>) -> Result<Self, Failed> {
        let loader = Loader::open(plan.library("lightgbm")?)?;
        let booster = loader.load(&loader.text(&model.text)?)?;
        // Safety: the types are those that LightGBM's c_api.h declares for these names.
        let (init, fast, matrix): (FastInit, Fast, Matrix) = unsafe {
            (
                loader.library.function("LGBM_BoosterPredictForMatSingleRowFastInit")?,
                loader.library.function("LGBM_BoosterPredictForMatSingleRowFast")?,
                loader.library.function("LGBM_BoosterPredictForMat")?,
            )
        };
        let columns = i32::try_from(rows.features)?;
        let mut single_row = std::ptr::null_mut();
        // Safety: `booster` is a live booster, the parameters end in a zero byte, `single_row` takes the result.
        let status =
            unsafe { init(booster, RAW_SCORE, 0, ALL_TREES, FLOAT64, columns, PARAMETERS, &raw mut single_row) };
        loader.errors.check(status)?;
        let (rows, out) = (rows.clone(), vec![0.0; rows.count]);
        Ok(Self { errors: loader.errors, fast, matrix, booster, single_row, rows, batch_rows: 1, out })
    }
}

impl Contender for LightGbm {
    fn prepare(&mut self, rows: usize) -> Result<(), Failed> {
        self.batch_rows = rows;
        Ok(())
    }

    fn score(&mut self, batch: usize) -> Result<(), Failed> {
        let values: *const c_void = self.rows.batch(batch, self.batch_rows).as_ptr().cast();
        let (mut written, out) = (0, self.out.as_mut_ptr());
        // Safety: `values` holds batch_rows x features f64s, row-major, as the arguments (or those of FastInit) say, and
        // `out` has room for a margin a row; both handles are live.
        let status = unsafe {
            if self.batch_rows == 1 {
                (self.fast)(self.single_row, values, &raw mut written, out)
            } else {
                let (rows, columns) = (self.batch_rows as i32, self.rows.features as i32);
                #[rustfmt::skip]
                let status = (self.matrix)(
                    self.booster, values, FLOAT64, rows, columns, 1, RAW_SCORE, 0, ALL_TREES, PARAMETERS,
                    &raw mut written, out,
                );
                status
            }
        };
        self.errors.check(status)
    }

    fn margins(&mut self, batch: usize) -> Result<Vec<f64>, Failed> {
        self.score(batch)?;
        Ok(self.out[..self.batch_rows].to_vec())
    }
}

/// LightGBM's library and its loading of a model, alone.
pub(crate) struct Loader {
    library: Library,
    errors: Errors,
    load: LoadModel,
}

impl Loader {
    /// Loads the library.
    pub(crate) fn open(path: &Path) -> Result<Self, Failed> {
        let library = Library::open(path)?;
        let errors = Errors::of(&library, "LGBM_GetLastError")?;
        // Safety: the type is the one that LightGBM's c_api.h declares for this name.
        let load = unsafe { library.function("LGBM_BoosterLoadModelFromString") }?;
        Ok(Self { library, errors, load })
    }

    /// A model's text as the library takes it.
    pub(crate) fn text(&self, path: &Path) -> Result<std::ffi::CString, Failed> {
        Ok(std::ffi::CString::new(crate::contender::read(path)?)?)
    }

    /// Loads a model; it is never freed.
    pub(crate) fn load(&self, text: &std::ffi::CStr) -> Result<Handle, Failed> {
        let (mut iterations, mut booster) = (0, std::ptr::null_mut());
        // Safety: the text ends in a zero byte and lives during the call; the others take the results.
        self.errors.check(unsafe { (self.load)(text.as_ptr(), &raw mut iterations, &raw mut booster) })?;
        Ok(booster)
    }
}
