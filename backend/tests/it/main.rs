//! The model server, from outside.
