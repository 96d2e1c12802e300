//! A model file that was made elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;
use headgate_contract::manifest::Cell;
use headgate_trainer::{Context, Event, PublishArgs, PublishError, PublishReport, TrainArgs};
use serde_json::{Map, Value, json};

use crate::rig::{Rig, library, shop};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    publish: PublishArgs,
}

pub(crate) async fn publish(rig: &Rig, args: &[&str]) -> Result<PublishReport, PublishError> {
    let cli = Cli::try_parse_from(std::iter::once("publish").chain(args.iter().copied())).unwrap();
    headgate_trainer::publish::publish(cli.publish, rig.context()).await
}

#[tokio::test]
async fn files_of_the_python_packages_are_published_with_their_categories() {
    let rig = Rig::new().await;
    let fixture = |name: &str| format!("{}/tests/it/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    for (file, rows, engine) in [
        ("lightgbm.txt", "lightgbm.jsonl", "lightgbm"),
        ("xgboost.json", "xgboost.jsonl", "xgboost"),
        ("xgboost.ubj", "xgboost.jsonl", "xgboost"),
    ] {
        let model = file.replace('.', "-");
        let args = [&fixture(file), "--model", &model, "--golden", &fixture(rows), "--promote"];
        let report = publish(&rig, &args).await.unwrap_or_else(|error| panic!("{file}: {error}"));
        let (manifest, _) = rig.artifact(&report.model).await;
        assert_eq!(manifest.engine.name, engine);
        assert_eq!(manifest.golden.unwrap().rows, 12);
        let inputs = &manifest.signature.inputs;
        let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
        assert_eq!(names, ["age", "job", "balance", "housing"]);
        assert_eq!(inputs[1].categories.as_ref().unwrap().len(), 12);
        assert_eq!(inputs[3].categories.as_ref().unwrap(), &["no", "yes"]);
        assert!(inputs[2].categories.is_none());
    }
}

#[tokio::test]
async fn what_is_published_is_what_was_looked_at() {
    let rig = Rig::new().await;
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/fixtures/lightgbm.txt");
    let file = rig.dir.path().join("model.txt");
    let looked_at = std::fs::read(fixture).unwrap();
    std::fs::write(&file, &looked_at).unwrap();
    // Somebody's next training ends after the file was read and before it goes up.
    let (replaced, replacing) = (file.clone(), Arc::new(AtomicBool::new(false)));
    let done = Arc::clone(&replacing);
    let on_event = Arc::new(move |event| {
        if matches!(event, Event::Note { .. }) {
            std::fs::write(&replaced, "another model").unwrap();
            done.store(true, Ordering::SeqCst);
        }
    });
    let args = ["publish", &file.display().to_string(), "--model", "m", "--no-proof"];
    let cli = Cli::try_parse_from(args).unwrap();
    let context = Context { on_event, ..rig.context() };
    let report = headgate_trainer::publish::publish(cli.publish, context).await.unwrap();
    assert!(replacing.load(Ordering::SeqCst));
    assert!(rig.artifact(&report.model).await.1 == looked_at);
}

/// A model that `train` made, as a file with its golden rows as JSON lines.
async fn elsewhere(rig: &Rig) -> (String, String, Vec<Map<String, Value>>) {
    let args = TrainArgs { params: vec!["num_iterations=20".into()], ..rig.args("shop", "bought") };
    let args = TrainArgs { ignore: vec!["city".into()], ..args };
    let report = rig.train(args, shop(1500).as_bytes()).await.unwrap();
    let (manifest, text) = rig.artifact(&report.models[0]).await;
    let golden = manifest.golden.unwrap();
    let row = |row: usize| -> Map<String, Value> {
        let cell = |cell: &Cell| serde_json::to_value(cell).unwrap();
        let mut values: Map<String, Value> =
            golden.inputs.iter().map(|i| (i.name.clone(), cell(&i.values[row]))).collect();
        values.insert("margin".into(), json!(golden.margins[row].0));
        values.insert("output".into(), json!(golden.outputs[row].0));
        values
    };
    let rows: Vec<_> = (0..golden.rows).map(row).collect();
    let (model, lines) = (rig.dir.path().join("elsewhere.txt"), rig.dir.path().join("golden.jsonl"));
    std::fs::write(&model, text).unwrap();
    write(&lines, &rows);
    (model.display().to_string(), lines.display().to_string(), rows)
}

fn write(path: impl AsRef<std::path::Path>, rows: &[Map<String, Value>]) {
    let lines: String = rows.iter().map(|row| serde_json::to_string(row).unwrap() + "\n").collect();
    std::fs::write(path, lines).unwrap();
}

#[tokio::test]
async fn a_lightgbm_file_is_published_once_and_released() {
    if library("a_lightgbm_file_is_published_once_and_released").is_none() {
        return;
    }
    let rig = Rig::new().await;
    let (model, golden, _) = elsewhere(&rig).await;
    let args =
        [&model, "--model", "other", "--golden", &golden, "--metric", "auc=0.7", "--classes", "no,yes", "--promote"];
    let report = publish(&rig, &args).await.unwrap();
    assert!(report.is_success() && report.release.is_some(), "{report:?}");
    let (manifest, _) = rig.artifact(&report.model).await;
    assert_eq!(manifest.engine.name, "lightgbm");
    assert_eq!((manifest.signature.outputs[0].name.as_str(), &manifest.metrics["auc"]), ("probability", &0.7));
    assert_eq!(manifest.signature.outputs[0].classes, ["yes"]);
    assert!(manifest.golden.is_some_and(|golden| golden.rows == 64));
    let again = publish(&rig, &args).await.unwrap();
    assert!(again.model.published().unwrap().existing);
}

#[tokio::test]
async fn categories_of_a_data_frame_are_taken_over() {
    if library("categories_of_a_data_frame_are_taken_over").is_none() {
        return;
    }
    let rig = Rig::new().await;
    let report = rig.train(rig.args("shop", "bought"), shop(1500).as_bytes()).await.unwrap();
    let (manifest, text) = rig.artifact(&report.models[0]).await;
    let categories = manifest.signature.inputs[1].categories.clone().unwrap();
    let model = rig.dir.path().join("pandas.txt");
    let text = String::from_utf8(text).unwrap();
    std::fs::write(&model, format!("{text}\npandas_categorical:{}\n", json!([categories]))).unwrap();
    let golden = manifest.golden.as_ref().unwrap();
    let mut csv = "price,city,member,visits,margin,output\n".to_owned();
    for row in 0..golden.rows {
        let cell = |at: usize| match &golden.inputs[at].values[row] {
            Cell::Missing => String::new(),
            Cell::Bool(value) => value.to_string(),
            Cell::Number(value) => value.to_string(),
            Cell::Text(text) => text.clone(),
        };
        let (margin, output) = (golden.margins[row].0, golden.outputs[row].0);
        csv += &format!("{},{},{},{},{margin:?},{output:?}\n", cell(0), cell(1), cell(2), cell(3));
    }
    let rows = rig.dir.path().join("golden.csv");
    std::fs::write(&rows, csv).unwrap();
    let (model, rows) = (model.display().to_string(), rows.display().to_string());
    let report = publish(&rig, &[&model, "--model", "frame", "--golden", &rows]).await.unwrap();
    let (derived, _) = rig.artifact(&report.model).await;
    assert_eq!(derived.signature.inputs, manifest.signature.inputs);
    assert_eq!(derived.golden.unwrap().margins, golden.margins);
}

#[tokio::test]
async fn golden_rows_that_do_not_reproduce_are_refused_with_the_row() {
    if library("golden_rows_that_do_not_reproduce_are_refused_with_the_row").is_none() {
        return;
    }
    let rig = Rig::new().await;
    let (model, golden, rows) = elsewhere(&rig).await;
    let mut wrong = rows.clone();
    let margin = wrong[5]["margin"].as_f64().unwrap();
    wrong[5].insert("margin".into(), json!(margin.next_up()));
    write(&golden, &wrong);
    let error = publish(&rig, &[&model, "--model", "other", "--golden", &golden]).await.unwrap_err().to_string();
    assert!(error.contains("golden row 5") && error.contains(&format!("{:?}", margin.next_up())), "{error}");

    let mut wrong = rows.clone();
    wrong[3].insert("pice".into(), json!(1));
    write(&golden, &wrong);
    let error = publish(&rig, &[&model, "--model", "other", "--golden", &golden]).await.unwrap_err().to_string();
    assert!(error.contains("line 4") && error.contains("'price' is one"), "{error}");

    let only: Vec<_> = rows.iter().cloned().map(|mut row| (row.remove("output"), row).1).collect();
    write(&golden, &only);
    publish(&rig, &[&model, "--model", "margins", "--golden", &golden]).await.unwrap();
    publish(&rig, &[&model, "--model", "unproven", "--no-proof"]).await.unwrap();
    assert!(rig.notes().contains("nothing proves"));

    for (args, words) in [
        (&["--classes", "a,b,c"][..], "3 classes, the model has 2"),
        (&["--name-features", "a,b"], "names 2 features, the model has"),
        (&["--metric", "auc=high"], "a number expected"),
        (&["--promote", "--if", "auc >"], "auc"),
    ] {
        let args: Vec<&str> =
            [&model, "--model", "other", "--no-proof"].into_iter().chain(args.iter().copied()).collect();
        let error = publish(&rig, &args).await.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let junk = rig.dir.path().join("junk");
    std::fs::write(&junk, "{\"learner\": {}}").unwrap();
    let error =
        publish(&rig, &[junk.to_str().unwrap(), "--model", "other", "--no-proof"]).await.unwrap_err().to_string();
    assert!(error.contains("no model that can be served"), "{error}");
    assert!(Cli::try_parse_from(["publish", "x", "--model", "m"]).is_err(), "golden rows are asked for");
}
