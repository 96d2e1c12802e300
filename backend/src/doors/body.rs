//! Bodies, bounded in size, in time and all together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use headgate_contract::Kind;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::Instant;

use super::App;
use crate::refusal::Refusal;

/// What is held of the bound on all bodies.
#[derive(Debug)]
pub(super) struct Held {
    all: Arc<AtomicU64>,
    bytes: u64,
    /// The bound.
    most: u64,
}

/// Where a body comes from.
pub(super) enum Source {
    /// It is still to be read.
    Incoming(Incoming),
    /// It was read, or could not be.
    Read(Result<(Bytes, Held), Refusal>),
}

impl Source {
    /// The body, whole, by `until`. What it takes counts against the bound on all bodies until the hold is dropped.
    pub(super) async fn read(self, app: &App, until: Instant) -> Result<(Bytes, Held), Refusal> {
        match self {
            Source::Incoming(body) => read(app, body, until).await,
            Source::Read(read) => read,
        }
    }
}

/// Takes what a body will need that is announced with so many bytes.
pub(super) fn announced(app: &App, bytes: u64) -> Result<Held, Refusal> {
    let most = app.shared.limits.body_bytes_max;
    if bytes > most {
        return Err(too_large(most));
    }
    let mut held = Held::new(app);
    held.take(bytes)?;
    Ok(held)
}

/// A body that comes too slowly.
pub(super) fn late() -> Refusal {
    Refusal::new(Kind::DeadlineExceeded, "the body did not arrive in time")
}

async fn read(app: &App, body: Incoming, until: Instant) -> Result<(Bytes, Held), Refusal> {
    let most = app.shared.limits.body_bytes_max;
    let mut held = Held::new(app);
    let announced = body.size_hint().exact();
    if announced.is_some_and(|size| size > most) {
        return Err(too_large(most));
    }
    match tokio::time::timeout_at(until, collect(body, most, &mut held)).await {
        Ok(read) => Ok((read?, held)),
        Err(_) => Err(late()),
    }
}

async fn collect(mut body: Incoming, most: u64, held: &mut Held) -> Result<Bytes, Refusal> {
    let mut first = Bytes::new();
    let mut rest: Option<BytesMut> = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| Refusal::invalid(format!("the body can't be read: {e}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if held.bytes + data.len() as u64 > most {
            return Err(too_large(most));
        }
        held.take(data.len() as u64)?;
        match &mut rest {
            Some(rest) => rest.extend_from_slice(&data),
            None if first.is_empty() => first = data,
            None => {
                let mut whole = BytesMut::from(first.as_ref());
                whole.extend_from_slice(&data);
                rest = Some(whole);
            }
        }
    }
    Ok(rest.map_or(first, BytesMut::freeze))
}

fn too_large(most: u64) -> Refusal {
    Refusal::new(Kind::TooLarge, format!("the body is larger than {most} bytes"))
}

impl Held {
    /// Nothing yet.
    pub(super) fn new(app: &App) -> Self {
        Self::of(&app.bodies_bytes, app.shared.limits.bodies_bytes_max)
    }

    /// Nothing yet of a bound on all.
    pub(super) fn of(all: &Arc<AtomicU64>, most: u64) -> Self {
        Self { all: Arc::clone(all), bytes: 0, most }
    }

    /// Takes so much more of the bound; refused where it is not there.
    pub(super) fn take(&mut self, bytes: u64) -> Result<(), Refusal> {
        self.bytes += bytes;
        let all = self.all.fetch_add(bytes, Ordering::AcqRel) + bytes;
        if all > self.most {
            let most = self.most;
            let words = format!("bodies of {most} bytes together are being answered already");
            return Err(Refusal::new(Kind::Overloaded, words));
        }
        Ok(())
    }

    /// Adds what another holds.
    pub(super) fn join(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// A part of it, to be given back by itself.
    pub(super) fn split(&mut self, bytes: u64) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { all: Arc::clone(&self.all), bytes, most: self.most }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}
