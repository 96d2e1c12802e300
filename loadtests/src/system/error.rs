//! What can go wrong with the parts.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// A part of the system that did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum SystemError {
    /// There is no executable.
    #[error("no headgate executable at {0}: build it, or name it by --headgate or HEADGATE_BIN")]
    NoBinary(PathBuf),
    /// The folder can't be used.
    #[error("folder for the run can't be used: {0}")]
    Dir(#[source] std::io::Error),
    /// A process could not be started.
    #[error("{name} ({path}) could not be started: {error}")]
    Start {
        /// The part.
        name: String,
        /// Its executable.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A process could not be stopped.
    #[error("{name} could not be stopped: {error}")]
    Stop {
        /// The part.
        name: String,
        /// Why.
        error: std::io::Error,
    },
    /// A process ended that should not, or not so.
    #[error("{name} ended with {status}; the end of its log:\n{log}")]
    Ended {
        /// The part.
        name: String,
        /// How.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },
    /// A process does not stop.
    #[error("{name} did not stop within {patience:?} of SIGTERM")]
    Hangs {
        /// The part.
        name: String,
        /// How long was waited.
        patience: Duration,
    },
    /// A command failed.
    #[error("`headgate {command}` ended with {status}: {output}")]
    Command {
        /// Its arguments.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        output: String,
    },
    /// A call failed.
    #[error("{url}: {error}")]
    Call {
        /// What was called.
        url: String,
        /// Why.
        error: String,
    },
    /// Something did not happen in time.
    #[error("{what} within {patience:?}{last}")]
    Late {
        /// What.
        what: String,
        /// How long was waited.
        patience: Duration,
        /// What was seen last.
        last: String,
    },
}
