//! Models compiled to machine code, called without Python: lleaves (LLVM) and tl2cgen (C, thresholds as ranks).
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::rc::Rc;

use crate::contender::{Contender, Failed, Rows};
use crate::library::Library;
use crate::plan::Model;

/// `forest_root(rows, results, first, end)`: row-major f64 in, a margin a row out.
type Forest = unsafe extern "C" fn(*const f64, *mut f64, c_int, c_int);
/// `predict(row, raw, result)`: one row of 8-byte entries, overwritten with ranks; a margin is added to the result.
type Predict = unsafe extern "C" fn(*mut f64, c_int, *mut f64);

/// What lleaves compiled.
pub(crate) fn lleaves(model: &Model, rows: &Rc<Rows>) -> Result<Box<dyn Contender>, Failed> {
    let library = Library::open(model.lleaves.as_deref().ok_or("not compiled")?)?;
    // Safety: the type of the entry point of what lleaves compiles (`lleaves.lleaves.get_entry_func_type`, fp64).
    let forest = unsafe { library.function("forest_root") }?;
    Ok(Box::new(Lleaves { forest, rows: rows.clone(), batch_rows: 1, out: vec![0.0; rows.count] }))
}

/// What tl2cgen compiled.
pub(crate) fn tl2cgen(model: &Model, rows: &Rc<Rows>) -> Result<Box<dyn Contender>, Failed> {
    let library = Library::open(model.tl2cgen.as_deref().ok_or("not compiled")?)?;
    // Safety: the header that tl2cgen writes: `void predict(union Entry* data, int pred_margin, double* result)`, where
    // an entry is an int (-1 in its place: missing) or a double.
    let predict = unsafe { library.function("predict") }?;
    let (entries, out) = (vec![0.0; rows.features], vec![0.0; rows.count]);
    Ok(Box::new(Tl2cgen { predict, rows: rows.clone(), batch_rows: 1, entries, out }))
}

struct Lleaves {
    forest: Forest,
    rows: Rc<Rows>,
    batch_rows: usize,
    out: Vec<f64>,
}

impl Contender for Lleaves {
    fn prepare(&mut self, rows: usize) -> Result<(), Failed> {
        self.batch_rows = rows;
        Ok(())
    }

    fn score(&mut self, batch: usize) -> Result<(), Failed> {
        let values = self.rows.batch(batch, self.batch_rows).as_ptr();
        // Safety: `values` holds batch_rows rows, which are only read, and `out` has room for a margin each.
        unsafe { (self.forest)(values, self.out.as_mut_ptr(), 0, self.batch_rows as c_int) };
        Ok(())
    }

    fn margins(&mut self, batch: usize) -> Result<Vec<f64>, Failed> {
        self.score(batch)?;
        Ok(self.out[..self.batch_rows].to_vec())
    }
}

struct Tl2cgen {
    predict: Predict,
    rows: Rc<Rows>,
    batch_rows: usize,
    entries: Vec<f64>,
    out: Vec<f64>,
}

impl Contender for Tl2cgen {
    fn prepare(&mut self, rows: usize) -> Result<(), Failed> {
        self.batch_rows = rows;
        Ok(())
    }

    /// One call a row on a copy of the row, as tl2cgen's own predictor does it.
    fn score(&mut self, batch: usize) -> Result<(), Failed> {
        let values = self.rows.batch(batch, self.batch_rows);
        for (row, out) in values.chunks_exact(self.rows.features).zip(&mut self.out) {
            self.entries.copy_from_slice(row);
            *out = 0.0;
            // Safety: `entries` has an entry a feature, `out` is the one margin of the row. No value reads as missing:
            // those of an f32 end in zero bits.
            unsafe { (self.predict)(self.entries.as_mut_ptr(), 1, out) };
        }
        Ok(())
    }

    fn margins(&mut self, batch: usize) -> Result<Vec<f64>, Failed> {
        self.score(batch)?;
        Ok(self.out[..self.batch_rows].to_vec())
    }
}
