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
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use arc_swap::ArcSwap;
use headgate_contract::{ModelName, Version};

use astray::Astray;
use grpc::Grpc;
use poll::Polled;

pub(crate) use door::Door;
pub(crate) use report::release;
pub use spec::{Server, Spec};

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
    /// Whether that answers.
    grpc_open: AtomicBool,
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
            grpc_open: AtomicBool::new(false),
            polled: tokio::sync::Mutex::default(),
        }
    }

    /// Whether a call at this door can be answered there, now.
    pub(crate) fn takes(&self, door: Door) -> bool {
        self.spec.takes(door) && (!door.is_grpc() || self.grpc_open.load(Relaxed))
    }

    /// Closes the connections to its gRPC port once their calls are answered; those of HTTP are not its own.
    pub(crate) fn purge(&self) {
        if let Some(grpc) = &self.grpc {
            grpc.purge();
        }
    }
}
