//! Compiles `proto/inference.proto`: the messages, and the descriptor that reflection shows.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let file = protox::compile(["proto/inference.proto"], ["proto"])?;
    let out = std::env::var("OUT_DIR")?;
    std::fs::write(Path::new(&out).join("inference.bin"), prost::Message::encode_to_vec(&file))?;
    prost_build::Config::new().compile_fds(file)?;
    Ok(())
}
