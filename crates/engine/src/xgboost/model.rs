//! The document's outer form: `learner`, its parameters and its booster.

use super::doc::{At, Value, brief};
use super::objective::Objective;
use super::tree::Tree;
use crate::LoadError;
use crate::engine::Categorical;

/// What follows the parameters.
#[derive(Debug)]
pub(super) enum Booster<'a> {
    /// gbtree, and dart with the weights of its trees.
    Trees { model: At<'a>, weights: Option<Vec<f32>> },
    /// gblinear: `weights[feature * width + output]`, the biases last.
    Linear { weights: Vec<f32> },
}

/// A model's outer parts, checked against each other.
#[derive(Debug)]
pub(super) struct Model<'a> {
    /// Major, minor, patch of the XGBoost that wrote it; empty where the file does not say.
    pub(super) version: Vec<i64>,
    pub(super) features: usize,
    /// 0 or 1 where there are none.
    pub(super) classes: usize,
    pub(super) targets: usize,
    /// Margins in a row.
    pub(super) width: usize,
    /// One for each margin, before the objective's link.
    pub(super) base_score: Vec<f32>,
    pub(super) objective: Objective,
    pub(super) booster: Booster<'a>,
    /// `gbtree`, `dart`, `gblinear`.
    pub(super) booster_name: &'a str,
    /// Empty, or one for each feature.
    pub(super) names: Vec<String>,
    /// Empty, or one for each feature: `float`, `int`, `i` (boolean), `q`, `c` (categorical).
    pub(super) types: Vec<String>,
    /// `best_iteration` among the attributes.
    pub(super) best_iteration: Option<usize>,
}

impl<'a> Model<'a> {
    pub(super) fn read(doc: &'a Value) -> Result<Self, LoadError> {
        let root = At { value: doc, place: String::new() };
        let learner = root.get("learner")?;
        let param = learner.get("learner_model_param")?;
        let features = param.get("num_feature")?.count()?;
        let classes = param.get("num_class")?.count()?;
        let targets = param.maybe("num_target").map_or(Ok(1), |t| t.count())?;
        let width = classes.max(targets).max(1);
        let objective = Objective::read(&learner.get("objective")?, classes, width)?;
        let names = listed(&learner, "feature_names", features)?;
        let types = listed(&learner, "feature_types", features)?;
        let attributes = learner.maybe("attributes");
        let best_iteration = attributes.and_then(|a| a.maybe("best_iteration")).and_then(|b| b.count().ok());
        let booster = learner.get("gradient_booster")?;
        let booster_name = booster.get("name")?.text()?;
        Ok(Self {
            version: root.maybe("version").and_then(|v| v.ints().ok().map(<[i64]>::to_vec)).unwrap_or_default(),
            features,
            classes,
            targets,
            width,
            base_score: base_score(&param.get("base_score")?)?,
            objective,
            booster: Booster::read(&booster, booster_name)?,
            booster_name,
            names,
            types,
            best_iteration,
        })
    }

    /// Where each margin's sum begins: the base score in margin space.
    pub(super) fn start(&self) -> Result<Vec<f32>, LoadError> {
        let scores = &self.base_score;
        let score = |i: usize| scores.get(if scores.len() == 1 { 0 } else { i }).copied();
        if scores.len() != 1 && scores.len() != self.width {
            let what = format!("{} values for {} outputs", scores.len(), self.width);
            return Err(LoadError::at("learner.learner_model_param.base_score", what));
        }
        let bounded = self.version.as_slice() >= &[3, 1][..];
        (0..self.width).map(|i| self.objective.link.margin(score(i).unwrap_or(f32::NAN), bounded)).collect()
    }

    /// What the file says of its categorical columns.
    pub(super) fn categorical(&self) -> Vec<Option<Categorical>> {
        let mut columns = vec![None; self.features];
        for (column, kind) in columns.iter_mut().zip(&self.types) {
            *column = (kind == "c").then_some(Categorical { max_code: None });
        }
        columns
    }

    /// The trees, in the order in which they are summed.
    pub(super) fn trees(&self) -> Result<Vec<Tree<'a>>, LoadError> {
        let Booster::Trees { model, weights } = &self.booster else { return Ok(Vec::new()) };
        let listed = model.get("trees")?;
        let trees = listed.list()?;
        if let Some(count) = model.maybe("gbtree_model_param").and_then(|p| p.maybe("num_trees")) {
            let count = count.count()?;
            if count != trees.len() {
                return Err(listed.error(format!("{} trees, but `num_trees` is {count}", trees.len())));
            }
        }
        let info = model.get("tree_info")?;
        let groups = info.ints()?;
        if groups.len() != trees.len() {
            return Err(info.error(format!("{} values for {} trees", groups.len(), trees.len())));
        }
        if let Some(weights) = weights.as_ref().filter(|w| w.len() != trees.len()) {
            let what = format!("{} values for {} trees", weights.len(), trees.len());
            return Err(LoadError::at("learner.gradient_booster.weight_drop", what));
        }
        let mut ordered: Vec<Option<Tree<'a>>> = Vec::new();
        ordered.resize_with(trees.len(), || None);
        for (i, value) in trees.iter().enumerate() {
            let at = At { value, place: format!("tree {i}") };
            // A tree's place is its id, not its place in the list.
            let id = at.maybe("id").map_or(Ok(i), |id| id.count())?;
            let group = groups.get(id).and_then(|&g| u32::try_from(g).ok()).filter(|&g| (g as usize) < self.width);
            let Some(slot) = ordered.get_mut(id).filter(|s| s.is_none()) else {
                return Err(at.error(format!("its id {id} is out of range or taken")));
            };
            let group = group.ok_or_else(|| info.error(format!("tree {id} adds to none of {} outputs", self.width)))?;
            let weight = weights.as_ref().map(|w| w[id]);
            *slot = Some(Tree { at: At { value, place: format!("tree {id}") }, group, width: self.width, weight });
        }
        Ok(ordered.into_iter().flatten().collect())
    }

    /// Boosting rounds, where the file says.
    pub(super) fn rounds(&self) -> Option<usize> {
        let Booster::Trees { model, .. } = &self.booster else { return None };
        let Some(indptr) = model.maybe("iteration_indptr") else {
            // Before 2.0: as many trees a round as outputs and parallel trees.
            let param = model.maybe("gbtree_model_param")?;
            let parallel = param.maybe("num_parallel_tree").and_then(|p| p.count().ok()).unwrap_or(1).max(1);
            return param.maybe("num_trees")?.count().ok()?.checked_div(parallel.checked_mul(self.width)?);
        };
        indptr.ints().ok()?.len().checked_sub(1)
    }
}

impl<'a> Booster<'a> {
    fn read(booster: &At<'a>, name: &str) -> Result<Self, LoadError> {
        match name {
            "gbtree" => Ok(Self::Trees { model: booster.get("model")?, weights: None }),
            "dart" => {
                let weights = booster.get("weight_drop")?.floats()?;
                Ok(Self::Trees { model: booster.get("gbtree")?.get("model")?, weights: Some(weights) })
            }
            "gblinear" => Ok(Self::Linear { weights: booster.get("model")?.get("weights")?.floats()? }),
            _ => Err(LoadError::Unsupported(format!("XGBoost booster `{}`", brief(name)))),
        }
    }
}

fn listed(learner: &At<'_>, key: &str, features: usize) -> Result<Vec<String>, LoadError> {
    let Some(list) = learner.maybe(key) else { return Ok(Vec::new()) };
    let texts = list.texts()?;
    if !texts.is_empty() && texts.len() != features {
        return Err(list.error(format!("{} texts for {features} features", texts.len())));
    }
    Ok(texts)
}

/// `5E-1`, or since 3.1 `[5E-1]` with one value for each output.
fn base_score(at: &At<'_>) -> Result<Vec<f32>, LoadError> {
    let text = at.text()?.trim();
    let list = text.trim_start_matches(['[', '(']).trim_end_matches([']', ')', ',']);
    let mut scores = Vec::new();
    for token in list.split(',') {
        let score = token.trim().parse::<f32>().ok().filter(|s| s.is_finite());
        scores.push(score.ok_or_else(|| at.error(format!("`{}` is not a finite number", brief(token))))?);
    }
    Ok(scores)
}
