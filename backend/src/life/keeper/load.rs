//! A load as a task of its own, which tells the keeper how far it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use headgate_contract::{Digest, ModelName};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::life::Stage;
use crate::life::job::{Tells, Workshop};
use crate::life::plan::Wanted;
use crate::life::stage::Failure;
use crate::servable::Servable;

/// What a load tells.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) model: ModelName,
    pub(super) digest: Digest,
    pub(super) job: u64,
    pub(super) news: News,
}

#[derive(Debug)]
pub(super) enum News {
    Reached(Stage),
    /// It works elsewhere now: another may start.
    Aside,
    /// It waits for so many bytes of memory.
    Needs(u64),
    /// Its end, and whether it had kept its place until then.
    Done(Result<Arc<Servable>, Failure>, bool),
}

/// A load on its way.
pub(super) struct Load {
    pub(super) workshop: Workshop,
    pub(super) model: ModelName,
    pub(super) wanted: Wanted,
    pub(super) job: u64,
    /// Whether it has its place among the loads that may run at once.
    pub(super) in_place: AtomicBool,
    pub(super) cancel: CancellationToken,
    pub(super) messages: mpsc::Sender<Message>,
}

impl Load {
    /// Always ends with one message, as the keeper counts them.
    pub(super) async fn run(self) {
        let result = tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Failure::passing("given up")),
            result = self.workshop.prepare(&self.model, self.wanted, &self) => result,
        };
        // The keeper is gone where this fails, and nobody waits.
        let done = News::Done(result, self.in_place.load(Ordering::Relaxed));
        let _ = self.messages.send(self.message(done)).await;
    }

    fn message(&self, news: News) -> Message {
        Message { model: self.model.clone(), digest: self.wanted.digest, job: self.job, news }
    }
}

impl Tells for Load {
    // A full channel loses a stage, which is only told, never needed.
    fn reached(&self, stage: Stage) {
        let _ = self.messages.try_send(self.message(News::Reached(stage)));
    }

    fn aside(&self) {
        let told = self.messages.try_send(self.message(News::Aside));
        self.in_place.store(told.is_err(), Ordering::Relaxed);
    }

    // Told again where it is lost.
    fn needs(&self, bytes: u64) {
        let _ = self.messages.try_send(self.message(News::Needs(bytes)));
    }
}
