//! The bank's calls, trained, served and asked for through the gateway, compared with LightGBM's own Python package.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::Command;

use super::system::{System, eventually, lightgbm, python, skipped};

/// Where the data is: the folder that HEADGATE_DATA names, else beside the checkout.
fn data() -> PathBuf {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data");
    let dir = std::env::var_os("HEADGATE_DATA").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    dir.join("bank-marketing.csv.gz")
}

#[test]
fn a_thousand_rows_are_served_with_the_training_librarys_own_scores() {
    let has_python = python().is_some_and(|python| {
        let check = Command::new(python).args(["-c", "import lightgbm, numpy"]).output();
        check.is_ok_and(|output| output.status.success())
    });
    let needs = [
        ("bank-marketing.csv.gz", data().is_file()),
        ("LightGBM's library", lightgbm().is_some()),
        ("Python with lightgbm", has_python),
    ];
    if skipped("the bank's calls", &needs) {
        return;
    }
    let system = System::start(&["--no-sample"]);
    let file = data().display().to_string();
    let train = |more: &[&str]| {
        let mut arguments = vec!["train", "--data", &file, "--target", "y", "--model", "bank", "--promote"];
        arguments.extend(more);
        system.json(&arguments)
    };
    train(&[]);
    train(&["--param", "num_leaves=63", "--param", "learning_rate=0.05"]);
    let scoped = train(&["--scope-by", "job", "--param", "num_iterations=30"]);
    assert_eq!(scoped["models"].as_array().unwrap().len(), 12, "one model for each of twelve jobs");
    for model in ["bank", "bank/admin.", "bank/self-employed"] {
        eventually(&format!("{model} is ready"), || {
            (super::system::http(system.gateway, "GET", &format!("/v2/models/{model}/ready"), "").status == 200)
                .then_some(())
        });
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/bank.py");
    let output = Command::new(python().unwrap())
        .arg(script)
        .args([&file, &system.gateway.to_string(), &system.dir.path().join(".headgate/store").display().to_string()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("bank version 2: 1000 rows agree"), "{said}");
}
