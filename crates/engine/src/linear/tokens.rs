//! Texts into tokens, and a row's tokens into what each bucket counts.

use super::fields::Hits;
use super::header::{Norm, Split};

impl Split {
    /// Gives each token to `take`, in order.
    pub(crate) fn tokens(&self, text: &str, take: impl FnMut(&str)) {
        match self {
            Self::On(separator) => text.split(separator.as_str()).filter(|t| !t.is_empty()).for_each(take),
            Self::Whitespace => text.split(is_space).filter(|t| !t.is_empty()).for_each(take),
            Self::Words => {
                text.split(|c: char| !(c == '_' || c.is_alphanumeric())).filter(|t| two_or_more(t)).for_each(take);
            }
        }
    }
}

/// Python takes four separators of files and records for whitespace, which Unicode does not.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

fn two_or_more(token: &str) -> bool {
    token.chars().nth(1).is_some()
}

/// Adds up what falls into one bucket and divides by the norm, as scikit-learn's `HashingVectorizer`: the buckets rise.
/// With `binary` each bucket counts once, whatever the signs. Hits before `from` are another field's.
pub(crate) fn count(hits: &mut Hits, from: usize, binary: bool, norm: Norm) {
    hits[from..].sort_unstable_by_key(|(bucket, _)| *bucket);
    // Sums of whole numbers are the same in any order.
    let mut kept = from;
    for at in from..hits.len() {
        match kept > from && hits[kept - 1].0 == hits[at].0 {
            true => hits[kept - 1].1 += hits[at].1,
            false => {
                hits[kept] = hits[at];
                kept += 1;
            }
        }
    }
    hits.truncate(kept);
    let hits = &mut hits[from..];
    if binary {
        hits.iter_mut().for_each(|(_, value)| *value = 1.0);
    }
    let sum = match norm {
        Norm::None => return,
        Norm::L1 => hits.iter().fold(0.0, |sum, (_, value)| sum + value.abs()),
        Norm::L2 => hits.iter().fold(0.0, |sum, (_, value)| sum + value * value).sqrt(),
    };
    if sum > 0.0 {
        hits.iter_mut().for_each(|(_, value)| *value /= sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(split: &Split, text: &str) -> Vec<String> {
        let mut tokens = Vec::new();
        split.tokens(text, |token| tokens.push(token.to_owned()));
        tokens
    }

    #[test]
    fn texts_are_split_as_python_splits_them() {
        assert_eq!(tokens(&Split::Whitespace, " a\tb\u{a0}c\x1dd \n"), ["a", "b", "c", "d"]);
        assert_eq!(tokens(&Split::Words, "I can't, São_Paulo: x2 é"), ["can", "São_Paulo", "x2"]);
        assert_eq!(tokens(&Split::On("||".into()), "a||||b|c||"), ["a", "b|c"]);
        assert_eq!(tokens(&Split::Words, ""), [""; 0]);
    }

    #[test]
    fn buckets_are_added_up_and_divided() {
        let counted = |binary, norm| {
            let mut hits = vec![(9, 0.5), (7, 1.0), (3, -1.0), (7, 1.0), (9, 1.0), (9, -1.0)];
            count(&mut hits, 1, binary, norm);
            assert_eq!(hits.remove(0), (9, 0.5));
            hits
        };
        assert_eq!(counted(false, Norm::None), [(3, -1.0), (7, 2.0), (9, 0.0)]);
        assert_eq!(counted(true, Norm::None), [(3, 1.0), (7, 1.0), (9, 1.0)]);
        assert_eq!(counted(false, Norm::L1), [(3, -1.0 / 3.0), (7, 2.0 / 3.0), (9, 0.0)]);
        assert_eq!(counted(false, Norm::L2)[1], (7, 2.0 / 5.0f64.sqrt()));
        let mut none = Vec::new();
        count(&mut none, 0, false, Norm::L2);
        assert!(none.is_empty());
    }
}
