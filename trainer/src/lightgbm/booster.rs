//! Datasets and boosters that free themselves.

use std::ffi::CString;

use super::ffi::{self, Api, Handle};
use super::{Library, LightgbmError};

/// Feature values, column by column, NaN missing, a categorical feature as its code.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matrix {
    /// How many rows.
    pub rows: usize,
    /// How many columns.
    pub columns: usize,
    /// The value of row `r` in column `c` is at `c * rows + r`.
    pub data: Vec<f64>,
}

/// Rows that LightGBM has binned.
pub struct Dataset {
    api: Api,
    handle: Handle,
}

/// A model that is trained, or was loaded.
pub struct Booster {
    api: Api,
    handle: Handle,
    width: usize,
    /// What it trains and validates on: the library keeps pointers to them.
    _data: Vec<Dataset>,
}

fn c_string(text: &str) -> Result<CString, LightgbmError> {
    CString::new(text).map_err(|_| LightgbmError::Refused("a text holds a zero byte".to_owned()))
}

fn count(what: &'static str, came: usize) -> Result<i32, LightgbmError> {
    i32::try_from(came).map_err(|_| LightgbmError::TooLarge { what, came, limit: i32::MAX as usize })
}

impl Library {
    /// Bins rows; `like` is the dataset whose bins they share.
    pub fn dataset(
        &self,
        matrix: &Matrix,
        labels: &[f32],
        names: &[String],
        parameters: &str,
        like: Option<&Dataset>,
    ) -> Result<Dataset, LightgbmError> {
        let (rows, columns) =
            (count("the number of rows", matrix.rows)?, count("the number of columns", matrix.columns)?);
        let like = like.map_or(std::ptr::null_mut(), |dataset| dataset.handle);
        let handle = self.api.dataset(&matrix.data, rows, columns, &c_string(parameters)?, like)?;
        let dataset = Dataset { api: self.api, handle };
        self.api.set_labels(dataset.handle, labels)?;
        let names = names.iter().map(|name| c_string(name)).collect::<Result<Vec<_>, _>>()?;
        self.api.set_names(dataset.handle, &names)?;
        Ok(dataset)
    }

    /// A booster without trees. Metrics are those of `valid`.
    pub fn booster(&self, train: Dataset, valid: Option<Dataset>, parameters: &str) -> Result<Booster, LightgbmError> {
        let handle = self.api.booster(train.handle, &c_string(parameters)?)?;
        let mut booster = Booster { api: self.api, handle, width: 1, _data: vec![train] };
        booster.width = self.api.classes(handle)?;
        if let Some(valid) = valid {
            self.api.add_valid(handle, valid.handle)?;
            booster._data.push(valid);
        }
        Ok(booster)
    }

    /// A booster from a model's text.
    pub fn load(&self, model: &str) -> Result<Booster, LightgbmError> {
        let handle = self.api.booster_from(&c_string(model)?)?;
        let mut booster = Booster { api: self.api, handle, width: 1, _data: Vec::new() };
        booster.width = self.api.classes(handle)?;
        Ok(booster)
    }

    /// Runs `work` and gives what the library said on this thread meanwhile, which would be printed otherwise.
    pub fn logged<T>(&self, work: impl FnOnce() -> T) -> (T, String) {
        self.api.logged(work)
    }
}

impl Booster {
    /// Adds one round of trees; says whether there was nothing left to split.
    pub fn update(&mut self) -> Result<bool, LightgbmError> {
        self.api.update(self.handle)
    }

    /// The names of its metrics.
    pub fn metric_names(&self) -> Result<Vec<String>, LightgbmError> {
        self.api.metric_names(self.handle)
    }

    /// Its metrics on the validation rows; `count` of them have names.
    pub fn metrics(&self, count: usize) -> Result<Vec<f64>, LightgbmError> {
        if self._data.len() < 2 || self.api.metric_names(self.handle)?.len() != count {
            return Err(LightgbmError::Refused("metrics are asked for that there are none of".to_owned()));
        }
        self.api.metrics(self.handle, count)
    }

    /// The model's text, of the first `rounds` rounds.
    pub fn text(&self, rounds: usize) -> Result<String, LightgbmError> {
        self.api.save(self.handle, count("the number of rounds", rounds)?)
    }

    /// Margins of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Features that it takes.
    pub fn features(&self) -> Result<usize, LightgbmError> {
        self.api.features(self.handle)
    }

    /// Raw margins, row by row.
    pub fn margins(&self, matrix: &Matrix) -> Result<Vec<f64>, LightgbmError> {
        self.predict(matrix, ffi::RAW)
    }

    /// Outputs, after the objective's transform, row by row.
    pub fn outputs(&self, matrix: &Matrix) -> Result<Vec<f64>, LightgbmError> {
        self.predict(matrix, ffi::NORMAL)
    }

    fn predict(&self, matrix: &Matrix, kind: i32) -> Result<Vec<f64>, LightgbmError> {
        let (rows, columns) =
            (count("the number of rows", matrix.rows)?, count("the number of columns", matrix.columns)?);
        if rows == 0 {
            return Ok(Vec::new());
        }
        self.api.predict(self.handle, &matrix.data, rows, columns, kind, self.width)
    }
}

impl Drop for Dataset {
    fn drop(&mut self) {
        self.api.free_dataset(self.handle);
    }
}

impl Drop for Booster {
    fn drop(&mut self) {
        self.api.free_booster(self.handle);
    }
}
