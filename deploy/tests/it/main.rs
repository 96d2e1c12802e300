//! The house's own rules, and the command as its users run it: real processes, real files, real calls.

mod arrows;
mod bank;
mod configuration;
mod onnx;
mod process;
mod release;
mod system;
mod up;
