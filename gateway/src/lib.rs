//! The edge: finds the backends, picks version and backend, retries
