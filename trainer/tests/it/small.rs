//! A small made-up shop.

use headgate_contract::manifest::signature::Role;
use headgate_registry::VersionState;
use headgate_trainer::{Event, ModelResult, TrainArgs};

use crate::rig::{Rig, engine, library, shop};

#[tokio::test]
async fn the_same_inputs_are_the_same_version_and_force_makes_another() {
    if library("the_same_inputs_are_the_same_version_and_force_makes_another").is_none() {
        return;
    }
    let (rig, csv) = (Rig::new().await, shop(3000));
    let args = TrainArgs { promote: true, ..rig.args("shop", "bought") };
    let first = rig.train(args.clone(), csv.as_bytes()).await.unwrap();
    let made = first.models[0].published().unwrap();
    assert!(!made.existing && made.version.get() == 1 && first.is_success(), "{first:?}");
    assert!(made.metrics["auc"] > 0.6 && made.metrics["log_loss"] < 0.7, "{:?}", made.metrics);
    assert!(!made.calibration.is_empty());
    let notes = rig.notes();
    for words in ["'yes' is the positive class", "'day' is a date", "'code' has", "identifier"] {
        assert!(notes.contains(words), "{notes}");
    }
    assert!(rig.events.lock().unwrap().iter().any(|e| matches!(e, Event::Round { .. })));
    let (manifest, text) = rig.artifact(&first.models[0]).await;
    let names: Vec<&str> = manifest.signature.inputs.iter().map(|i| i.name.as_str()).collect();
    assert_eq!(names, ["price", "city", "member", "visits"]);
    assert_eq!(manifest.signature.outputs[0].classes, ["yes"]);
    assert_eq!(manifest.signature.outputs[1].role, Role::Margin);
    assert_eq!(manifest.golden.as_ref().unwrap().rows, 64);
    assert_eq!(manifest.statistics.len(), 4);
    assert_eq!(manifest.lineage.parameters["target"], "bought");
    assert_eq!(engine(&text).inputs(), 4);

    let again = rig.train(args.clone(), csv.as_bytes()).await.unwrap();
    let there = again.models[0].published().unwrap();
    assert!(there.existing && (there.version, there.digest) == (made.version, made.digest));
    assert!(again.is_success());

    let forced = rig.train(TrainArgs { force: true, ..args.clone() }, csv.as_bytes()).await.unwrap();
    assert_eq!(forced.models[0].published().unwrap().version.get(), 2);
    let (_, same) = rig.artifact(&forced.models[0]).await;
    assert!(same == text, "the same inputs gave other bytes");

    for (at, other) in [
        TrainArgs { seed: 1, ..args.clone() },
        TrainArgs { params: vec!["num_leaves=7".into()], ..args.clone() },
        TrainArgs { filter: Some("visits > 3".into()), ..args.clone() },
    ]
    .into_iter()
    .enumerate()
    {
        let other = rig.train(other, csv.as_bytes()).await.unwrap();
        assert_eq!(other.models[0].published().unwrap().version.get(), 3 + at as u64);
    }
}

#[tokio::test]
async fn threads_do_not_change_a_model() {
    if library("threads_do_not_change_a_model").is_none() {
        return;
    }
    let (rig, csv) = (Rig::new().await, shop(3000));
    let one = rig.train(rig.args("shop", "bought"), csv.as_bytes()).await.unwrap();
    let forced = TrainArgs { force: true, threads: Some(2), ..rig.args("shop", "bought") };
    let two = rig.train(forced, csv.as_bytes()).await.unwrap();
    assert!(rig.artifact(&one.models[0]).await.1 == rig.artifact(&two.models[0]).await.1);
}

#[tokio::test]
async fn scopes_are_trained_side_by_side_and_released_in_one_swap() {
    if library("scopes_are_trained_side_by_side_and_released_in_one_swap").is_none() {
        return;
    }
    let rig = Rig::new().await;
    let mut csv = shop(4000);
    csv += "2024-01-01,1.5,Tiny,true,3,id,yes\n2024-01-01,1.5,,true,3,id,yes\n";
    for row in 0..200 {
        csv += &format!("2024-01-01,{row}.5,Sure,true,3,id,yes\n");
    }
    let args = TrainArgs {
        scope_by: Some("city".into()),
        jobs: Some(2),
        promote: true,
        params: vec!["num_iterations=20".into()],
        ..rig.args("shop", "bought")
    };
    let report = rig.train(args.clone(), csv.as_bytes()).await.unwrap();
    let published: Vec<&str> =
        report.models.iter().filter(|m| m.published().is_some()).map(|m| m.scope.as_deref().unwrap()).collect();
    assert_eq!(published.len(), 4, "{report:?}");
    for scope in ["Berlin", "São Paulo", "admin.", "N'Djamena"] {
        assert!(published.contains(&scope));
    }
    for (scope, words) in [("Tiny", "1 rows"), ("Sure", "the same class")] {
        let model = report.models.iter().find(|m| m.scope.as_deref() == Some(scope)).unwrap();
        assert!(matches!(&model.result, ModelResult::Skipped { why } if why.contains(words)), "{model:?}");
    }
    assert!(report.notes.iter().any(|note| note == "1 rows have no scope: left out"));
    let release = report.release.clone().unwrap();
    assert_eq!((release.models, release.generation), (4, 1));
    let (manifest, _) = rig.artifact(report.models.iter().find(|m| m.published().is_some()).unwrap()).await;
    assert!(manifest.signature.inputs.iter().all(|input| input.name != "city"));
    assert!(manifest.lineage.scope.is_some());
    let again = rig.train(args, csv.as_bytes()).await.unwrap();
    assert!(again.models.iter().filter_map(|m| m.published()).all(|p| p.existing));
    assert!(!again.release.unwrap().changed);
}

#[tokio::test]
async fn a_scope_that_fails_holds_the_release_back_unless_told_to_go_on() {
    if library("a_scope_that_fails_holds_the_release_back_unless_told_to_go_on").is_none() {
        return;
    }
    let (rig, mut csv) = (Rig::new().await, shop(3000));
    let long = "x".repeat(130);
    for row in 0..150 {
        csv += &format!("2024-01-01,{row}.5,{long},true,3,id,{}\n", if row % 2 == 0 { "yes" } else { "no" });
    }
    let args = TrainArgs {
        scope_by: Some("city".into()),
        promote: true,
        params: vec!["num_iterations=5".into()],
        ..rig.args("shop", "bought")
    };
    let report = rig.train(args.clone(), csv.as_bytes()).await.unwrap();
    assert!(report.failed() == 1 && report.release.is_none() && !report.is_success(), "{report:?}");
    assert!(report.not_released.unwrap().contains("1 of 5 models failed"));
    let report = rig.train(TrainArgs { keep_going: true, ..args }, csv.as_bytes()).await.unwrap();
    assert_eq!(report.release.unwrap().models, 4);
}

#[tokio::test]
async fn classes_and_numbers_are_learnt_too() {
    if library("classes_and_numbers_are_learnt_too").is_none() {
        return;
    }
    let (rig, csv) = (Rig::new().await, shop(3000));
    let few = vec!["num_iterations=30".to_owned()];
    let classes = TrainArgs { params: few.clone(), ..rig.args("cities", "city") };
    let report = rig.train(classes, csv.as_bytes()).await.unwrap();
    let (manifest, _) = rig.artifact(&report.models[0]).await;
    let output = &manifest.signature.outputs[0];
    assert_eq!((output.name.as_str(), output.width), ("probabilities", 4));
    assert_eq!(output.classes, ["Berlin", "N'Djamena", "São Paulo", "admin."]);
    assert!(manifest.metrics.contains_key("log_loss") && manifest.metrics.contains_key("accuracy"));

    for objective in [None, Some("regression_l1"), Some("poisson"), Some("quantile")] {
        let numbers =
            TrainArgs { objective: objective.map(str::to_owned), params: few.clone(), ..rig.args("visits", "visits") };
        let report = rig.train(numbers, csv.as_bytes()).await.unwrap();
        let (manifest, _) = rig.artifact(&report.models[0]).await;
        assert_eq!(manifest.signature.outputs[0].name, "prediction", "{objective:?}");
        assert!(manifest.metrics.contains_key("rmse"));
    }
    for param in ["boosting=dart", "boosting=rf", "data_sample_strategy=goss", "objective=multiclassova"] {
        let mut params = few.clone();
        params.push(param.to_owned());
        if param.contains("rf") {
            params.extend(["bagging_freq=1".to_owned(), "bagging_fraction=0.7".to_owned()]);
        }
        let target = if param.contains("multiclass") { "city" } else { "bought" };
        let report = rig.train(TrainArgs { params, ..rig.args("kinds", target) }, csv.as_bytes()).await;
        assert!(report.as_ref().is_ok_and(|r| r.is_success()), "{param}: {report:?}");
    }
}

#[tokio::test]
async fn a_condition_that_does_not_hold_releases_nothing() {
    if library("a_condition_that_does_not_hold_releases_nothing").is_none() {
        return;
    }
    let (rig, csv) = (Rig::new().await, shop(2000));
    let args = TrainArgs { promote: true, condition: Some("auc >= 0.999".into()), ..rig.args("shop", "bought") };
    let report = rig.train(args, csv.as_bytes()).await.unwrap();
    assert!(report.not_released.is_some() && !report.is_success());
    let versions = headgate_registry::versions(&rig.store, &"shop".parse().unwrap()).await.unwrap();
    assert!(matches!(versions[0].state, VersionState::Complete { .. }));
}
