//! What a model file says of itself: engine, features, categories, outputs.

use headgate_contract::manifest::signature::Role;
use headgate_contract::manifest::{Dtype, Input, Output, Signature};
use headgate_engine::{Category, Engine, Format, MarginKind, OutputKind, catboost, forest_json, lightgbm, xgboost};

use crate::args::PublishArgs;
use crate::error::PublishError;

/// What a file says of its model.
#[derive(Clone, Debug, PartialEq)]
pub struct Derived {
    /// The engine's name in manifests.
    pub engine: &'static str,
    /// The library's version, where the file tells.
    pub version: Option<String>,
    /// The artifact's name in a version.
    pub file: &'static str,
    /// What goes in and what comes out.
    pub signature: Signature,
}

/// A file's features: names (empty where it has none), and the categories of each that has some; and its classes, where
/// it names some.
#[derive(Default)]
struct Features {
    names: Vec<String>,
    categories: Vec<Option<Vec<String>>>,
    classes: Vec<String>,
    version: Option<String>,
}

pub(super) fn derive(
    args: &PublishArgs,
    format: Format,
    bytes: &[u8],
    engine: &dyn Engine,
    notes: &mut Vec<String>,
) -> Result<Derived, PublishError> {
    let no_model = |why: String| PublishError::Model { path: args.file.display().to_string(), why };
    let (name, file, features) = match format {
        Format::LightgbmText => ("lightgbm", "model.txt", of_lightgbm(bytes, notes).map_err(no_model)?),
        Format::XgboostJson => ("xgboost", "model.json", of_xgboost(format, bytes).map_err(no_model)?),
        Format::XgboostUbj => ("xgboost", "model.ubj", of_xgboost(format, bytes).map_err(no_model)?),
        Format::CatboostJson => ("catboost", "model.json", of_catboost(bytes).map_err(no_model)?),
        Format::ForestJson => ("forest", "model.json", of_forest(bytes).map_err(no_model)?),
        Format::LinearJson | Format::LinearHashed => {
            let features = Features { names: engine.input_names().to_vec(), ..Features::default() };
            ("linear", if format == Format::LinearHashed { "model.hgl" } else { "model.json" }, features)
        }
    };
    let signature =
        Signature { inputs: inputs(args, engine, &features)?, outputs: outputs(args, engine, &features.classes)? };
    signature.check().map_err(no_model)?;
    Ok(Derived { engine: name, version: features.version, file, signature })
}

fn of_lightgbm(bytes: &[u8], notes: &mut Vec<String>) -> Result<Features, String> {
    let description = lightgbm::describe(bytes).map_err(|error| error.to_string())?;
    let lists = description.pandas_categorical.as_ref().map_or(0, Vec::len);
    let categories = match description.categories() {
        Some(categories) => categories.into_iter().map(|list| list.map(texts)).collect(),
        None if lists > 0 => {
            return Err(format!(
                "it has {lists} lists of categories for {} categorical features, so that they can't be told apart: \
                 train without ordered categories, or on codes",
                description.categorical_features.len()
            ));
        }
        None => Vec::new(),
    };
    let coded = description.categorical_features.len();
    if categories.is_empty() && coded > 0 {
        notes.push(format!("{coded} categorical features have no list of categories: callers send their codes"));
    }
    Ok(Features { names: description.feature_names, categories, ..Features::default() })
}

fn of_xgboost(format: Format, bytes: &[u8]) -> Result<Features, String> {
    let description = xgboost::describe(format, bytes).map_err(|error| error.to_string())?;
    Ok(Features {
        names: description.feature_names,
        categories: description.categories.iter().map(|list| list.as_deref().map(texts)).collect(),
        classes: Vec::new(),
        version: Some(description.version).filter(|version| !version.is_empty()),
    })
}

fn of_catboost(bytes: &[u8]) -> Result<Features, String> {
    let description = catboost::describe(bytes).map_err(|error| error.to_string())?;
    Ok(Features {
        names: description.feature_names,
        categories: description.categories,
        classes: texts(&description.classes),
        version: Some(description.version).filter(|version| !version.is_empty()),
    })
}

fn of_forest(bytes: &[u8]) -> Result<Features, String> {
    let description = forest_json::describe(bytes).map_err(|error| error.to_string())?;
    Ok(Features {
        names: description.feature_names,
        categories: description.categories.iter().map(|list| list.as_deref().map(texts)).collect(),
        classes: texts(&description.classes),
        version: Some(description.library).filter(|library| !library.is_empty()),
    })
}

/// Categories as callers write them.
fn texts(categories: &[Category]) -> Vec<String> {
    let text = |category: &Category| match category {
        Category::Bool(value) => value.to_string(),
        Category::Int(value) => value.to_string(),
        Category::Float(value) => value.to_string(),
        Category::Text(value) => value.clone(),
    };
    categories.iter().map(text).collect()
}

fn inputs(args: &PublishArgs, engine: &dyn Engine, features: &Features) -> Result<Vec<Input>, PublishError> {
    let count = engine.inputs();
    let given = &args.name_features;
    if !given.is_empty() && given.len() != count {
        let came = given.len();
        return Err(PublishError::Option(format!("--name-features names {came} features, the model has {count}")));
    }
    let name = |at: usize| {
        let named = given.get(at).or_else(|| features.names.get(at));
        named.cloned().unwrap_or_else(|| format!("f{at}"))
    };
    let input = |at: usize| match features.categories.get(at).cloned().flatten() {
        Some(categories) => Input::categorical(name(at), categories),
        None if engine.takes_text(at) => Input { dtype: Dtype::Bytes, ..Input::numeric(name(at)) },
        None => Input::numeric(name(at)),
    };
    Ok((0..count).map(input).collect())
}

/// `classes`: those that the file names.
fn outputs(args: &PublishArgs, engine: &dyn Engine, classes: &[String]) -> Result<Vec<Output>, PublishError> {
    let dtype = match engine.margin_kind() {
        MarginKind::F64 => Dtype::Fp64,
        MarginKind::F32 => Dtype::Fp32,
    };
    let width = engine.output_width();
    let named = |expected: usize| match args.classes.len() {
        0 if classes.len() == expected => Ok(classes.to_vec()),
        came if came == expected || came == 0 => Ok(args.classes.clone()),
        came => Err(PublishError::Option(format!("--classes names {came} classes, the model has {expected}"))),
    };
    let (name, classes) = match engine.output_kind() {
        OutputKind::Binary if width == 1 => ("probability", named(2)?.into_iter().skip(1).collect()),
        OutputKind::Binary => ("probability", Vec::new()),
        OutputKind::Multiclass(count) if count == width => ("probabilities", named(count)?),
        OutputKind::Multiclass(_) => ("probabilities", Vec::new()),
        OutputKind::Class(_) => ("class", named(0)?),
        OutputKind::Regression => ("prediction", named(0)?),
        OutputKind::Ranking | OutputKind::Raw => ("score", named(0)?),
    };
    let value = Output { name: name.to_owned(), role: Role::Value, dtype, width, classes };
    let width = engine.margin_width();
    let margin = Output { name: "margin".to_owned(), role: Role::Margin, dtype, width, classes: Vec::new() };
    Ok(vec![value, margin])
}
