//! The bank's calls: 45,211 real rows, whole and by job, compared with LightGBM itself.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use headgate_contract::manifest::Signature;
use headgate_contract::manifest::golden::ulps;
use headgate_engine::Batch;
use headgate_trainer::data::{self, Body, Input};
use headgate_trainer::lightgbm::{Library, Matrix};
use headgate_trainer::split::split;
use headgate_trainer::table::{Table, Values};
use headgate_trainer::{ModelReport, TrainArgs};

use crate::rig::{Rig, engine, library, score};

fn bank(test: &str) -> Option<Vec<u8>> {
    let dir = std::env::var_os("HEADGATE_DATA")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data")), PathBuf::from);
    let path = dir.join("bank-marketing.csv.gz");
    match std::fs::read(&path) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "skipped: {test}: {}: {error}", path.display());
            None
        }
    }
}

/// Values of held-out rows as numbers, by the signature alone, as a caller's would be decoded.
fn columns(table: &Table, signature: &Signature, rows: &[u32]) -> Matrix {
    let mut matrix = Matrix { rows: rows.len(), columns: signature.inputs.len(), data: Vec::new() };
    for input in &signature.inputs {
        let column = table.column(&input.name).unwrap();
        for row in rows.iter().map(|row| *row as usize) {
            matrix.data.push(match (&column.values, &input.categories) {
                (Values::Number(_, values), None) => values[row],
                (Values::Text(texts), Some(categories)) => {
                    let place = texts.get(row).and_then(|text| categories.iter().position(|c| c == text));
                    place.map_or(f64::NAN, |place| place as f64)
                }
                other => panic!("{}: {other:?}", input.name),
            });
        }
    }
    matrix
}

/// Compares a version with LightGBM on rows: margins to the bit, outputs within two units in the last place.
async fn compare(rig: &Rig, library: &Library, table: &Table, model: &ModelReport, rows: &[u32]) -> u64 {
    let (manifest, text) = rig.artifact(model).await;
    let matrix = columns(table, &manifest.signature, rows);
    let booster = library.load(std::str::from_utf8(&text).unwrap()).unwrap();
    let (margins, outputs) = (booster.margins(&matrix).unwrap(), booster.outputs(&matrix).unwrap());
    let mut batch = Batch::new(matrix.columns, matrix.rows);
    for column in 0..matrix.columns {
        batch.column_mut(column).copy_from_slice(&matrix.data[column * matrix.rows..][..matrix.rows]);
    }
    let ours = score(engine(&text).as_ref(), &batch);
    for (row, (ours, theirs)) in ours.margins.iter().zip(&margins).enumerate() {
        assert_eq!(ours.to_bits(), theirs.to_bits(), "{}: margin of row {row}: {ours:?} and {theirs:?}", model.model);
    }
    let far = ours.values.iter().zip(&outputs).map(|(a, b)| ulps(*a, *b)).max().unwrap();
    assert!(far <= 2, "{}: outputs {far} units apart", model.model);
    far
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_versions_and_every_job_score_as_lightgbm_does() {
    let test = "two_versions_and_every_job_score_as_lightgbm_does";
    let (Some(library), Some(bytes)) = (library(test), bank(test)) else { return };
    let rig = Rig::new().await;
    let input = Input { uri: "bank".to_owned(), body: Body::Bytes(bytes.clone().into()) };
    let table = data::read(&[input]).unwrap().table;
    let all: Vec<u32> = (0..table.rows as u32).collect();
    let held_out = split(&all, 0).test;

    let begun = Instant::now();
    let first = rig.train(TrainArgs { promote: true, ..rig.args("bank", "y") }, &bytes).await.unwrap();
    println!("first version: {:?} in {:?}", first.models[0].published().unwrap().metrics, begun.elapsed());
    let params = vec!["num_leaves=15".to_owned(), "learning_rate=0.1".to_owned()];
    let args =
        TrainArgs { params, promote: true, condition: Some("auc >= stable - 0.005".into()), ..rig.args("bank", "y") };
    let second = rig.train(args, &bytes).await.unwrap();
    for (at, report) in [&first, &second].into_iter().enumerate() {
        let made = report.models[0].published().unwrap();
        assert!(made.metrics["auc"] > 0.925 && made.metrics["calibration_error"] < 0.03, "{:?}", made.metrics);
        assert_eq!(made.version.get(), at as u64 + 1);
        assert!(report.is_success(), "{report:?}");
        let far = compare(&rig, &library, &table, &report.models[0], &held_out[..1000]).await;
        println!("version {}: 1000 margins to the bit, outputs within {far} units in the last place", made.version);
    }

    let begun = Instant::now();
    let params = vec!["num_iterations=100".to_owned()];
    let args =
        TrainArgs { scope_by: Some("job".into()), jobs: Some(2), promote: true, params, ..rig.args("bank", "y") };
    let scoped = rig.train(args, &bytes).await.unwrap();
    println!("{} jobs in {:?}", scoped.models.len(), begun.elapsed());
    assert_eq!((scoped.models.len(), scoped.release.as_ref().unwrap().models), (12, 12));
    let jobs = table.column("job").unwrap();
    for model in &scoped.models {
        let scope = model.scope.as_deref();
        let rows: Vec<u32> =
            held_out.iter().copied().filter(|row| jobs.text(*row as usize).as_deref() == scope).take(100).collect();
        compare(&rig, &library, &table, model, &rows).await;
    }
}
