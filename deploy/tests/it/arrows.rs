//! Which crate may depend on which, read from `cargo metadata`: the arrows of the code map, and no others.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// The crates of the house, and those of the house that each may use.
const ALLOWED: &[(&str, &[&str])] = &[
    ("headgate-contract", &[]),
    ("headgate-engine", &["headgate-contract"]),
    ("headgate-balance", &["headgate-contract"]),
    ("headgate-registry", &["headgate-contract"]),
    ("headgate-backend", &["headgate-engine", "headgate-registry", "headgate-contract"]),
    ("headgate-gateway", &["headgate-balance", "headgate-contract"]),
    ("headgate-trainer", &["headgate-registry", "headgate-engine", "headgate-contract"]),
    ("headgate-loadtests", &["headgate-balance", "headgate-contract"]),
    (
        "headgate",
        &[
            "headgate-contract",
            "headgate-engine",
            "headgate-balance",
            "headgate-registry",
            "headgate-backend",
            "headgate-gateway",
            "headgate-trainer",
        ],
    ),
];

/// What a crate must not reach, by whatever way: the pure ones no runtime, the edge no bucket.
const NEVER: &[(&str, &[&str])] = &[
    ("headgate-contract", &["tokio", "hyper", "aws-sdk-s3", "pingora-core"]),
    ("headgate-engine", &["tokio", "hyper", "aws-sdk-s3", "pingora-core"]),
    ("headgate-balance", &["tokio", "hyper", "aws-sdk-s3", "pingora-core"]),
    ("headgate-gateway", &["headgate-registry", "aws-sdk-s3", "aws-config"]),
];

struct Graph {
    /// Package id to its name.
    names: BTreeMap<String, String>,
    /// Package id to the ids of what it links (development dependencies left out).
    links: BTreeMap<String, BTreeSet<String>>,
    members: BTreeSet<String>,
}

fn graph() -> Graph {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let list = |value: &Value| value.as_array().unwrap().clone();
    let names = list(&metadata["packages"]).iter().map(|p| (text(&p["id"]), text(&p["name"]))).collect();
    let nodes = list(&metadata["resolve"]["nodes"]);
    let links = nodes.iter().map(|node| {
        let linked = list(&node["deps"])
            .into_iter()
            .filter(|dep| list(&dep["dep_kinds"]).iter().any(|kind| kind["kind"].is_null()));
        (text(&node["id"]), linked.map(|dep| text(&dep["pkg"])).collect())
    });
    Graph { links: links.collect(), members: list(&metadata["workspace_members"]).iter().map(text).collect(), names }
}

impl Graph {
    fn reached(&self, from: &str) -> BTreeSet<&str> {
        let mut seen = BTreeSet::new();
        let mut todo = vec![from];
        while let Some(id) = todo.pop() {
            for next in &self.links[id] {
                if seen.insert(next.as_str()) {
                    todo.push(next);
                }
            }
        }
        seen.into_iter().map(|id| self.names[id].as_str()).collect()
    }
}

#[test]
fn crates_use_only_those_that_the_code_map_allows() {
    let graph = graph();
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let mut seen = BTreeSet::new();
    for member in &graph.members {
        let name = graph.names[member].as_str();
        let may = allowed.get(name).unwrap_or_else(|| panic!("{name} is not in the code map"));
        seen.insert(name);
        for used in graph.links[member].iter().filter(|id| graph.members.contains(*id)) {
            let used = graph.names[used].as_str();
            assert!(may.contains(&used), "{name} -> {used} is no allowed arrow");
        }
    }
    assert_eq!(seen, allowed.keys().copied().collect());
}

#[test]
fn pure_crates_reach_no_runtime_and_the_edge_no_bucket() {
    let graph = graph();
    for (name, never) in NEVER {
        let member = graph.members.iter().find(|id| graph.names[*id] == *name).unwrap();
        let reached = graph.reached(member);
        for banned in *never {
            assert!(!reached.contains(banned), "{name} reaches {banned}");
        }
    }
}
