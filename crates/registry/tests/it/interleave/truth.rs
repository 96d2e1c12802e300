//! What must be true of the store after each call, and of what each actor was told.

use std::collections::BTreeMap;

use bytes::Bytes;
use headgate_contract::catalog::{Head, Shard, ShardId};
use headgate_contract::{Digest, Manifest, ModelName, Release, Version, format, layout};
use headgate_registry::release::ReleaseError;
use headgate_registry::{PublishError, Published};

use super::{Ended, Role, Said, build_name, the_model};

/// The catalog as it is: every shard is there, every served version is whole; and each generation has one head for ever.
pub(super) fn names_only_whole_versions(objects: &BTreeMap<String, Bytes>, heads: &mut BTreeMap<u64, Bytes>) {
    let Some(bytes) = objects.get(layout::HEAD) else { return };
    let head: Head = format::read(format::HEAD, bytes).unwrap();
    assert!(heads.last_key_value().is_none_or(|(newest, _)| *newest <= head.generation));
    assert_eq!(heads.entry(head.generation).or_insert_with(|| bytes.clone()), bytes, "two winners");
    for generation in 1..head.generation {
        let copy = objects.get(&layout::old_head(generation)).unwrap();
        assert!(heads.get(&generation).is_none_or(|head| head == copy), "generation {generation}");
    }
    for digest in head.shards.values() {
        let bytes = &objects[&layout::shard(digest)];
        assert_eq!(Digest::of(bytes), *digest);
        let shard: Shard = format::read(format::SHARD, bytes).unwrap();
        for (model, release) in &shard.releases {
            for serve in release.serve.iter().chain(release.history.iter().flat_map(|entry| &entry.serve)) {
                whole(objects, model, serve.version, serve.digest);
            }
        }
    }
}

fn whole(objects: &BTreeMap<String, Bytes>, model: &ModelName, version: Version, digest: Digest) {
    assert_eq!(objects[&layout::success(model, version)], format!("{digest}\n"));
    let manifest = &objects[&layout::manifest(model, version)];
    assert_eq!(Digest::of(manifest), digest);
    for file in Manifest::read(manifest).unwrap().files {
        assert_eq!(Digest::of(&objects[&layout::file(model, version, &file.sha256, &file.name)]), file.sha256);
    }
}

/// The version that a publisher was told of is whole, and is its own build.
pub(super) fn made(objects: &BTreeMap<String, Bytes>, build: u8, published: &Published) {
    let model = the_model(0);
    whole(objects, &model, published.version, published.digest);
    let manifest = Manifest::read(&objects[&layout::manifest(&model, published.version)]).unwrap();
    assert_eq!(manifest.build_key, Digest::of(build_name(build)), "somebody else's build");
}

/// What an actor said agrees with what the store holds.
pub(super) fn said_the_truth(ended: &Ended) {
    let objects = ended.memory.objects.lock().unwrap();
    let Some(said) = &ended.said else { return };
    let heads = heads(&objects);
    let name = &ended.name;
    let won: Vec<u64> = heads.iter().filter(|(_, head)| head.who == *name).map(|(generation, _)| *generation).collect();
    match (said, &ended.role) {
        (Said::Published(Ok(published)), Role::Publish { build }) => made(&objects, *build, published),
        (Said::Published(Err(PublishError::Store(error))), _) => assert!(error.retryable(), "{error}"),
        (Said::Promoted(Ok(promoted)), Role::Promote { model, .. }) if promoted.changed => {
            assert_eq!(won, [promoted.generation], "{name}");
            // Nobody else changed the model between the look that the decision was made upon and the win.
            let model = the_model(*model);
            let first = ended.memory.first_head.lock().unwrap().clone().flatten();
            let first = first.and_then(|head| release(&objects, &format::read(format::HEAD, &head).unwrap(), &model));
            let before = heads.get(&(promoted.generation - 1)).and_then(|head| release(&objects, head, &model));
            assert_eq!(first, before, "{name} was not told of a conflict");
        }
        (Said::Promoted(Ok(_)), _) => assert!(won.is_empty(), "{name}: {won:?}"),
        (Said::Promoted(Err(ReleaseError::Unknown { .. })), _) => assert!(won.len() <= 1),
        (Said::Promoted(Err(error)), _) => assert!(won.is_empty(), "{name} was told '{error}' and won {won:?}"),
        (said, _) => panic!("{name} said {said:?}"),
    }
}

/// Every head that there was.
fn heads(objects: &BTreeMap<String, Bytes>) -> BTreeMap<u64, Head> {
    let old = objects.iter().filter(|(key, _)| key.starts_with("catalog/heads/")).map(|(_, bytes)| bytes);
    let all = old.chain(objects.get(layout::HEAD)).map(|bytes| format::read::<Head>(format::HEAD, bytes).unwrap());
    all.map(|head| (head.generation, head)).collect()
}

fn release(objects: &BTreeMap<String, Bytes>, head: &Head, model: &ModelName) -> Option<Release> {
    let digest = head.shards.get(&ShardId::of(model))?;
    let mut shard: Shard = format::read(format::SHARD, &objects[&layout::shard(digest)]).unwrap();
    shard.releases.remove(model)
}
