//! What `docs/CONFIGURATION.md` says is what the parts take.

#![allow(clippy::unwrap_used)]

use std::fs;

use super::system::command;

/// The text of the block that begins with "```toml <part>".
fn block(part: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/CONFIGURATION.md");
    let page = fs::read_to_string(path).unwrap();
    let (_, rest) = page.split_once(&format!("```toml {part}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

fn check(part: &str, text: &str, more: &[&str]) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(format!("{part}.toml"));
    fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    let output = command(dir.path()).args([part, "--config", &file, "--check"]).args(more).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn every_documented_key_is_known_and_a_wrong_one_names_the_nearest() {
    for (part, wrong, nearest) in
        [("gateway", "[retry]\nattempt_max = 2", "attempts_max"), ("backend", "[cache]\nbyte_max = 2", "bytes_max")]
    {
        assert_eq!(check(part, &block(part), &[]), (Some(0), String::new()), "{part}");
        let (code, error) = check(part, wrong, &[]);
        assert_eq!(code, Some(2), "{part}: {error}");
        assert!(error.contains(nearest) && error.contains(&format!("{part}.toml")), "{part}: {error}");
    }
}
