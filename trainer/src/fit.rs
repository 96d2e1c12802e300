//! One model: from the rows of a table to a text that is known to score as the library that made it.

use std::collections::BTreeMap;

use headgate_contract::manifest::signature::Role;
use headgate_contract::manifest::{Dtype, FeatureStatistics, Golden, Input, Output, Signature};
use headgate_contract::real::Real;
use headgate_engine::{Format, Limits, LoadError};

use crate::evaluate::{self, Bin};
use crate::golden;
use crate::lightgbm::params::Parameters;
use crate::lightgbm::rounds::{self, Part, Round};
use crate::lightgbm::{self, Booster, Library, LightgbmError};
use crate::plan::overrides::find;
use crate::plan::target::Wish;
use crate::plan::{Coding, Feature, Overrides, PlanError, Target, Task, feature};
use crate::proof::{self, ProofError};
use crate::split::{Split, split};
use crate::statistics::statistics;
use crate::table::Table;

/// How a model is trained.
#[derive(Clone, Debug)]
pub struct FitOptions {
    /// The column to predict.
    pub target: String,
    /// The column whose values are the scopes: no feature.
    pub scope_by: Option<String>,
    /// What the user says of columns; already applied to the table.
    pub overrides: Overrides,
    /// LightGBM's objective, where one was asked for.
    pub objective: Option<String>,
    /// The positive class, where one was named.
    pub positive: Option<String>,
    /// LightGBM's parameters.
    pub parameters: Parameters,
    /// Seed of the split and of LightGBM.
    pub seed: u64,
    /// Threads.
    pub threads: usize,
    /// The most categories that a column keeps.
    pub categories_max: usize,
    /// Fewer rows than this are not trained on.
    pub rows_min: usize,
}

/// A trained model and what is known of it.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// LightGBM's text format.
    pub text: String,
    /// What goes in and what comes out.
    pub signature: Signature,
    /// Rows with the library's own results.
    pub golden: Golden,
    /// The evaluation on the held-out rows.
    pub metrics: BTreeMap<String, f64>,
    /// Predicted against observed, for two classes.
    pub calibration: Vec<Bin>,
    /// What the training rows look like.
    pub statistics: Vec<FeatureStatistics>,
    /// What kind of thing is predicted.
    pub task: Task,
    /// LightGBM's objective.
    pub objective: String,
    /// What was decided and left out, in words.
    pub notes: Vec<String>,
}

/// Why no model came of it.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    /// Nothing can be learnt. The caller's fault.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The library refused: mostly a wrong parameter, the caller's fault.
    #[error(transparent)]
    Lightgbm(#[from] LightgbmError),
    /// The model can't be served.
    #[error("the model can't be served: {0}")]
    Load(#[from] LoadError),
    /// The engine that serves does not score as the library does: a fault of ours.
    #[error("the model is not published: {0}")]
    Proof(#[from] ProofError),
}

/// Trains on `rows` of the table. Blocks; `on_round` is told of each round.
pub fn fit(
    library: &Library,
    table: &Table,
    rows: &[u32],
    options: &FitOptions,
    on_round: &mut dyn FnMut(Round),
) -> Result<Fitted, FitError> {
    let least = options.rows_min.max(2);
    let few = |rows: usize| PlanError::FewRows { rows, least };
    if rows.len() < least {
        return Err(few(rows.len()).into());
    }
    let mut notes = Vec::new();
    let wish = Wish { objective: options.objective.as_deref(), positive: options.positive.as_deref() };
    let (target, rows) = Target::plan(table, rows, &options.target, wish, &mut notes)?;
    let split = split(&rows, options.seed);
    if rows.len() < least || split.train.is_empty() || split.test.is_empty() {
        return Err(few(rows.len()).into());
    }
    let labels = target.labels(table, &split.train);
    if labels.iter().all(|label| *label == labels[0]) {
        let why = "all training rows have the same value".to_owned();
        return Err(PlanError::Target { name: target.name, why }.into());
    }
    let scope = options.scope_by.as_deref().map(|name| find(table, name)).transpose()?;
    let (overrides, categories_max) = (&options.overrides, options.categories_max.max(1));
    let choice = feature::Choice { target: target.column, scope, overrides, categories_max };
    let features = feature::plan(table, &split.train, &choice, &mut notes)?;
    if split.valid.is_empty() {
        notes.push("too few rows to validate on: trained without early stopping".to_owned());
    }
    let part = |rows: &[u32]| Part {
        matrix: feature::matrix(table, &features, rows),
        labels: target.labels(table, rows).into_iter().map(|label| label as f32).collect(),
    };
    let parameters = options.parameters.text(&defaults(&target, &features), options.seed, options.threads.max(1));
    let parts = (part(&split.train), part(&split.valid));
    let names = feature::plain_names(&features);
    let trained = rounds::train(library, parts, &names, &options.parameters, &parameters, on_round)?;
    notes.extend(trained.warnings.iter().map(|warning| format!("lightgbm: {warning}")));
    let booster = library.load(&trained.text)?;
    let (mut metrics, calibration) = evaluate(&booster, table, &target, &features, &split, &mut notes)?;
    metrics.insert("rounds".to_owned(), trained.rounds as f64);
    let signature = signature(&target, &features);
    let golden = golden(&booster, table, &features, &split.test, options.seed)?;
    let engine = headgate_engine::load(Format::LightgbmText, trained.text.as_bytes(), &Limits::default())?;
    proof::prove(lightgbm::NAME, engine.as_ref(), &signature, &golden)?;
    Ok(Fitted {
        statistics: statistics(table, &features, &split.train),
        text: trained.text,
        signature,
        golden,
        metrics,
        calibration,
        task: target.task,
        objective: target.objective,
        notes,
    })
}

/// What the plan says to LightGBM.
fn defaults(target: &Target, features: &[Feature]) -> BTreeMap<String, String> {
    let mut defaults = BTreeMap::from([("objective".to_owned(), target.objective.clone())]);
    if target.task == Task::Multiclass {
        defaults.insert("num_class".to_owned(), target.classes.len().to_string());
    }
    let categorical = features.iter().enumerate().filter(|(_, f)| matches!(f.coding, Coding::Category { .. }));
    let places: Vec<String> = categorical.map(|(at, _)| at.to_string()).collect();
    if !places.is_empty() {
        defaults.insert("categorical_feature".to_owned(), places.join(","));
    }
    defaults
}

fn evaluate(
    booster: &Booster,
    table: &Table,
    target: &Target,
    features: &[Feature],
    split: &Split,
    notes: &mut Vec<String>,
) -> Result<(BTreeMap<String, f64>, Vec<Bin>), LightgbmError> {
    let labels = target.labels(table, &split.test);
    let predicted = booster.outputs(&feature::matrix(table, features, &split.test))?;
    let mut metrics = BTreeMap::from([
        ("rows_train".to_owned(), split.train.len() as f64),
        ("rows_valid".to_owned(), split.valid.len() as f64),
        ("rows_test".to_owned(), split.test.len() as f64),
    ]);
    let mut bins = Vec::new();
    let mut put = |name: &str, value: Option<f64>| match value.filter(|value| value.is_finite()) {
        Some(value) => drop(metrics.insert(name.to_owned(), value)),
        None => notes.push(format!("{name} is not defined on the {} held-out rows", labels.len())),
    };
    match target.task {
        Task::Binary => {
            bins = evaluate::binary::calibration(&predicted, &labels);
            put("auc", evaluate::binary::auc(&predicted, &labels));
            put("log_loss", Some(evaluate::binary::log_loss(&predicted, &labels)));
            put("brier", Some(evaluate::binary::brier(&predicted, &labels)));
            put("accuracy", Some(evaluate::binary::accuracy(&predicted, &labels)));
            put("calibration_error", Some(evaluate::binary::calibration_error(&bins)));
            put("positive_rate", Some(labels.iter().sum::<f64>() / labels.len() as f64));
        }
        Task::Multiclass => {
            let classes = target.classes.len();
            put("log_loss", Some(evaluate::multiclass::log_loss(&predicted, classes, &labels)));
            put("accuracy", Some(evaluate::multiclass::accuracy(&predicted, classes, &labels)));
        }
        Task::Regression => {
            put("rmse", Some(evaluate::regression::rmse(&predicted, &labels)));
            put("mae", Some(evaluate::regression::mae(&predicted, &labels)));
            put("r2", evaluate::regression::r2(&predicted, &labels));
        }
    }
    Ok((metrics, bins))
}

fn signature(target: &Target, features: &[Feature]) -> Signature {
    let input = |feature: &Feature| match &feature.coding {
        Coding::Number => Input::numeric(&feature.name),
        Coding::Category { categories, .. } => Input::categorical(&feature.name, categories.clone()),
    };
    let (name, width, classes): (_, _, Vec<String>) = match target.task {
        Task::Binary => ("probability", 1, target.classes.iter().skip(1).cloned().collect()),
        Task::Multiclass => ("probabilities", target.classes.len(), target.classes.iter().cloned().collect()),
        Task::Regression => ("prediction", 1, Vec::new()),
    };
    let output = |name: &str, role, classes| Output { name: name.to_owned(), role, dtype: Dtype::Fp64, width, classes };
    Signature {
        inputs: features.iter().map(input).collect(),
        outputs: vec![output(name, Role::Value, classes), output("margin", Role::Margin, Vec::new())],
    }
}

/// Golden rows from the held-out ones, scored by the library from the model's saved text.
fn golden(
    booster: &Booster,
    table: &Table,
    features: &[Feature],
    held_out: &[u32],
    seed: u64,
) -> Result<Golden, LightgbmError> {
    let chosen = golden::choose(table, features, held_out, seed);
    let (inputs, matrix) = golden::inputs(table, features, &chosen);
    let reals = |values: Vec<f64>| values.into_iter().map(Real).collect();
    Ok(Golden {
        rows: matrix.rows,
        inputs,
        margins: reals(booster.margins(&matrix)?),
        outputs: reals(booster.outputs(&matrix)?),
        tolerance: 0.0,
    })
}
