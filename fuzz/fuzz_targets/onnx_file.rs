//! An ONNX file: what it says is read within its bounds, or it is refused.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = headgate_engine::onnx::sniff(bytes);
    let Ok(graph) = headgate_engine::onnx::describe(bytes) else { return };
    for port in graph.inputs.iter().chain(&graph.outputs) {
        let _ = (port.width(), port.rows(), port.kind.to_string());
    }
});
