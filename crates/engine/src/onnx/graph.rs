//! Graphs: their nodes, tensors, inputs and outputs.

use std::collections::{HashMap, HashSet};

use super::{BUILT_IN, Description, Element, Kind, NESTED_MAX, OnnxError, PORTS_MAX, Port};
use headgate_contract::wire::{Field, Message};

/// What was found on the way through a file.
#[derive(Debug, Default)]
pub(super) struct Found {
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    /// Tensors of the outer graph: inputs that have a value.
    initializers: HashSet<String>,
    /// Sets of operators that the file defines itself.
    own_domains: HashSet<String>,
    /// The first node of each foreign set, in words.
    foreign: HashMap<String, String>,
    /// The classes of the first node that lists some; none of them once another lists others.
    classes: Option<Vec<String>>,
    /// Classes by the output of the node that makes maps of them.
    zipped: HashMap<String, Vec<String>>,
}

/// A node while it is read.
#[derive(Debug, Default)]
struct Node {
    name: String,
    operator: String,
    domain: String,
    output: String,
    classes: Vec<String>,
}

impl Found {
    /// A graph; `depth` graphs are around it.
    pub(super) fn graph(&mut self, mut graph: Message<'_>, depth: usize) -> Result<(), OnnxError> {
        while let Some(field) = graph.next()? {
            match field.number {
                1 => self.node(field.message()?, depth)?,
                5 => {
                    let name = tensor(field.message()?)?;
                    if depth == 0 {
                        self.initializers.insert(name);
                    }
                }
                15 => {
                    let name = sparse_tensor(field.message()?)?;
                    if depth == 0 {
                        self.initializers.insert(name);
                    }
                }
                11 if depth == 0 => push(&mut self.inputs, &field)?,
                12 if depth == 0 => push(&mut self.outputs, &field)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// A function that the file defines.
    pub(super) fn function(&mut self, mut function: Message<'_>) -> Result<(), OnnxError> {
        while let Some(field) = function.next()? {
            match field.number {
                7 => self.node(field.message()?, 0)?,
                10 => _ = self.own_domains.insert(field.text()?),
                11 => self.attribute(field.message()?, 0, &mut Node::default())?,
                _ => {}
            }
        }
        Ok(())
    }

    fn node(&mut self, mut message: Message<'_>, depth: usize) -> Result<(), OnnxError> {
        let mut node = Node::default();
        let mut first = true;
        while let Some(field) = message.next()? {
            match field.number {
                2 if first => {
                    node.output = field.text()?;
                    first = false;
                }
                3 => node.name = field.text()?,
                4 => node.operator = field.text()?,
                5 => self.attribute(field.message()?, depth, &mut node)?,
                7 => node.domain = field.text()?,
                _ => {}
            }
        }
        if !BUILT_IN.contains(&node.domain.as_str()) && self.foreign.len() < PORTS_MAX {
            let words = format!("node '{}' needs operator '{}' of '{}'", node.name, node.operator, node.domain);
            self.foreign.entry(node.domain).or_insert(words);
        }
        if !node.classes.is_empty() {
            if node.operator == "ZipMap" {
                self.zipped.insert(node.output, node.classes.clone());
            }
            match &mut self.classes {
                Some(known) if *known != node.classes => known.clear(),
                Some(_) => {}
                none => *none = Some(node.classes),
            }
        }
        Ok(())
    }

    fn attribute(&mut self, mut message: Message<'_>, depth: usize, node: &mut Node) -> Result<(), OnnxError> {
        let (mut name, mut numbers, mut texts) = (String::new(), Vec::new(), Vec::new());
        while let Some(field) = message.next()? {
            match field.number {
                1 => name = field.text()?,
                // Only lists of classes are kept: `name` comes first in what every exporter writes.
                8 if name.starts_with("classlabels") => field.numbers(&mut numbers)?,
                9 if name.starts_with("classlabels") => texts.push(field.text()?),
                5 | 10 => _ = tensor(field.message()?)?,
                22 | 23 => _ = sparse_tensor(field.message()?)?,
                6 | 11 if depth >= NESTED_MAX => {
                    return Err(OnnxError::at(field.offset, format!("more than {NESTED_MAX} graphs within graphs")));
                }
                6 | 11 => self.graph(field.message()?, depth + 1)?,
                _ => {}
            }
        }
        if texts.len() + numbers.len() > PORTS_MAX {
            return Err(OnnxError::Refused(format!("node '{}' lists more than {PORTS_MAX} classes", node.name)));
        }
        node.classes.extend(texts);
        node.classes.extend(numbers.iter().map(i64::to_string));
        Ok(())
    }

    /// What the file says, where nothing speaks against it.
    pub(super) fn finish(mut self) -> Result<Description, OnnxError> {
        let own = &self.own_domains;
        // Of several, the same one is named each time.
        if let Some((_, words)) = self.foreign.iter().filter(|(domain, _)| !own.contains(*domain)).min() {
            let what =
                format!("{words}, which ONNX Runtime does not have: libraries of custom operators are not loaded");
            return Err(OnnxError::Refused(what));
        }
        self.inputs.retain(|port| !self.initializers.contains(&port.name));
        for port in &mut self.outputs {
            if let (Kind::Maps { classes, .. }, Some(known)) = (&mut port.kind, self.zipped.remove(&port.name)) {
                *classes = known;
            }
        }
        if self.inputs.is_empty() || self.outputs.is_empty() {
            return Err(OnnxError::Refused("its graph has no inputs or no outputs".to_owned()));
        }
        let classes = self.classes.unwrap_or_default();
        Ok(Description { producer: String::new(), inputs: self.inputs, outputs: self.outputs, classes })
    }
}

fn push(ports: &mut Vec<Port>, field: &Field<'_>) -> Result<(), OnnxError> {
    if ports.len() >= PORTS_MAX {
        return Err(OnnxError::at(field.offset, format!("more than {PORTS_MAX} inputs or outputs")));
    }
    let (mut name, mut kind) = (String::new(), Kind::Other("a value without a type"));
    let mut value = field.message()?;
    while let Some(field) = value.next()? {
        match field.number {
            1 => name = field.text()?,
            2 => kind = kind_of(field.message()?)?,
            _ => {}
        }
    }
    ports.push(Port { name, kind });
    Ok(())
}

/// Reads a type: three levels of it are told apart, the rest is skipped.
fn kind_of(mut message: Message<'_>) -> Result<Kind, OnnxError> {
    let mut kind = Kind::Other("a value without a type");
    while let Some(field) = message.next()? {
        kind = match field.number {
            1 => tensor_type(field.message()?)?,
            4 => maps_of(field.message()?)?.unwrap_or(Kind::Other("a sequence")),
            5 => Kind::Other("a map"),
            7 => Kind::Other("an opaque value"),
            8 => Kind::Other("a sparse tensor"),
            9 => Kind::Other("an optional value"),
            _ => continue,
        };
    }
    Ok(kind)
}

fn tensor_type(mut message: Message<'_>) -> Result<Kind, OnnxError> {
    let (mut element, mut dims) = (Element::Other(0), None);
    while let Some(field) = message.next()? {
        match field.number {
            1 => element = Element::from_number(field.number()?),
            2 => dims = Some(shape(field.message()?)?),
            _ => {}
        }
    }
    Ok(Kind::Tensor { element, dims })
}

fn shape(mut message: Message<'_>) -> Result<Vec<Option<u64>>, OnnxError> {
    let mut dims = Vec::new();
    while let Some(field) = message.next()? {
        if field.number != 1 {
            continue;
        }
        let (mut dim, mut size) = (field.message()?, None);
        while let Some(field) = dim.next()? {
            if field.number == 1 {
                size = u64::try_from(field.number()?).ok();
            }
        }
        // Some exporters write 0 where they mean any.
        dims.push(size.filter(|size| *size > 0));
    }
    Ok(dims)
}

/// Of a sequence's type: maps, where its elements are such.
fn maps_of(sequence: Message<'_>) -> Result<Option<Kind>, OnnxError> {
    let Some(mut element) = inner(sequence, 1)? else { return Ok(None) };
    let mut maps = None;
    while let Some(field) = element.next()? {
        if field.number != 5 {
            continue;
        }
        let (mut key, mut value) = (Element::Other(0), Element::Other(0));
        let mut map = field.message()?;
        while let Some(field) = map.next()? {
            match field.number {
                1 => key = Element::from_number(field.number()?),
                2 => {
                    if let Kind::Tensor { element, .. } = value_kind(field.message()?)? {
                        value = element;
                    }
                }
                _ => {}
            }
        }
        maps = Some(Kind::Maps { key, value, classes: Vec::new() });
    }
    Ok(maps)
}

/// The type of a map's values: only tensors are told apart.
fn value_kind(message: Message<'_>) -> Result<Kind, OnnxError> {
    inner(message, 1)?.map_or(Ok(Kind::Other("another value")), tensor_type)
}

/// The message in the last field of that number.
fn inner<'a>(mut message: Message<'a>, number: u32) -> Result<Option<Message<'a>>, OnnxError> {
    let mut found = None;
    while let Some(field) = message.next()? {
        if field.number == number {
            found = Some(field.message()?);
        }
    }
    Ok(found)
}

/// Checks that a tensor's values are in the file; its name.
fn tensor(mut message: Message<'_>) -> Result<String, OnnxError> {
    let (mut name, mut elsewhere, mut place) = (String::new(), false, String::new());
    while let Some(field) = message.next()? {
        match field.number {
            8 => name = field.text()?,
            13 => {
                elsewhere = true;
                place.push_str(&location(field.message()?)?);
            }
            14 => elsewhere |= field.number()? != 0,
            _ => {}
        }
    }
    if elsewhere {
        let (name, place): (String, String) = (name.chars().take(80).collect(), place.chars().take(80).collect());
        return Err(OnnxError::Refused(format!(
            "tensor '{name}' lies in another file, '{place}': only what the model's one file holds is read (save it without \
             external data)"
        )));
    }
    Ok(name)
}

/// The place that an entry of external data names.
fn location(mut entry: Message<'_>) -> Result<String, OnnxError> {
    let (mut key, mut value) = (String::new(), String::new());
    while let Some(field) = entry.next()? {
        match field.number {
            1 => key = field.text()?,
            2 => value = field.text()?,
            _ => {}
        }
    }
    Ok(if key == "location" { value } else { String::new() })
}

fn sparse_tensor(mut message: Message<'_>) -> Result<String, OnnxError> {
    let mut name = String::new();
    while let Some(field) = message.next()? {
        match field.number {
            1 => name = tensor(field.message()?)?,
            2 => _ = tensor(field.message()?)?,
            _ => {}
        }
    }
    Ok(name)
}
