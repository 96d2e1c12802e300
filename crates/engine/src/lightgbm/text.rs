//! The file's outer form: a header of `key=value` lines, blocks of trees, and what follows them.

use crate::LoadError;

/// A tree's `key=value` lines.
#[derive(Debug, Default)]
pub(super) struct Block<'a> {
    fields: Vec<(&'a str, &'a str)>,
}

impl<'a> Block<'a> {
    pub(super) fn get(&self, key: &str) -> Option<&'a str> {
        self.fields.iter().find(|f| f.0 == key).map(|f| f.1)
    }
}

/// The file in its parts.
#[derive(Debug)]
pub(super) struct Text<'a> {
    pub(super) header: Block<'a>,
    pub(super) trees: Vec<Block<'a>>,
    /// All lines after the trees.
    pub(super) tail: &'a str,
}

/// Lines with their line ends off, and the offset where the next one begins.
struct Lines<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lines<'a> {
    fn peek(&self) -> Option<(&'a str, usize)> {
        let rest = self.text.get(self.at..).filter(|r| !r.is_empty())?;
        let (line, next) = match rest.find('\n') {
            Some(end) => (&rest[..end], self.at + end + 1),
            None => (rest, self.text.len()),
        };
        Some((line.strip_suffix('\r').unwrap_or(line), next))
    }
}

impl<'a> Text<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, LoadError> {
        let text = std::str::from_utf8(bytes)
            .map_err(|e| LoadError::at(format!("byte {}", e.valid_up_to()), "not UTF-8 text"))?;
        let mut lines = Lines { text: text.trim_start(), at: 0 };
        match lines.peek() {
            Some(("tree", next)) => lines.at = next,
            _ => return Err(LoadError::at("line 1", "expected `tree`, the first line of LightGBM's text format")),
        }
        let mut header = Block::default();
        let mut trees: Vec<Block<'a>> = Vec::new();
        let mut in_tree = false;
        let mut ended = false;
        while let Some((line, next)) = lines.peek() {
            if let Some(number) = line.strip_prefix("Tree=") {
                let place = format!("tree {}", trees.len());
                if number.trim() != trees.len().to_string() {
                    return Err(LoadError::at(place, format!("`Tree={number}` is out of order")));
                }
                trees.push(Block::default());
                in_tree = true;
            } else if line == "end of trees" {
                ended = true;
                lines.at = next;
                break;
            } else if line.is_empty() {
                in_tree = false;
            } else if trees.is_empty() {
                header.fields.push(line.split_once('=').unwrap_or((line, "")));
            } else if in_tree {
                let Some(field) = line.split_once('=') else {
                    let place = format!("tree {}", trees.len() - 1);
                    return Err(LoadError::at(place, "a line without `=`"));
                };
                if let Some(tree) = trees.last_mut() {
                    tree.fields.push(field);
                }
            } else {
                // Version 2 has no `end of trees`: the importances follow an empty line.
                break;
            }
            lines.at = next;
        }
        let tail = lines.text.get(lines.at..).unwrap_or("");
        let text = Self { header, trees, tail };
        text.is_whole(ended)?;
        Ok(text)
    }

    /// A file that was cut short lacks its end, or trees that the header counts.
    fn is_whole(&self, ended: bool) -> Result<(), LoadError> {
        let sizes = self.header.get("tree_sizes").map(|s| s.split_ascii_whitespace().count());
        if let Some(sizes) = sizes
            && sizes != self.trees.len()
        {
            let what = format!("{} trees, but the header lists {sizes}: the file was cut short", self.trees.len());
            return Err(LoadError::at("end of file", what));
        }
        let old = self.header.get("version") == Some("v2") && sizes.is_some();
        if !ended && !old {
            return Err(LoadError::at("end of file", "no `end of trees`: the file was cut short"));
        }
        Ok(())
    }
}

/// What the header must say.
#[derive(Debug)]
pub(super) struct Header<'a> {
    pub(super) version: &'a str,
    pub(super) classes: usize,
    pub(super) trees_per_iteration: usize,
    pub(super) features: usize,
    pub(super) iterations: usize,
    pub(super) names: Vec<&'a str>,
    /// Empty in files that carry none.
    pub(super) infos: Vec<&'a str>,
    pub(super) objective: Option<&'a str>,
    pub(super) average_output: bool,
}

impl<'a> Header<'a> {
    pub(super) fn read(text: &Text<'a>) -> Result<Self, LoadError> {
        let block = &text.header;
        let number = |key: &str| -> Result<Option<i64>, LoadError> {
            let Some(value) = block.get(key) else { return Ok(None) };
            let bad = |_| LoadError::at("header", format!("`{key}={}` is not a number", shown(value)));
            value.trim().parse().map(Some).map_err(bad)
        };
        let needed = |key: &str, least: i64| -> Result<usize, LoadError> {
            let value = number(key)?.ok_or_else(|| LoadError::at("header", format!("no `{key}`")))?;
            let count = usize::try_from(value).ok().filter(|_| value >= least);
            count.ok_or_else(|| LoadError::at("header", format!("`{key}={value}`, expected {least} or more")))
        };
        let classes = needed("num_class", 1)?;
        let trees_per_iteration = match number("num_tree_per_iteration")? {
            None => classes,
            Some(_) => needed("num_tree_per_iteration", 1)?,
        };
        let features = needed("max_feature_idx", 0)?.saturating_add(1);
        let listed = |key: &str| -> Vec<&'a str> {
            block.get(key).map(|v| v.split(' ').filter(|n| !n.is_empty()).collect()).unwrap_or_default()
        };
        let (names, infos) = (listed("feature_names"), listed("feature_infos"));
        for (key, list, needed) in [("feature_names", &names, true), ("feature_infos", &infos, false)] {
            if list.len() != features && (needed || !list.is_empty()) {
                let what = format!("`{key}` lists {}, but `max_feature_idx` says {features}", list.len());
                return Err(LoadError::at("header", what));
            }
        }
        let trees = text.trees.len();
        if !trees.is_multiple_of(trees_per_iteration) {
            let what = format!("{trees} trees are no multiple of `num_tree_per_iteration={trees_per_iteration}`");
            return Err(LoadError::at("header", what));
        }
        let average_output = block.get("average_output").is_some();
        if average_output && trees == 0 {
            return Err(LoadError::at("header", "`average_output` of no trees"));
        }
        Ok(Self {
            version: block.get("version").unwrap_or(""),
            classes,
            trees_per_iteration,
            features,
            iterations: trees / trees_per_iteration,
            names,
            infos,
            objective: block.get("objective"),
            average_output,
        })
    }
}

/// The beginning of a text that came, for a message.
pub(crate) fn shown(text: &str) -> String {
    if text.chars().count() > 60 { text.chars().take(60).chain("...".chars()).collect() } else { text.to_owned() }
}
