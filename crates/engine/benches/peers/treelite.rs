//! Treelite's General Tree Inference Library, through treelite's C API.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_void};
use std::rc::Rc;

use crate::contender::{Contender, Failed, Rows};
use crate::library::{Errors, Library, c_path};
use crate::plan::{Model, Plan};

type Handle = *mut c_void;
type LoadModel = unsafe extern "C" fn(*const c_char, *const c_char, *mut Handle) -> c_int;
type ParseConfig = unsafe extern "C" fn(*const c_char, *mut Handle) -> c_int;
type Predict = unsafe extern "C" fn(Handle, *const c_void, *const c_char, u64, *mut c_void, Handle) -> c_int;

struct Treelite {
    errors: Errors,
    predict: Predict,
    model: Handle,
    config: Handle,
    rows: Rc<Rows>,
    batch_rows: usize,
    out: Vec<f64>,
}

/// Loads the plan's library and a model; neither is ever freed.
pub(crate) fn load(plan: &Plan, model: &Model, rows: &Rc<Rows>) -> Result<Box<dyn Contender>, Failed> {
    let library = Library::open(plan.library("treelite")?)?;
    let errors = Errors::of(&library, "TreeliteGetLastError")?;
    // Safety: the types are those that treelite's c_api.h declares for these names since 4.0.
    let (load, parse, predict): (LoadModel, ParseConfig, Predict) = unsafe {
        (
            library.function("TreeliteLoadLightGBMModel")?,
            library.function("TreeliteGTILParseConfig")?,
            library.function("TreeliteGTILPredict")?,
        )
    };
    let (mut forest, mut config) = (std::ptr::null_mut(), std::ptr::null_mut());
    let path = c_path(&model.text)?;
    let wanted = cr#"{"predict_type": "raw", "nthread": 1}"#;
    // Safety: all texts end in a zero byte and live during the calls; the handles take the results.
    unsafe {
        errors.check(load(path.as_ptr(), c"{}".as_ptr(), &raw mut forest))?;
        errors.check(parse(wanted.as_ptr(), &raw mut config))?;
    }
    let (rows, out) = (rows.clone(), vec![0.0; rows.count]);
    Ok(Box::new(Treelite { errors, predict, model: forest, config, rows, batch_rows: 1, out }))
}

impl Contender for Treelite {
    fn prepare(&mut self, rows: usize) -> Result<(), Failed> {
        self.batch_rows = rows;
        Ok(())
    }

    fn score(&mut self, batch: usize) -> Result<(), Failed> {
        let values = self.rows.batch(batch, self.batch_rows).as_ptr().cast();
        let (rows, out) = (self.batch_rows as u64, self.out.as_mut_ptr().cast());
        // Safety: `values` holds so many rows of f64s, as the type's name says (a LightGBM model takes no other), and
        // `out` has room for an f64 a row; the handles are live.
        let status = unsafe { (self.predict)(self.model, values, c"float64".as_ptr(), rows, out, self.config) };
        self.errors.check(status)
    }

    fn margins(&mut self, batch: usize) -> Result<Vec<f64>, Failed> {
        self.score(batch)?;
        Ok(self.out[..self.batch_rows].to_vec())
    }
}
