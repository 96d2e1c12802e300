//! Backends that are none of ours: servers of the Open Inference Protocol (`docs/FOREIGN.md`).
//!
//! Such a server says nothing of its own accord. A poller asks it for its health and its models and makes of them the very
//! report that a backend of ours sends ([`report`]), so that all above is one way. What is sent to it is put in its
//! words ([`call`], [`grpc`]), and its errors in ours.
//!
//! # Layout
//! - [`spec`]: how one is listed; [`door`]: which calls which server takes
//! - [`listing`]: what models it says that it has; [`report`]: the report made of that; [`poll`]: when it is asked what
//! - [`call`]: a call and its reply by HTTP; [`grpc`]: by gRPC

mod astray;
mod call;
mod door;
mod grpc;
mod listing;
mod poll;
mod report;
mod spec;
mod version;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use arc_swap::ArcSwap;
use headgate_contract::{ModelName, Version};

use astray::Astray;
use grpc::Grpc;
use poll::Polled;

pub(crate) use door::Door;
pub(crate) use report::release;
pub use spec::{Server, Spec};

/// How often in a row a gRPC port may not answer until it counts as closed.
const GRPC_MISSES_MAX: u32 = 2;

/// What is known of one such server while it is listed.
#[derive(Debug)]
pub struct Foreign {
    /// How it is listed.
    pub spec: Spec,
    /// What it calls its models' versions; the empty name is that of a model without.
    names: ArcSwap<HashMap<(ModelName, Version), Arc<str>>>,
    /// What it says that it has, and has not.
    astray: Astray,
    /// The way to its gRPC port, where one is listed.
    grpc: Option<Grpc>,
    /// How often in a row that did not answer.
    grpc_failed: AtomicU32,
    /// The poller's own.
    polled: tokio::sync::Mutex<Polled>,
}

impl Foreign {
    pub(crate) fn new(spec: Spec) -> Self {
        let grpc = spec.grpc.as_deref().map(Grpc::new);
        Self {
            spec,
            names: ArcSwap::default(),
            astray: Astray::default(),
            grpc,
            grpc_failed: AtomicU32::new(GRPC_MISSES_MAX - 1),
            polled: tokio::sync::Mutex::default(),
        }
    }

    /// Whether it takes calls at this door.
    pub(crate) fn takes(&self, door: Door) -> bool {
        self.spec.takes(door)
    }

    /// Whether the port behind this door answers.
    pub(crate) fn is_open(&self, door: Door) -> bool {
        !door.is_grpc() || self.grpc_failed.load(Relaxed) < GRPC_MISSES_MAX
    }

    /// Closes the connections to its gRPC port once their calls are answered; those of HTTP are not its own.
    pub(crate) fn purge(&self) {
        if let Some(grpc) = &self.grpc {
            grpc.purge();
        }
    }
}
