//! `headgate publish` of an ONNX file: its graph says what goes in and comes out; what it gives, backends prove.

use headgate_contract::Digest;
use headgate_contract::manifest::signature::Role;
use headgate_contract::manifest::{Dtype, EngineSpec, Input, Output, Signature};
use headgate_engine::onnx::{Description, Element, Kind, Port, describe};
use headgate_registry::NewVersion;
use tempfile::TempDir;

use super::{Parts, copy, golden_outputs, new_version};
use crate::args::PublishArgs;
use crate::error::PublishError;

/// How far results may be from the golden ones, where the publisher says nothing: graphs compute in 32 bits, and runs of
/// other sizes sum in other orders.
const TOLERANCE: f64 = 1e-5;
/// The artifact's name in a version.
const FILE: &str = "model.onnx";

/// The version to be, a copy of its file, and what the user should know. Blocks.
pub(super) fn read(args: &PublishArgs, bytes: &[u8]) -> Result<(NewVersion, TempDir, Vec<String>), PublishError> {
    let no_model = |why: String| PublishError::Model { path: args.file.display().to_string(), why };
    let graph = describe(bytes).map_err(|error| no_model(error.to_string()))?;
    let signature = Signature { inputs: inputs(args, &graph)?, outputs: outputs(args, &graph)? };
    signature.check().map_err(no_model)?;
    let mut notes = Vec::new();
    let mut digests = vec![Digest::of(bytes)];
    let golden = match &args.golden {
        None => {
            notes.push("no golden rows: nothing proves that backends score as the training library does".to_owned());
            None
        }
        Some(_) if signature.outputs.first().is_some_and(|output| output.dtype == Dtype::Bytes) => {
            return Err(no_model("its outputs are texts, and golden rows prove numbers (--no-proof)".to_owned()));
        }
        Some(file) => {
            let (golden, digest) = golden_outputs(file, args.tolerance, TOLERANCE, &signature, &mut notes)?;
            digests.push(digest);
            notes.push("backends prove it, through ONNX Runtime, which is not here".to_owned());
            Some(golden)
        }
    };
    let (copies, file) = copy(bytes, FILE)?;
    let version = Some(graph.producer).filter(|producer| !producer.is_empty());
    let engine = EngineSpec { name: "onnx".to_owned(), version, requires: Vec::new() };
    let files = vec![(FILE.to_owned(), file)];
    let new = new_version(args, Parts { engine, signature, golden, digests, files })?;
    Ok((new, copies, notes))
}

/// A feature for each value of a row, in the order of the graph's inputs.
fn inputs(args: &PublishArgs, graph: &Description) -> Result<Vec<Input>, PublishError> {
    let no_model = |why: String| PublishError::Model { path: args.file.display().to_string(), why };
    let given = &args.name_features;
    let known: usize = graph.inputs.iter().filter_map(Port::width).fold(0, usize::saturating_add);
    let open = graph.inputs.iter().filter(|port| port.width().is_none()).count();
    let mut inputs: Vec<Input> = Vec::new();
    for port in &graph.inputs {
        let (name, kind) = (&port.name, &port.kind);
        let dtype = match kind {
            Kind::Tensor { element, .. } => dtype(*element),
            _ => None,
        };
        let dtype = dtype.ok_or_else(|| {
            no_model(format!(
                "input '{name}' is {kind}: tensors of float, double, int64, int32, bool or string are taken"
            ))
        })?;
        let width = match port.width() {
            Some(width) => width,
            None if open == 1 && given.len() > known => given.len() - known,
            None => {
                return Err(PublishError::Option(format!(
                    "input '{name}' does not say how wide it is: --name-features with a name for each column expected"
                )));
            }
        };
        let single = width == 1 && graph.inputs.len() > 1;
        for at in 0..width {
            let feature = match given.get(inputs.len()) {
                Some(other) if single && other != name => {
                    return Err(PublishError::Option(format!(
                        "--name-features says '{other}' where the input is '{name}'"
                    )));
                }
                Some(given) => given.clone(),
                None if width == 1 => name.clone(),
                None => format!("{name}[{at}]"),
            };
            // Of these ONNX has no missing value.
            let required = matches!(dtype, Dtype::Int64 | Dtype::Int32 | Dtype::Bool);
            inputs.push(Input { dtype, required, ..Input::numeric(feature) });
        }
    }
    match given.len() {
        came if came == inputs.len() || came == 0 => Ok(inputs),
        came => {
            Err(PublishError::Option(format!("--name-features names {came} features, the model has {}", inputs.len())))
        }
    }
}

/// The graph's outputs, those of numbers before labels: golden rows prove the first.
fn outputs(args: &PublishArgs, graph: &Description) -> Result<Vec<Output>, PublishError> {
    let mut outputs = graph.outputs.iter().map(|port| output(args, graph, port)).collect::<Result<Vec<_>, _>>()?;
    outputs.sort_by_key(|output| match output.dtype {
        Dtype::Fp32 | Dtype::Fp64 => 0,
        Dtype::Bytes => 2,
        _ => 1,
    });
    if !args.classes.is_empty() && !outputs.iter().any(|output| output.classes == args.classes) {
        let came = args.classes.len();
        return Err(PublishError::Option(format!("--classes names {came} classes, no output has as many values")));
    }
    Ok(outputs)
}

fn output(args: &PublishArgs, graph: &Description, port: &Port) -> Result<Output, PublishError> {
    let (name, kind) = (&port.name, &port.kind);
    let no_model = |why: String| PublishError::Model { path: args.file.display().to_string(), why };
    let not_served = || no_model(format!("output '{name}' is {kind}, which is not served"));
    let given = &args.classes;
    let (dtype, width, classes) = match kind {
        Kind::Tensor { element, .. } => {
            let dtype = dtype(*element).ok_or_else(not_served)?;
            let number = matches!(element, Element::Float | Element::Double);
            let width = port.width().or_else(|| Some(given.len()).filter(|len| number && *len > 0));
            let width = width.ok_or_else(|| {
                PublishError::Option(format!("output '{name}' does not say how wide it is: --classes expected"))
            })?;
            let lists = [given, &graph.classes];
            let classes = lists.into_iter().find(|list| number && width > 1 && list.len() == width);
            (dtype, width, classes.cloned().unwrap_or_default())
        }
        Kind::Maps { value, classes, .. } if !classes.is_empty() => {
            (dtype(*value).ok_or_else(not_served)?, classes.len(), classes.clone())
        }
        Kind::Maps { .. } => {
            return Err(no_model(format!(
                "output '{name}' is {kind} of classes that the file does not list: export it with zipmap=False"
            )));
        }
        Kind::Other(_) => return Err(not_served()),
    };
    Ok(Output { name: name.clone(), role: Role::Value, dtype, width, classes })
}

/// What callers send or get for a type; none where it is not served.
fn dtype(element: Element) -> Option<Dtype> {
    match element {
        Element::Float => Some(Dtype::Fp32),
        Element::Double => Some(Dtype::Fp64),
        Element::Int64 => Some(Dtype::Int64),
        Element::Int32 => Some(Dtype::Int32),
        Element::Bool => Some(Dtype::Bool),
        Element::Text => Some(Dtype::Bytes),
        Element::Other(_) => None,
    }
}
