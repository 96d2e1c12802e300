//! What can be typed after `headgate train` and `headgate publish`.

use std::path::PathBuf;

use clap::Args;
use headgate_contract::ModelName;

use crate::lightgbm::find::VARIABLE;
use crate::plan::Overrides;

const CATEGORIES_MAX: usize = 1000;
const MIN_ROWS: usize = 100;

/// `headgate train`.
#[derive(Clone, Debug, Args)]
pub struct TrainArgs {
    /// The data: CSV (plain or gzip) or Parquet, as a path, a glob, a folder or a store's URL; may be given several
    /// times
    #[arg(long, required = true, value_name = "URI")]
    pub data: Vec<String>,
    /// The column to predict
    #[arg(long, value_name = "COL")]
    pub target: String,
    /// The model's name
    #[arg(long, value_name = "NAME")]
    pub model: ModelName,
    /// Train one model for each value of this column, NAME/value
    #[arg(long, value_name = "COL")]
    pub scope_by: Option<String>,
    /// Take only the rows for which this holds, as in "day >= 2024-01-01 and job in ('admin.', 'student')"
    #[arg(long = "where", value_name = "EXPR")]
    pub filter: Option<String>,
    /// A parameter of LightGBM's, as in num_leaves=63; may be given several times
    #[arg(long = "param", value_name = "K=V")]
    pub params: Vec<String>,
    /// Seed of the split and of LightGBM
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    /// How many scopes are trained side by side; by default as many as the processors hold
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
    /// Threads that train each model; by default all processors for one model, one for each scope
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Take these columns as categories, even where they are numbers
    #[arg(long, value_name = "COL")]
    pub categorical: Vec<String>,
    /// Take these columns as numbers; dates become days since 1970-01-01
    #[arg(long, value_name = "COL")]
    pub numeric: Vec<String>,
    /// Leave these columns out
    #[arg(long, value_name = "COL")]
    pub ignore: Vec<String>,
    /// LightGBM's objective; without it the target's values tell: binary, multiclass or regression
    #[arg(long, value_name = "NAME")]
    pub objective: Option<String>,
    /// Which of two classes is the positive one
    #[arg(long, value_name = "VALUE")]
    pub positive: Option<String>,
    /// The most categories that a column keeps; rarer ones are missing
    #[arg(long, default_value_t = CATEGORIES_MAX, value_name = "N")]
    pub categories_max: usize,
    /// Fewer rows than this are not trained on; a scope with fewer is skipped
    #[arg(long, default_value_t = MIN_ROWS, value_name = "N")]
    pub min_rows: usize,
    /// Train again, even where these very inputs have been trained on
    #[arg(long)]
    pub force: bool,
    /// Release the new versions
    #[arg(long)]
    pub promote: bool,
    /// Only if this holds on the metrics, as in "auc >= stable - 0.005"
    #[arg(long = "if", value_name = "CONDITION", requires = "promote")]
    pub condition: Option<String>,
    /// Where some scopes failed, promote the others
    #[arg(long, requires = "promote")]
    pub keep_going: bool,
    /// LightGBM's shared library; without it, it is looked for
    #[arg(long, value_name = "FILE", env = VARIABLE)]
    pub lightgbm: Option<PathBuf>,
}

/// `headgate publish`.
#[derive(Clone, Debug, Args)]
pub struct PublishArgs {
    /// The model's file: LightGBM's text, XGBoost's JSON or UBJSON, CatBoost's JSON, ONNX, or a forest or linear model of Headgate's own; with --process, a folder
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The model's name
    #[arg(long, value_name = "NAME")]
    pub model: ModelName,
    /// Rows with the results that the training library gave: JSON lines or CSV, columns named as the features, and
    /// `margin` and `output` (or `margin_0`, `margin_1`, ...) for the results
    #[arg(long, value_name = "FILE", required_unless_present = "no_proof")]
    pub golden: Option<PathBuf>,
    /// How far a result may be from these rows', relative above 1: for linear models and other engines that sum in another
    /// order than the training library
    #[arg(long, value_name = "X", requires = "golden")]
    pub tolerance: Option<f64>,
    /// Publish without such rows: backends then can't prove that they score as the training library does
    #[arg(long, conflicts_with = "golden")]
    pub no_proof: bool,
    /// Publish code: a folder (or one file) that backends run with this command of their configuration, as in python
    #[arg(long, value_name = "COMMAND", requires = "signature", conflicts_with_all = ["no_proof", "name_features", "classes"])]
    pub process: Option<String>,
    /// What goes in and comes out of the code: JSON with `inputs` and `outputs`, as manifests have them
    #[arg(long, value_name = "FILE", requires = "process")]
    pub signature: Option<PathBuf>,
    /// The features' names, in order, where the file has none or others
    #[arg(long, value_name = "NAME,NAME,...", value_delimiter = ',')]
    pub name_features: Vec<String>,
    /// The classes' names, in order; of two, the positive one last
    #[arg(long, value_name = "NAME,NAME,...", value_delimiter = ',')]
    pub classes: Vec<String>,
    /// A metric, as in auc=0.93; may be given several times
    #[arg(long = "metric", value_name = "K=V")]
    pub metrics: Vec<String>,
    /// A parameter that the model was trained with, for the record; may be given several times
    #[arg(long = "param", value_name = "K=V")]
    pub params: Vec<String>,
    /// Where the training data is, for the record; may be given several times
    #[arg(long = "data", value_name = "URI")]
    pub data: Vec<String>,
    /// The code that trained it, for the record: a commit, a package's version
    #[arg(long, value_name = "TEXT")]
    pub code: Option<String>,
    /// Publish a new version even where this very file has been published
    #[arg(long)]
    pub force: bool,
    /// Release the new version
    #[arg(long)]
    pub promote: bool,
    /// Only if this holds on the metrics, as in "auc >= stable - 0.005"
    #[arg(long = "if", value_name = "CONDITION", requires = "promote")]
    pub condition: Option<String>,
}

impl TrainArgs {
    /// A training with every option at its default; the data comes from elsewhere ([`crate::train_sources`]).
    pub fn new(model: ModelName, target: impl Into<String>) -> Self {
        Self {
            data: Vec::new(),
            target: target.into(),
            model,
            scope_by: None,
            filter: None,
            params: Vec::new(),
            seed: 0,
            jobs: None,
            threads: None,
            categorical: Vec::new(),
            numeric: Vec::new(),
            ignore: Vec::new(),
            objective: None,
            positive: None,
            categories_max: CATEGORIES_MAX,
            min_rows: MIN_ROWS,
            force: false,
            promote: false,
            condition: None,
            keep_going: false,
            lightgbm: None,
        }
    }

    /// What the user says of columns.
    pub(crate) fn overrides(&self) -> Overrides {
        let set = |names: &[String]| names.iter().cloned().collect();
        Overrides { categorical: set(&self.categorical), numeric: set(&self.numeric), ignore: set(&self.ignore) }
    }
}
