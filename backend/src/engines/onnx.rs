//! ONNX models, through ONNX Runtime: a library that is loaded when the first version needs it.

use crate::config::Onnx;

/// What all ONNX versions share.
#[derive(Debug)]
pub struct Shop {
    _bounds: Onnx,
}

impl Shop {
    /// Nothing is loaded or started yet.
    pub fn new(bounds: Onnx) -> Self {
        Self { _bounds: bounds }
    }
}
