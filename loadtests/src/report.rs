//! What a run found: as JSON, as a text table, and as a page with a plot.

mod chart;
mod load;
mod machine;
mod page;
mod plot;
mod serving;
mod sim;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use chart::{Chart, Line};
pub use load::{LoadReport, MarkReport, PhaseReport, Quantiles, SliceReport, WindowReport};
pub use machine::Machine;
pub use serving::{Cell, LeftOut, Past, ServingReport, Spread};
pub use sim::{Row, SimReport};

/// What a run found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The scenario.
    pub scenario: String,
    /// When it ended.
    pub ended_at: jiff::Timestamp,
    /// Where it ran.
    pub machine: Machine,
    /// How it was set.
    pub settings: BTreeMap<String, String>,
    /// What had to hold.
    pub musts: Vec<Must>,
    /// Why it could not be run to its end, where it could not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What else was measured.
    pub figures: Vec<Figure>,
    /// The load, where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadReport>,
    /// Servers side by side, where that was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serving: Option<ServingReport>,
    /// What was simulated, where that was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sim: Option<SimReport>,
}

/// Something that had to hold: `measured` at most `bound`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Must {
    /// What was measured.
    pub name: String,
    /// What came.
    pub measured: f64,
    /// The most that is allowed.
    pub bound: f64,
    /// Its unit; empty for counts and ratios.
    pub unit: &'static str,
}

/// Something that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// What.
    pub name: String,
    /// What came.
    pub value: f64,
    /// Its unit; empty for counts and ratios.
    pub unit: &'static str,
}

/// Where a report should go, beside the terminal.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Files {
    /// Write the report as JSON to this file
    #[arg(long, global = true, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the report as a page with its plots to this file
    #[arg(long, global = true, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// A report that could not be written. The caller's fault, or the disk's.
#[derive(Debug, thiserror::Error)]
#[error("report could not be written to {path}: {error}")]
pub struct WriteError {
    path: PathBuf,
    error: std::io::Error,
}

impl Report {
    /// An empty report of a scenario on this machine.
    pub fn new(scenario: &str) -> Self {
        Self {
            scenario: scenario.to_owned(),
            ended_at: jiff::Timestamp::now(),
            machine: Machine::here(),
            settings: BTreeMap::new(),
            musts: Vec::new(),
            error: None,
            figures: Vec::new(),
            load: None,
            serving: None,
            sim: None,
        }
    }

    /// Notes a setting.
    pub fn set(&mut self, name: &str, value: impl ToString) {
        self.settings.insert(name.to_owned(), value.to_string());
    }

    /// Notes something that must be at most `bound`.
    pub fn must(&mut self, name: impl Into<String>, measured: f64, bound: f64, unit: &'static str) {
        self.musts.push(Must { name: name.into(), measured, bound, unit });
    }

    /// Notes a figure.
    pub fn figure(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.figures.push(Figure { name: name.into(), value, unit });
    }

    /// Whether it ran to its end and all that had to hold did.
    pub fn holds(&self) -> bool {
        self.error.is_none() && self.musts.iter().all(Must::holds)
    }

    /// The report as text for a terminal.
    pub fn text(&self) -> String {
        table::text(self)
    }

    /// Writes the files that were asked for.
    pub fn write(&self, files: &Files) -> Result<(), WriteError> {
        if let Some(path) = &files.json {
            let json = serde_json::to_vec_pretty(self).map_err(|e| failed(path, e.into()))?;
            std::fs::write(path, json).map_err(|e| failed(path, e))?;
        }
        if let Some(path) = &files.html {
            std::fs::write(path, page::html(self)).map_err(|e| failed(path, e))?;
        }
        Ok(())
    }
}

impl Must {
    /// Whether it holds; what is not a number does not.
    pub fn holds(&self) -> bool {
        self.measured <= self.bound
    }
}

fn failed(path: &Path, error: std::io::Error) -> WriteError {
    WriteError { path: path.to_owned(), error }
}
