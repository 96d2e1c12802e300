//! How a signature's features become a graph's inputs, and its outputs the signature's.

use headgate_contract::manifest::signature::Role;
use headgate_contract::manifest::{Dtype, Input, Output, Signature};
use headgate_engine::onnx::{Description, Element, Kind, Port};

use crate::servable::same_name;

/// The most rows that a graph may take at once where it takes no other number: rows that lack are made up.
const FIXED_ROWS_MAX: u64 = 4096;

/// What is done for each run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    /// The graph's inputs, in its order; together they take each feature once, in the signature's order.
    pub(super) inputs: Vec<Feed>,
    /// The outputs that the signature lists, in its order.
    pub(super) outputs: Vec<Fetch>,
    /// Rows of a run, where the graph fixes them.
    pub(super) rows: Option<usize>,
    /// Values of a row of all outputs together.
    pub(super) width: usize,
}

/// One input of the graph.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Feed {
    pub(super) name: String,
    pub(super) element: Element,
    /// Its features' names; the first of them is feature `first` of the signature.
    pub(super) features: Vec<String>,
    pub(super) first: usize,
    /// The shape of a row.
    pub(super) dims: Vec<i64>,
}

/// One output of the graph.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fetch {
    pub(super) name: String,
    pub(super) form: Form,
    pub(super) width: usize,
}

/// How an output's values come.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Form {
    /// As a tensor.
    Tensor(Element),
    /// As a map a row, in which each value is found by its class.
    Maps { key: Element, value: Element, classes: Vec<String> },
}

impl Plan {
    /// Fits a signature to a graph. The error, in words, is the publisher's fault.
    pub(super) fn new(graph: &Description, signature: &Signature) -> Result<Self, String> {
        let inputs = feeds(graph, &signature.inputs)?;
        let outputs = signature.outputs.iter().map(|o| fetch(graph, o)).collect::<Result<Vec<_>, _>>()?;
        let width = outputs.iter().map(|o| o.width).sum();
        Ok(Self { inputs, outputs, rows: fixed_rows(graph)?, width })
    }
}

fn feeds(graph: &Description, inputs: &[Input]) -> Result<Vec<Feed>, String> {
    let (mut feeds, mut first) = (Vec::with_capacity(graph.inputs.len()), 0);
    let known: Option<usize> = graph.inputs.iter().filter_map(Port::width).try_fold(0usize, usize::checked_add);
    let open = graph.inputs.iter().filter(|port| port.width().is_none()).count();
    for port in &graph.inputs {
        let (element, dims) = tensor_of(port)?;
        // One input may leave its width to the signature: it takes what the others don't.
        let width = match port.width() {
            Some(width) => width,
            None if open == 1 => inputs.len().saturating_sub(known.unwrap_or(usize::MAX)),
            None => return Err(format!("input '{}' and another do not say how wide they are", port.name)),
        };
        let features = inputs.get(first..).and_then(|rest| rest.get(..width)).filter(|f| !f.is_empty());
        let features = features.ok_or_else(|| {
            format!("the model takes {} features, the signature has {}", first.saturating_add(width), inputs.len())
        })?;
        check_features(graph, port, element, features, first)?;
        let features = features.iter().map(|f| f.name.clone()).collect();
        let dims = dims.unwrap_or_else(|| vec![i64::try_from(width).unwrap_or(i64::MAX)]);
        feeds.push(Feed { name: port.name.clone(), element, features, first, dims });
        first += width;
    }
    match inputs.get(first) {
        None => Ok(feeds),
        Some(beyond) => Err(format!(
            "the model takes {first} features, the signature has {}, the first beyond is '{}'",
            inputs.len(),
            beyond.name
        )),
    }
}

/// An input's type and the shape of a row, where the file says it.
fn tensor_of(port: &Port) -> Result<(Element, Option<Vec<i64>>), String> {
    let refuse = |what: &dyn std::fmt::Display| {
        Err(format!(
            "input '{}' is {what}: tensors of float, double, int64, int32, bool or string are taken",
            port.name
        ))
    };
    let Kind::Tensor { element, dims } = &port.kind else { return refuse(&port.kind) };
    if let Element::Other(_) = element {
        return refuse(&port.kind);
    }
    let Some(dims) = dims else { return Ok((*element, None)) };
    let Some((_, row)) = dims.split_first() else {
        return Err(format!("input '{}' is a single value: a first dimension for the rows expected", port.name));
    };
    let sizes: Option<Vec<i64>> = row.iter().map(|dim| i64::try_from((*dim)?).ok()).collect();
    match sizes {
        None if row.len() > 1 => Err(format!("input '{}' is {}: which shape a row has is open", port.name, port.kind)),
        sizes => Ok((*element, sizes)),
    }
}

fn check_features(
    graph: &Description,
    port: &Port,
    element: Element,
    features: &[Input],
    first: usize,
) -> Result<(), String> {
    if let [feature] = features
        && graph.inputs.len() > 1
        && !same_name(&port.name, &feature.name, first)
    {
        return Err(format!("feature {first} is '{}' in the model and '{}' in the signature", port.name, feature.name));
    }
    for feature in features {
        let text = feature.dtype == Dtype::Bytes && feature.categories.is_none();
        if text != (element == Element::Text) {
            let said = if text { "texts" } else { "numbers" };
            return Err(format!("feature '{}' is of {element} in the model, of {said} in the signature", feature.name));
        }
    }
    Ok(())
}

fn fetch(graph: &Description, output: &Output) -> Result<Fetch, String> {
    let name = &output.name;
    if output.role == Role::Margin {
        return Err(format!("output '{name}' is a margin in the signature: a graph's outputs are values"));
    }
    let Some(port) = graph.outputs.iter().find(|port| port.name == *name) else {
        let has: Vec<_> = graph.outputs.iter().take(8).map(|port| port.name.as_str()).collect();
        return Err(format!("the model has no output '{name}', it has '{}'", has.join("', '")));
    };
    let form = match &port.kind {
        Kind::Tensor { element, .. } if !matches!(element, Element::Other(_)) => Form::Tensor(*element),
        Kind::Maps {
            key: key @ (Element::Int64 | Element::Text),
            value: value @ (Element::Float | Element::Double),
            classes,
        } => {
            if output.classes.len() != output.width || (!classes.is_empty() && *classes != output.classes) {
                return Err(format!(
                    "output '{name}' maps classes, which the signature does not list as the model does"
                ));
            }
            Form::Maps { key: *key, value: *value, classes: output.classes.clone() }
        }
        kind => return Err(format!("output '{name}' is {kind}, which is not served")),
    };
    if port.width().is_some_and(|width| width != output.width) {
        let width = port.width().unwrap_or_default();
        return Err(format!(
            "output '{name}' has {width} values a row in the model, {} in the signature",
            output.width
        ));
    }
    let text = matches!(form, Form::Tensor(Element::Text));
    if text != (output.dtype == Dtype::Bytes) {
        return Err(format!("output '{name}' is {}, the signature says {}", port.kind, output.dtype.as_str()));
    }
    Ok(Fetch { name: name.clone(), form, width: output.width })
}

fn fixed_rows(graph: &Description) -> Result<Option<usize>, String> {
    let mut fixed: Option<(u64, &str)> = None;
    for port in &graph.inputs {
        match (port.rows(), fixed) {
            (Some(rows), None) => fixed = Some((rows, &port.name)),
            (Some(rows), Some((known, first))) if rows != known => {
                return Err(format!("input '{first}' takes {known} rows, input '{}' {rows}", port.name));
            }
            _ => {}
        }
    }
    match fixed {
        Some((rows, name)) if rows > FIXED_ROWS_MAX => {
            Err(format!("input '{name}' takes {rows} rows at once, at most {FIXED_ROWS_MAX} are made up"))
        }
        fixed => Ok(fixed.and_then(|(rows, _)| usize::try_from(rows).ok())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn port(name: &str, element: Element, dims: &[Option<u64>]) -> Port {
        Port { name: name.into(), kind: Kind::Tensor { element, dims: Some(dims.to_vec()) } }
    }

    fn graph(inputs: Vec<Port>) -> Description {
        let outputs = vec![port("y", Element::Float, &[None, Some(2)])];
        Description { inputs, outputs, ..Description::default() }
    }

    fn plan(inputs: Vec<Port>, names: &[&str]) -> Result<Plan, String> {
        let text = |name: &str| name.starts_with("text");
        let input = |name: &&str| match text(name) {
            true => Input { dtype: Dtype::Bytes, ..Input::numeric(*name) },
            false => Input::numeric(*name),
        };
        let output = Output { name: "y".into(), role: Role::Value, dtype: Dtype::Fp32, width: 2, classes: vec![] };
        let signature = Signature { inputs: names.iter().map(input).collect(), outputs: vec![output] };
        Plan::new(&graph(inputs), &signature)
    }

    #[test]
    fn features_are_dealt_out_in_the_order_of_the_inputs() {
        let inputs = vec![
            port("a", Element::Float, &[None, Some(1)]),
            port("m", Element::Double, &[None, None]),
            port("text", Element::Text, &[None]),
            port("image", Element::Int64, &[None, Some(1), Some(2)]),
        ];
        let dealt = plan(inputs, &["a", "m0", "m1", "text", "p", "q"]).unwrap();
        let shape = |feed: &Feed| (feed.first, feed.features.len(), feed.dims.clone());
        let shapes: Vec<_> = dealt.inputs.iter().map(shape).collect();
        // One does not say how wide it is, and takes what the others leave.
        assert_eq!(shapes, [(0, 1, vec![1]), (1, 2, vec![2]), (3, 1, vec![]), (4, 2, vec![1, 2])]);
    }

    #[test]
    fn widths_that_stay_open_are_named() {
        let open = |name| port(name, Element::Float, &[None, None]);
        let error = plan(vec![port("a", Element::Float, &[None, Some(1)]), open("m")], &["a"]).unwrap_err();
        assert!(error.contains("the model takes 1 features"), "{error}");
        let error = plan(vec![open("m"), open("n")], &["a", "b"]).unwrap_err();
        assert!(error.contains("do not say how wide"), "{error}");
    }

    #[test]
    fn shapes_and_rows_that_can_not_be_met_are_named() {
        let float = |name, dims: &[Option<u64>]| port(name, Element::Float, dims);
        for (inputs, words) in [
            (vec![float("x", &[])], "'x' is a single value"),
            (vec![float("x", &[None, None, Some(3)])], "which shape a row has is open"),
            (vec![float("a", &[Some(2), Some(1)]), float("b", &[Some(3), Some(1)])], "'a' takes 2 rows, input 'b' 3"),
            (vec![float("a", &[Some(1 << 20), Some(2)])], "1048576 rows at once"),
        ] {
            let error = plan(inputs, &["a", "b"]).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        let image = plan(vec![float("x", &[Some(4), Some(2), Some(1)])], &["a", "b"]).unwrap();
        assert_eq!((image.rows, image.inputs[0].dims.clone()), (Some(4), vec![2, 1]));
    }
}
