//! How a store fails.

/// Why a store's call failed. `at` is the object, with its store; [`StoreError::retryable`] says whether the same call
/// can succeed later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// There is no such object.
    #[error("{at} is not there")]
    NotFound {
        /// The object.
        at: String,
    },
    /// The bucket, or the folder, is not there. The caller's fault.
    #[error("store {at} does not exist")]
    NoStore {
        /// The store.
        at: String,
    },
    /// A create-only write found an object; it may be the writer's own, where the reply to an earlier try was lost.
    #[error("{at} exists already")]
    Exists {
        /// The object.
        at: String,
    },
    /// A compare-and-swap write found another object than was named, or none; it may be the writer's own, where the
    /// reply to an earlier try was lost.
    #[error("{at} was changed by somebody else")]
    Changed {
        /// The object.
        at: String,
    },
    /// The credentials do not allow it, or there are none.
    #[error("{at}: access denied: {why}")]
    Forbidden {
        /// The object.
        at: String,
        /// What the store said.
        why: String,
    },
    /// The store can be read only.
    #[error("{at}: the store is read-only: {why}")]
    ReadOnly {
        /// The object.
        at: String,
        /// What the system said.
        why: String,
    },
    /// The store lacks something that every writer needs. The store's fault for good.
    #[error("store {at} lacks {what}: it can be read, but not be written to")]
    Lacks {
        /// The store.
        at: String,
        /// What it lacks.
        what: &'static str,
    },
    /// The store could not be reached, or failed; whether a write took effect is not known.
    #[error("{at}: the store can't be reached: {why}")]
    Unreachable {
        /// The object.
        at: String,
        /// What went wrong.
        why: String,
    },
    /// No reply came in time; whether a write took effect is not known.
    #[error("{at}: no reply within {timeout_ms} ms")]
    Timeout {
        /// The object.
        at: String,
        /// The time it was given.
        timeout_ms: u64,
    },
    /// The store has no room left.
    #[error("{at}: the store is full: {why}")]
    Full {
        /// The object.
        at: String,
        /// What the system said.
        why: String,
    },
    /// An object is larger than its reader takes.
    #[error("{at} is larger than {limit} bytes")]
    TooLarge {
        /// The object.
        at: String,
        /// The reader's limit in bytes.
        limit: u64,
    },
    /// An object is not what it must be: cut short, of another size, of another digest.
    #[error("{at} is damaged: {why}")]
    Damaged {
        /// The object.
        at: String,
        /// What is wrong with it.
        why: String,
    },
    /// A key that can't be: empty, with an empty, `.` or `..` segment, or one that begins with `.`. The caller's fault.
    #[error("'{key}' is no key: plain segments between single slashes expected, none of them beginning with '.'")]
    Key {
        /// The key.
        key: String,
    },
    /// A local file is no longer what it was when it was hashed. The caller's fault.
    #[error("file {path} was changed while it was read")]
    FileChanged {
        /// The file.
        path: String,
    },
    /// The store refused the call, or a local file could not be read.
    #[error("{at}: {why}")]
    Refused {
        /// The object, or the file.
        at: String,
        /// What the store said.
        why: String,
    },
}

impl StoreError {
    /// Whether the same call can succeed later without anybody doing anything.
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Timeout { .. })
    }

    /// Whether a write that failed so may have taken effect all the same, so that its author has to look.
    pub fn uncertain(&self) -> bool {
        self.retryable() || matches!(self, Self::Exists { .. } | Self::Changed { .. })
    }

    /// Whether there is no such object.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether a create-only write found an object.
    pub fn is_exists(&self) -> bool {
        matches!(self, Self::Exists { .. })
    }
}
