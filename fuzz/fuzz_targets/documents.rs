//! What is read from the bucket and from other parts: manifests, heads, shards, state reports, configuration.
#![no_main]

use headgate_contract::catalog::{Head, Shard};
use headgate_contract::fleet::StateReport;
use headgate_contract::{Manifest, format};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(manifest) = Manifest::read(bytes) {
        let again = Manifest::read(&format::write(&manifest)).expect("what was read can be written and read");
        assert_eq!(again.files, manifest.files);
        assert!(manifest.files.iter().all(|file| !file.name.contains('/') && !file.name.starts_with('.')));
    }
    let _ = format::read::<Head>(format::HEAD, bytes);
    let _ = format::read::<Shard>(format::SHARD, bytes);
    let _ = serde_json::from_slice::<StateReport>(bytes);
});
