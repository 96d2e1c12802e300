//! What a file says of its model.

use super::doc::{At, Value};
use super::model::{Booster, Model};
use crate::{Category, LoadError};

/// What an XGBoost file says of its model.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// The XGBoost that wrote it, `3.2.0`; empty where the file does not say.
    pub version: String,
    /// `gbtree`, `dart` or `gblinear`.
    pub booster: String,
    /// The objective's name, such as `binary:logistic`.
    pub objective: String,
    /// Classes; 0 where there are none.
    pub classes: usize,
    /// Targets; 1 but for multi-output models.
    pub targets: usize,
    /// Feature columns.
    pub features: usize,
    /// Boosting rounds, where the booster has any.
    pub rounds: Option<usize>,
    /// The round that early stopping found best, from 0. All rounds are scored, as `Booster.predict` does; the
    /// scikit-learn classes score up to this one only.
    pub best_iteration: Option<usize>,
    /// Names of the features; empty if the file carries none.
    pub feature_names: Vec<String>,
    /// `float`, `int`, `i` (boolean), `q`, or `c` (categorical); empty if the file carries none.
    pub feature_types: Vec<String>,
    /// For each feature its categories, where it was trained from a data frame by XGBoost 3.1 or later; a category's
    /// code is its place in its list. Empty if the file carries none.
    pub categories: Vec<Option<Vec<Category>>>,
}

impl Description {
    pub(super) fn new(model: &Model<'_>) -> Result<Self, LoadError> {
        let categories = match &model.booster {
            Booster::Trees { model: trees, .. } => match trees.maybe("cats") {
                Some(cats) => categories(&cats, model.features)?,
                None => Vec::new(),
            },
            Booster::Linear { .. } => Vec::new(),
        };
        Ok(Self {
            version: model.version.iter().map(i64::to_string).collect::<Vec<_>>().join("."),
            booster: model.booster_name.to_owned(),
            objective: model.objective.name.clone(),
            classes: model.classes,
            targets: model.targets,
            features: model.features,
            rounds: model.rounds(),
            best_iteration: model.best_iteration,
            feature_names: model.names.clone(),
            feature_types: model.types.clone(),
            categories,
        })
    }
}

/// `CatContainer::Save`: for each feature its values, texts as bytes with offsets.
fn categories(cats: &At<'_>, features: usize) -> Result<Vec<Option<Vec<Category>>>, LoadError> {
    let Some(columns) = cats.maybe("enc") else { return Ok(Vec::new()) };
    let list = columns.list()?;
    if list.is_empty() {
        return Ok(Vec::new());
    }
    if list.len() != features {
        return Err(columns.error(format!("{} columns for {features} features", list.len())));
    }
    let column = |(i, value): (usize, &Value)| column(&At { value, place: format!("{}, column {i}", columns.place) });
    list.iter().enumerate().map(column).collect()
}

fn column(at: &At<'_>) -> Result<Option<Vec<Category>>, LoadError> {
    let values = at.get("values")?;
    let Some(offsets) = at.maybe("offsets") else {
        let categories: Vec<Category> = match values.value {
            Value::Ints(ints) => ints.iter().map(|&i| Category::Int(i)).collect(),
            Value::Floats(floats) => floats.iter().map(|&f| Category::Float(f)).collect(),
            _ => return Err(values.error("expected an array of numbers")),
        };
        return Ok((!categories.is_empty()).then_some(categories));
    };
    // Signed bytes.
    let bytes: Vec<u8> = values.ints()?.iter().map(|&b| b as u8).collect();
    let mut categories = Vec::new();
    for bounds in offsets.ints()?.windows(2) {
        let range = usize::try_from(bounds[0]).ok().zip(usize::try_from(bounds[1]).ok());
        let text = range.and_then(|(from, to)| std::str::from_utf8(bytes.get(from..to)?).ok());
        let text = text.ok_or_else(|| at.error(format!("category {} is no text", categories.len())))?;
        categories.push(Category::Text(text.to_owned()));
    }
    Ok((!categories.is_empty()).then_some(categories))
}
