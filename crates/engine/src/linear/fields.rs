//! The fields of a hashed linear model, made ready: from a row to buckets and values.

use std::collections::HashMap;

use super::header::{Field, Hash, Header, Norm, Space, Split};
use super::murmur::Murmur3;
use super::tokens;
use crate::lightgbm::shown;
use crate::{Batch, Limits, LoadError};

/// The most inputs that a field crosses.
const CROSS_MAX: usize = 8;

/// What a row adds up: buckets, and what their weights are multiplied by.
pub(crate) type Hits = Vec<(u32, f64)>;

/// A model's inputs and fields.
#[derive(Debug)]
pub(crate) struct Fields {
    /// The inputs, in the order in which the fields first name them.
    pub(crate) names: Vec<String>,
    /// For each input, whether it is one of texts.
    pub(crate) texts: Vec<bool>,
    pub(crate) list: Vec<Ready>,
    /// Buffers' bounds and costs: how many of the fields hold tokens.
    pub(crate) token_fields: usize,
}

/// A field that can be evaluated.
#[derive(Debug)]
pub(crate) enum Ready {
    Number {
        column: usize,
        bucket: u32,
        sign: f64,
    },
    /// The texts of one column, or of several with a text between them.
    Texts {
        columns: Vec<usize>,
        join: Vec<u8>,
        start: Murmur3,
        place: Place,
    },
    Tokens {
        column: usize,
        split: Split,
        lowercase: bool,
        /// Whether a bucket's tokens are added up before they count.
        counted: Option<(bool, Norm)>,
        start: Murmur3,
        place: Place,
    },
}

/// From a hash to a bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    hash: Hash,
    first: u32,
    buckets: u32,
    /// `buckets - 1`, where that takes the remainder.
    mask: Option<u32>,
}

/// Inputs while they are collected.
#[derive(Debug, Default)]
struct Inputs {
    names: Vec<String>,
    texts: Vec<bool>,
    by_name: HashMap<String, usize>,
}

// === impl Fields ===

impl Fields {
    /// Checks the header's fields and makes them ready.
    pub(crate) fn new(header: &Header, limits: &Limits) -> Result<Self, LoadError> {
        LoadError::within("the number of fields", header.fields.len(), limits.max_features)?;
        let mut inputs = Inputs::default();
        let mut list = Vec::with_capacity(header.fields.len());
        for (at, field) in header.fields.iter().enumerate() {
            let ready = ready(field, header, &mut inputs);
            list.push(ready.map_err(|what| LoadError::at(format!("header, field {at}"), what))?);
        }
        LoadError::within("the number of features", inputs.names.len(), limits.max_features)?;
        let token_fields = list.iter().filter(|f| matches!(f, Ready::Tokens { .. })).count();
        Ok(Self { names: inputs.names, texts: inputs.texts, list, token_fields })
    }

    /// Memory held, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let names = self.names.iter().map(|n| size_of::<String>() + n.len()).sum::<usize>();
        let field = |field: &Ready| match field {
            Ready::Texts { columns, join, .. } => size_of_val(columns.as_slice()) + join.len(),
            Ready::Tokens { split: Split::On(separator), .. } => separator.len(),
            Ready::Number { .. } | Ready::Tokens { .. } => 0,
        };
        let fields = self.list.iter().map(field).sum::<usize>();
        names + self.texts.len() + size_of_val(self.list.as_slice()) + fields
    }
}

fn ready(field: &Field, header: &Header, inputs: &mut Inputs) -> Result<Ready, String> {
    let start = |prefix: &str| {
        let mut start = Murmur3::new(header.hash.seed());
        start.write(prefix.as_bytes());
        start
    };
    let place = |space: &Option<Space>| Place::new(*space, header);
    Ok(match field {
        Field::Number { input, index: Some(index), key: None, space: None } => {
            let bucket = u32::try_from(*index).ok().filter(|_| *index < header.buckets);
            let bucket = bucket.ok_or_else(|| format!("index {index} of {} buckets", header.buckets))?;
            Ready::Number { column: inputs.column(input, false)?, bucket, sign: 1.0 }
        }
        Field::Number { index: Some(_), .. } => return Err("an `index` beside a `key` or a `space`".into()),
        Field::Number { input, index: None, key, space } => {
            let (bucket, sign) = place(space)?.of(start(key.as_deref().unwrap_or(input)).finish());
            Ready::Number { column: inputs.column(input, false)?, bucket, sign }
        }
        Field::Category { input, prefix, space } => Ready::Texts {
            columns: vec![inputs.column(input, true)?],
            join: Vec::new(),
            start: start(&prefix.clone().unwrap_or_else(|| format!("{input}="))),
            place: place(space)?,
        },
        Field::Cross { inputs: crossed, prefix, join, space } => {
            if !(2..=CROSS_MAX).contains(&crossed.len()) {
                return Err(format!("a cross of {} inputs, 2 to {CROSS_MAX} expected", crossed.len()));
            }
            let join = join.as_deref().unwrap_or("^");
            Ready::Texts {
                columns: crossed.iter().map(|input| inputs.column(input, true)).collect::<Result<_, _>>()?,
                join: join.as_bytes().to_vec(),
                start: start(&prefix.clone().unwrap_or_else(|| format!("{}=", crossed.join("^")))),
                place: place(space)?,
            }
        }
        Field::Tokens { split: Split::On(separator), .. } if separator.is_empty() => {
            return Err("it is split on an empty text".into());
        }
        Field::Tokens { input, split, lowercase, prefix, binary, norm, space } => Ready::Tokens {
            column: inputs.column(input, true)?,
            split: split.clone(),
            lowercase: *lowercase,
            counted: (*binary || *norm != Norm::None).then_some((*binary, *norm)),
            start: start(prefix),
            place: place(space)?,
        },
    })
}

impl Inputs {
    /// The column of an input, which is one of texts or not.
    fn column(&mut self, name: &str, text: bool) -> Result<usize, String> {
        let column = *self.by_name.entry(name.to_owned()).or_insert_with(|| {
            self.names.push(name.to_owned());
            self.texts.push(text);
            self.names.len() - 1
        });
        match self.texts[column] == text {
            true => Ok(column),
            false => Err(format!("input `{}` is a number in one field and a text in another", shown(name))),
        }
    }
}

// === impl Place ===

impl Place {
    fn new(space: Option<Space>, header: &Header) -> Result<Self, String> {
        let Space { first, buckets } = space.unwrap_or(Space { first: 0, buckets: header.buckets });
        let within = first.checked_add(buckets).is_some_and(|end| buckets > 0 && end <= header.buckets);
        let narrow = (u32::try_from(first), u32::try_from(buckets));
        let (true, (Ok(first), Ok(buckets))) = (within, narrow) else {
            return Err(format!("a space of {buckets} buckets from {first} in {}", header.buckets));
        };
        let mask = buckets.is_power_of_two().then(|| buckets - 1);
        Ok(Self { hash: header.hash, first, buckets, mask })
    }

    /// The bucket, and the sign of what falls there.
    #[inline]
    fn of(&self, hash: u32) -> (u32, f64) {
        let signed = hash.cast_signed();
        let bucket = match (self.hash, self.mask) {
            (Hash::Spark, Some(mask)) => hash & mask,
            // Buckets are at most 2^28, so that they fit.
            (Hash::Spark, None) => signed.rem_euclid(self.buckets.cast_signed()).cast_unsigned(),
            (_, Some(mask)) => signed.unsigned_abs() & mask,
            (_, None) => signed.unsigned_abs() % self.buckets,
        };
        let sign = if self.hash == Hash::Sklearn && signed < 0 { -1.0 } else { 1.0 };
        (self.first + bucket, sign)
    }
}

// === impl Ready ===

impl Ready {
    /// The columns that it reads.
    pub(crate) fn columns(&self) -> &[usize] {
        match self {
            Self::Texts { columns, .. } => columns,
            Self::Number { column, .. } | Self::Tokens { column, .. } => std::slice::from_ref(column),
        }
    }

    /// Adds what a row has in this field; a missing value adds nothing. `text` is a buffer.
    #[inline]
    pub(crate) fn push(&self, batch: &Batch, row: usize, text: &mut String, hits: &mut Hits) {
        match self {
            Self::Number { column, bucket, sign } => {
                let value = batch.column(*column)[row];
                if !value.is_nan() {
                    hits.push((*bucket, sign * value));
                }
            }
            Self::Texts { columns, join, start, place } => {
                let mut hash = *start;
                for (at, column) in columns.iter().enumerate() {
                    let Some(text) = batch.text(row, *column) else { return };
                    if at > 0 {
                        hash.write(join);
                    }
                    hash.write(text.as_bytes());
                }
                hits.push(place.of(hash.finish()));
            }
            Self::Tokens { column, .. } => {
                if let Some(came) = batch.text(row, *column) {
                    self.push_tokens(came, text, hits);
                }
            }
        }
    }

    fn push_tokens(&self, came: &str, text: &mut String, hits: &mut Hits) {
        let Self::Tokens { split, lowercase, counted, start, place, .. } = self else { return };
        let came = match lowercase {
            false => came,
            true => {
                lower(came, text);
                text.as_str()
            }
        };
        let from = hits.len();
        split.tokens(came, |token| {
            let mut hash = *start;
            hash.write(token.as_bytes());
            hits.push(place.of(hash.finish()));
        });
        if let Some((binary, norm)) = counted {
            tokens::count(hits, from, *binary, *norm);
        }
    }
}

/// The text in lower case, as Python has it.
fn lower(came: &str, text: &mut String) {
    if came.is_ascii() {
        text.clear();
        text.push_str(came);
        text.make_ascii_lowercase();
    } else {
        // Only the whole text tells which of its sigmas end a word.
        *text = came.to_lowercase();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_hash_has_a_bucket() {
        let least = i32::MIN.cast_unsigned();
        for (hash, buckets, expected) in [
            (Hash::Sklearn, 10, ((1u32 << 31) % 10, -1.0)),
            (Hash::Sklearn, 16, (0, -1.0)),
            (Hash::SklearnUnsigned, 10, ((1u32 << 31) % 10, 1.0)),
            (Hash::Spark, 10, (2, 1.0)),
            (Hash::Spark, 16, (0, 1.0)),
        ] {
            let mask = (buckets == 16).then_some(15);
            let place = Place { hash, first: 5, buckets, mask };
            assert_eq!(place.of(least), (5 + expected.0, expected.1));
        }
    }
}
