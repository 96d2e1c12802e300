//! XGBoost's C API: what `inplace_predict` calls, without Python.
#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_int, c_void};
use std::rc::Rc;

use crate::contender::{Contender, Failed, Rows};
use crate::library::{Errors, Library, c_path};
use crate::plan::{Plan, XgBoostModel};

type Handle = *mut c_void;
type Create = unsafe extern "C" fn(*const Handle, u64, *mut Handle) -> c_int;
type LoadModel = unsafe extern "C" fn(Handle, *const c_char) -> c_int;
type SetParam = unsafe extern "C" fn(Handle, *const c_char, *const c_char) -> c_int;
type Predict = unsafe extern "C" fn(
    Handle,
    *const c_char,
    *const c_char,
    Handle,
    *mut *const u64,
    *mut u64,
    *mut *const f32,
) -> c_int;

/// Raw margins, all trees.
const CONFIG: *const c_char = cr#"{"type": 1, "training": false, "iteration_begin": 0, "iteration_end": 0,
    "missing": NaN, "strict_shape": false, "cache_id": 0}"#
    .as_ptr();

struct XgBoost {
    errors: Errors,
    predict: Predict,
    booster: Handle,
    rows: Rc<Rows>,
    batch_rows: usize,
    /// For each batch the text by which the API is told where its values are.
    arrays: Vec<CString>,
    /// The results of the last call; the booster's own.
    out: *const f32,
}

/// Loads the plan's library and a model; neither is ever freed.
pub(crate) fn load(plan: &Plan, model: &XgBoostModel, rows: &Rc<Rows>) -> Result<Box<dyn Contender>, Failed> {
    let library = Library::open(plan.library("xgboost")?)?;
    let errors = Errors::of(&library, "XGBGetLastError")?;
    // Safety: the types are those that XGBoost's c_api.h declares for these names.
    let (create, load, set, predict): (Create, LoadModel, SetParam, Predict) = unsafe {
        (
            library.function("XGBoosterCreate")?,
            library.function("XGBoosterLoadModel")?,
            library.function("XGBoosterSetParam")?,
            library.function("XGBoosterPredictFromDense")?,
        )
    };
    let mut booster = std::ptr::null_mut();
    let path = c_path(&model.json)?;
    // Safety: no matrices are passed; all texts end in a zero byte; `booster` is live after its creation.
    unsafe {
        errors.check(create(std::ptr::null(), 0, &raw mut booster))?;
        errors.check(load(booster, path.as_ptr()))?;
        errors.check(set(booster, c"nthread".as_ptr(), c"1".as_ptr()))?;
    }
    let (rows, out) = (rows.clone(), std::ptr::null());
    Ok(Box::new(XgBoost { errors, predict, booster, rows, batch_rows: 1, arrays: Vec::new(), out }))
}

impl Contender for XgBoost {
    fn prepare(&mut self, rows: usize) -> Result<(), Failed> {
        self.batch_rows = rows;
        let array = |batch| {
            let (address, columns) = (self.rows.batch_f32(batch, rows).as_ptr() as usize, self.rows.features);
            let text = format!(
                r#"{{"data": [{address}, true], "shape": [{rows}, {columns}], "typestr": "<f4", "version": 3}}"#
            );
            CString::new(text)
        };
        self.arrays = (0..self.rows.count / rows).map(array).collect::<Result<_, _>>()?;
        Ok(())
    }

    fn score(&mut self, batch: usize) -> Result<(), Failed> {
        let (mut shape, mut dimensions) = (std::ptr::null(), 0);
        let (array, no_matrix) = (self.arrays[batch].as_ptr(), std::ptr::null_mut());
        // Safety: the array's text names values that live as long as `rows`; the booster is live; the rest takes results.
        let status = unsafe {
            (self.predict)(
                self.booster,
                array,
                CONFIG,
                no_matrix,
                &raw mut shape,
                &raw mut dimensions,
                &raw mut self.out,
            )
        };
        self.errors.check(status)
    }

    fn margins(&mut self, batch: usize) -> Result<Vec<f64>, Failed> {
        self.score(batch)?;
        // Safety: the call succeeded: its result holds a margin a row and lives until the booster's next call.
        let margins = unsafe { std::slice::from_raw_parts(self.out, self.batch_rows) };
        Ok(margins.iter().map(|&m| m.into()).collect())
    }
}
