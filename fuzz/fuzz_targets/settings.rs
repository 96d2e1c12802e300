//! Configuration: any file, variables and flags are read or refused in words, and what was read is read again from its own
//! text. The keys are like those of the gateway and the backend, of each type that they have.
#![no_main]

use std::collections::BTreeMap;

use headgate_contract::config::{Sources, read};
use libfuzzer_sys::fuzz_target;
use serde::{Deserialize, Serialize};

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    listen: String,
    threads: usize,
    limits: Limits,
    commands: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Limits {
    bytes_max: u64,
    ratio: f64,
    strict: Option<bool>,
    backends: Vec<String>,
}

fuzz_target!(|text: &str| {
    // A file, and behind NULs flags and variables of one line each: key=value.
    let mut parts = text.split('\0');
    let file = parts.next().unwrap_or_default();
    let mut pairs = |prefix: &str| -> Vec<(String, String)> {
        let lines = parts.next().unwrap_or_default().lines().take(8);
        lines.filter_map(|line| line.split_once('=')).map(|(k, v)| (format!("{prefix}{k}"), v.to_owned())).collect()
    };
    let (flags, environment) = (pairs(""), pairs("HEADGATE__"));
    let sources = Sources { file: Some(("file.toml".into(), file.into())), environment, flags };
    match read::<Settings>(&sources) {
        Ok(settings) => {
            let again = serde_json::to_value(&settings).expect("settings can be written");
            assert!(again.is_object());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
