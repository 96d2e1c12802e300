//! What `up` prints once everything runs: what is where, and lines to paste.

use std::path::{Path, PathBuf};

use super::{System, sample};
use crate::cli::Up;

/// Prints it to standard output.
pub(crate) fn print(system: &System, store: &str, up: &Up) {
    let width = system.parts().map(|(part, _)| part.part.name.len()).max().unwrap_or(0).max("store".len());
    println!("\nHeadgate runs; Ctrl-C stops it.\n");
    for (part, address) in system.parts() {
        let admin = if part.part.name == "gateway" { format!("   admin http://{}", up.admin) } else { String::new() };
        println!("  {:width$}  http://{address}{admin}", part.part.name);
    }
    println!("  {:width$}  {store}", "store");
    println!("  {:width$}  {}", "logs", up.dir.join("logs").display());
    if !up.no_sample {
        print_sample(up);
    }
}

fn print_sample(up: &Up) {
    let program = program();
    let model = sample::MODEL;
    let target = sample::TARGET;
    let data = up.dir.join(sample::FILE);
    println!("\nIs this wine good? Ask the sample model:\n");
    println!("  curl -s http://{}/v1/models/{model}:predict -d '{}'", up.listen, sample::request());
    println!("\nTrain a second version; it is proven and takes over while the first goes on serving:\n");
    println!(
        "  {program} train --data {} --target {target} --model {model} --param num_leaves=7 --promote",
        data.display()
    );
    println!("\nSee what is served where, and take it back:\n");
    println!("  {program} status");
    println!("  {program} rollback {model}");
    println!();
}

/// This program as the reader would type it: relative to the current directory where it is below it.
fn program() -> String {
    let path = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("headgate"));
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(Path::new(&path)).display().to_string()
}
