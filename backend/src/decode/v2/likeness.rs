//! Inputs in binary that are written as the one before but for the feature's name, as clients write a table column by
//! column. Such an input is compared, not parsed.

use std::borrow::Cow;

use crate::decode::tensor::Head;

/// The longest input that others are compared with.
const INPUT_BYTES_MAX: usize = 1024;

/// How an input is written.
pub(super) struct Likeness<'a> {
    /// What stands before the name, its quotation mark included.
    before: &'a [u8],
    /// What stands behind the name.
    behind: &'a [u8],
    /// What it says.
    pub(super) head: Head<'a>,
    /// Bytes of the tensor.
    pub(super) size: usize,
}

impl<'a> Likeness<'a> {
    /// How `input` is written, which says `head`; none where it is not plain which of its texts the name is.
    pub(super) fn new(input: &'a [u8], head: Head<'a>, size: usize) -> Option<Self> {
        let Some(Cow::Borrowed(name)) = head.name else { return None };
        if input.len() > INPUT_BYTES_MAX {
            return None;
        }
        let is_name =
            |at: &usize| input[*at..].starts_with(name.as_bytes()) && input[at + name.len()..].starts_with(b"\"");
        let mut found = (1..input.len()).filter(|at| input[at - 1] == b'"').filter(is_name);
        let at = found.next()?;
        if found.next().is_some() {
            return None;
        }
        let (before, behind) = (&input[..at], &input[at + name.len()..]);
        Some(Self { before, behind, head, size })
    }

    /// The length of the input that `bytes` begin with, where it is written so and has that name; then `head` has it too.
    pub(super) fn find(&mut self, bytes: &'a [u8], name: &str) -> Option<usize> {
        let rest = bytes.strip_prefix(self.before)?;
        let (found, rest) = rest.split_at_checked(name.len())?;
        if found != name.as_bytes() || !rest.starts_with(self.behind) || !is_plain(found) {
            return None;
        }
        self.head.name = Some(Cow::Borrowed(std::str::from_utf8(found).ok()?));
        Some(self.before.len() + found.len() + self.behind.len())
    }
}

/// Whether JSON has a text as it is.
fn is_plain(text: &[u8]) -> bool {
    !text.iter().any(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f))
}
