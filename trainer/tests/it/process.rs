//! Code as a version.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use clap::Parser;
use headgate_contract::layout;
use headgate_trainer::{PublishArgs, PublishError, PublishReport};
use serde_json::json;

use crate::rig::Rig;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    publish: PublishArgs,
}

/// A folder of code, its signature and its golden rows.
struct Code {
    folder: PathBuf,
    signature: String,
    golden: String,
}

impl Code {
    fn new(rig: &Rig) -> Self {
        let folder = rig.dir.path().join("code");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("model.py"), "def predict(columns): ...").unwrap();
        fs::write(folder.join("weights.json"), "{}").unwrap();
        fs::write(folder.join(".hidden"), "").unwrap();
        fs::create_dir(folder.join("__pycache__")).unwrap();
        let signature = rig.dir.path().join("signature.json");
        let inputs = json!([{"name": "age", "dtype": "FP64"}, {"name": "job", "dtype": "BYTES"}]);
        let outputs = json!([{"name": "probability", "dtype": "FP64"}]);
        fs::write(&signature, json!({"inputs": inputs, "outputs": outputs}).to_string()).unwrap();
        let golden = rig.dir.path().join("golden.csv");
        fs::write(&golden, "age,job,output\n41,007,0.5\n,,0.25\n").unwrap();
        let text = |path: PathBuf| path.display().to_string();
        Self { folder, signature: text(signature), golden: text(golden) }
    }

    async fn publish(&self, rig: &Rig, more: &[&str]) -> Result<PublishReport, PublishError> {
        let folder = self.folder.display().to_string();
        let args = ["publish", &folder, "--model", "m", "--process", "python"];
        let args = [&args[..], &["--signature", &self.signature, "--golden", &self.golden], more].concat();
        headgate_trainer::publish::publish(Cli::try_parse_from(args).unwrap().publish, rig.context()).await
    }
}

#[tokio::test]
async fn a_folder_is_published_with_its_command_signature_and_golden_rows() {
    let rig = Rig::new().await;
    let code = Code::new(&rig);
    let report = code.publish(&rig, &[]).await.unwrap();
    let published = report.model.published().unwrap();
    let notes = published.notes.join("\n");
    for words in
        ["'.hidden' is left out", "'__pycache__' is left out", "backends prove it, by command 'python'", "0.000001"]
    {
        assert!(notes.contains(words), "{notes}");
    }
    let (manifest, _) = rig.artifact(&report.model).await;
    assert_eq!(
        (manifest.engine.name.as_str(), manifest.engine.requires.as_slice()),
        ("process", &["process:python".to_owned()][..])
    );
    let names: Vec<_> = manifest.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["model.py", "weights.json"]);
    let golden = manifest.golden.unwrap();
    assert_eq!((golden.rows, golden.tolerance), (2, 1e-6));
    assert_eq!(serde_json::to_value(&golden.inputs[1].values).unwrap(), json!(["007", null]));
    let file = &manifest.files[1];
    let key = layout::file(&manifest.model, manifest.version, &file.sha256, &file.name);
    assert_eq!(rig.store.get(&key, 100).await.unwrap().bytes.as_ref(), b"{}");
    // The same again is the same version; any difference makes another.
    let again = code.publish(&rig, &[]).await.unwrap();
    assert!(again.model.published().unwrap().existing);
    fs::write(code.folder.join("weights.json"), "{\"a\": 1}").unwrap();
    assert!(!code.publish(&rig, &[]).await.unwrap().model.published().unwrap().existing);
    assert!(!code.publish(&rig, &["--tolerance", "0.5"]).await.unwrap().model.published().unwrap().existing);
}

#[tokio::test]
async fn what_can_not_be_a_version_is_named() {
    let rig = Rig::new().await;
    let mut code = Code::new(&rig);
    let refused = async |code: &Code, words: &str| {
        let error = code.publish(&rig, &[]).await.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    let link = code.folder.join("secrets");
    symlink("/etc/passwd", &link).unwrap();
    refused(&code, "secrets is no model that can be served: it is a symbolic link").await;
    fs::remove_file(&link).unwrap();
    fs::create_dir(&link).unwrap();
    refused(&code, "a version's files lie side by side").await;
    fs::remove_dir(&link).unwrap();
    fs::write(code.folder.join("two words"), "").unwrap();
    refused(&code, "'two words'").await;
    fs::remove_file(code.folder.join("two words")).unwrap();
    for (signature, words) in [
        ("{}", "missing field"),
        (r#"{"inputs":[],"outputs":[]}"#, "0 inputs"),
        (r#"{"inputs":[{"name":"age","dtype":"FP64"}],"outputs":[{"name":"l","dtype":"BYTES"}]}"#, "'l' is of texts"),
        (
            r#"{"inputs":[{"name":"age","dtype":"FP64"}],"outputs":[{"name":"l","dtype":"FP64"}]}"#,
            "'job' is no feature",
        ),
    ] {
        fs::write(&code.signature, signature).unwrap();
        refused(&code, words).await;
    }
    code.folder = rig.dir.path().join("nothing");
    fs::create_dir(&code.folder).unwrap();
    fs::write(&code.signature, r#"{"inputs":[{"name":"age","dtype":"FP64"},{"name":"job","dtype":"BYTES"}],"outputs":[{"name":"p","dtype":"FP64"}]}"#).unwrap();
    refused(&code, "the folder has no files").await;
}

#[test]
fn code_without_golden_rows_or_signature_is_no_command() {
    for args in [
        &["publish", "code", "--model", "m", "--process", "python", "--signature", "s.json", "--no-proof"][..],
        &["publish", "code", "--model", "m", "--process", "python", "--golden", "g.csv"],
        &["publish", "code", "--model", "m", "--signature", "s.json", "--golden", "g.csv"],
    ] {
        assert!(Cli::try_parse_from(args).is_err(), "{args:?}");
    }
}
