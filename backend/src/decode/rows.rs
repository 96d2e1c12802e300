//! Rows that arrive one by one: as arrays in the signature's order, as objects with feature names, as single values.

use headgate_engine::Batch;

use super::Body;
use crate::refusal::{Refusal, shorten};

/// Rows as they arrive, row-major in the staging area.
pub(super) struct Rows<'v> {
    values: &'v mut Vec<f64>,
    rows: usize,
    /// For each feature, the last row (counted from 1) that had it.
    seen: Vec<usize>,
    /// The feature that each key of the last object named: the next object mostly has the same.
    order: Vec<usize>,
    known: bool,
}

impl<'v> Rows<'v> {
    pub(super) fn new(values: &'v mut Vec<f64>) -> Self {
        Self { values, rows: 0, seen: Vec::new(), order: Vec::new(), known: false }
    }

    /// Reads an array of rows.
    pub(super) fn read(&mut self, body: &mut Body<'_>) -> Result<(), Refusal> {
        body.reader.open_array()?;
        let mut first = true;
        while body.reader.element(first)? {
            first = false;
            self.row(body)?;
        }
        Ok(())
    }

    /// Reads a row.
    pub(super) fn row(&mut self, body: &mut Body<'_>) -> Result<(), Refusal> {
        body.check_rows(self.rows + 1)?;
        match body.reader.peek() {
            Some(b'{') => self.object(body)?,
            Some(b'[') => self.array(body)?,
            _ => self.single(body)?,
        }
        self.rows += 1;
        Ok(())
    }

    fn array(&mut self, body: &mut Body<'_>) -> Result<(), Refusal> {
        body.reader.open_array()?;
        let width = body.schema.features.len();
        let start = self.values.len();
        let (mut at, mut surplus) = (0, 0);
        while body.reader.element(at + surplus == 0)? {
            if at == width {
                // One too many, or more: how many is told.
                surplus += 1;
                body.reader.skip()?;
                continue;
            }
            match body.reader.numbers(body.schema.numeric_runs[at], self.values)? {
                0 => {
                    let value = body.value(self.rows, at)?;
                    self.values.push(value);
                    at += 1;
                }
                came => at += came,
            }
        }
        let came = at + surplus;
        if came != width {
            let row = self.rows;
            body.faults.add(row, format_args!("row {row}: {came} values came, {width} expected, one a feature"));
            self.values.resize(start + width, f64::NAN);
        }
        self.known = true;
        Ok(())
    }

    fn single(&mut self, body: &mut Body<'_>) -> Result<(), Refusal> {
        let width = body.schema.features.len();
        if width != 1 {
            let row = self.rows;
            let words = "an object with feature names expected";
            body.faults.add(row, format_args!("row {row}: a single value came, an array of {width} or {words}"));
            self.values.resize(self.values.len() + width, f64::NAN);
            return Ok(body.reader.skip()?);
        }
        let value = body.value(self.rows, 0)?;
        self.values.push(value);
        self.known = true;
        Ok(())
    }

    fn object(&mut self, body: &mut Body<'_>) -> Result<(), Refusal> {
        body.reader.open_object()?;
        let start = self.values.len();
        self.seen.resize(body.schema.features.len(), 0);
        self.values.extend(body.schema.features.iter().map(|f| f.absent));
        let mut at = 0;
        while let Some(name) = body.reader.key(at == 0)? {
            let Some(feature) = self.find(body, at, &name) else {
                body.ignore(&name)?;
                body.reader.skip()?;
                // Keeps the place of keys that follow an unknown one.
                self.remember(at, usize::MAX);
                at += 1;
                continue;
            };
            if self.seen[feature] == self.rows + 1 {
                let (row, name) = (self.rows, shorten(&name, 80));
                body.faults.add(row, format_args!("row {row}: feature '{name}' is sent twice"));
            }
            self.seen[feature] = self.rows + 1;
            self.values[start + feature] = body.value(self.rows, feature)?;
            self.known = true;
            at += 1;
        }
        for (feature, seen) in body.schema.features.iter().zip(&self.seen) {
            if feature.required && *seen != self.rows + 1 {
                let row = self.rows;
                body.faults.add(row, format_args!("row {row}: feature '{}' is required and absent", feature.name));
            }
        }
        Ok(())
    }

    fn find(&mut self, body: &Body<'_>, at: usize, name: &str) -> Option<usize> {
        if let Some(&guess) = self.order.get(at)
            && body.schema.features.get(guess).is_some_and(|f| *f.name == *name)
        {
            return Some(guess);
        }
        let feature = body.schema.feature(name)?;
        self.remember(at, feature);
        Some(feature)
    }

    /// Bounded by the number of features: an object with more keys is mostly ignored ones.
    fn remember(&mut self, at: usize, feature: usize) {
        if at == self.order.len() && at < 2 * self.seen.len() {
            self.order.push(feature);
        } else if let Some(place) = self.order.get_mut(at) {
            *place = feature;
        }
    }

    /// Moves the rows to where the engine wants them.
    pub(super) fn finish(self, body: &Body<'_>, batch: &mut Batch) -> Result<(), Refusal> {
        body.check_known(self.known)?;
        transpose(self.values, body.schema.features.len(), self.rows, batch);
        Ok(())
    }
}

/// Row-major values into columns, in blocks of rows that fit the cache.
pub fn transpose(values: &[f64], width: usize, rows: usize, batch: &mut Batch) {
    const BLOCK: usize = 64;
    batch.reset(width, rows);
    for start in (0..rows).step_by(BLOCK) {
        let end = (start + BLOCK).min(rows);
        for feature in 0..width {
            let column = &mut batch.column_mut(feature)[start..end];
            for (row, value) in (start..end).zip(column) {
                *value = values[row * width + feature];
            }
        }
    }
}
