//! The registry against its stores.
