//! What calls have in common, read once: the receiver's side of the table.

use std::sync::Arc;

use headgate_contract::link::{HEADS_MAX, Head, HeadOf, Headers};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::super::{App, predict};
use crate::refusal::Refusal;

/// A head as calls use it.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    /// What it asks, or why that is refused.
    pub(super) asks: Result<predict::Head, Refusal>,
}

/// The heads that a gateway sent for keeping, by number.
#[derive(Debug, Default)]
pub(super) struct Heads(Vec<Option<Arc<Read>>>);

/// What is wrong with a head. The gateway's fault.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadHead {
    #[error("head {0} came, and {HEADS_MAX} are kept")]
    Beyond(u16),
    #[error("a call names head {0}, which did not come")]
    Unknown(u16),
    #[error("a header came whose name or value is none")]
    Header,
}

impl Heads {
    /// Keeps a head.
    pub(super) fn keep(&mut self, app: &App, number: u16, head: &Head<'_>) -> Result<(), BadHead> {
        if number >= HEADS_MAX {
            return Err(BadHead::Beyond(number));
        }
        let at = usize::from(number);
        if self.0.len() <= at {
            self.0.resize(at + 1, None);
        }
        self.0[at] = Some(read(app, head)?);
        Ok(())
    }

    /// The head of a call, and of headers that it alone has.
    pub(super) fn of(&self, app: &App, head: &HeadOf<'_>, own: Headers<'_>) -> Result<Arc<Read>, BadHead> {
        let head = match head {
            HeadOf::Known(number) => {
                let kept = self.0.get(usize::from(*number)).and_then(Option::as_ref);
                Arc::clone(kept.ok_or(BadHead::Unknown(*number))?)
            }
            HeadOf::Inline(head) => read(app, head)?,
        };
        if own.is_empty() {
            return Ok(head);
        }
        let mut headers = head.headers.clone();
        add(own, &mut headers)?;
        Ok(Arc::new(Read::new(app, head.path.clone(), headers)))
    }
}

impl Read {
    fn new(app: &App, path: String, headers: HeaderMap) -> Self {
        let asks = predict::Head::read(app, &path, &headers);
        Self { path, headers, asks }
    }
}

fn read(app: &App, head: &Head<'_>) -> Result<Arc<Read>, BadHead> {
    let mut headers = HeaderMap::new();
    add(head.headers, &mut headers)?;
    Ok(Arc::new(Read::new(app, head.path.to_owned(), headers)))
}

fn add(headers: Headers<'_>, to: &mut HeaderMap) -> Result<(), BadHead> {
    for (name, value) in headers {
        match (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            (Ok(name), Ok(value)) => drop(to.append(name, value)),
            _ => return Err(BadHead::Header),
        }
    }
    Ok(())
}
