//! The model server
