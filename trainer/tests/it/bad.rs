//! What users get wrong: each is told in words that name it, and nothing is published.

use headgate_trainer::{Source, TrainArgs, train_sources};

use crate::rig::{Rig, library, shop};

#[tokio::test]
async fn wrong_options_are_refused_in_words() {
    if library("wrong_options_are_refused_in_words").is_none() {
        return;
    }
    let (rig, csv) = (Rig::new().await, shop(500));
    let base = rig.args("shop", "bought");
    let param = |text: &str| TrainArgs { params: vec![text.to_owned()], ..base.clone() };
    let own = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    for (args, words) in [
        (rig.args("shop", "bougth"), "no column 'bougth'; 'bought' is there"),
        (param("num_leafs=3"), "is one"),
        (param("num_leaves=1"), "num_leaves"),
        (param("learning_rate=fast"), "learning_rate"),
        (param("num_leaves"), "K=V"),
        (param("seed=3"), "--seed"),
        (TrainArgs { filter: Some("visits >".into()), ..base.clone() }, "at character 9"),
        (TrainArgs { filter: Some("visits > 1000".into()), ..base.clone() }, "none of 500 rows"),
        (TrainArgs { filter: Some("bought == 'yes'".into()), ..base.clone() }, "the same class, 'yes'"),
        (TrainArgs { filter: Some("visits == 3 and price < 100".into()), ..base.clone() }, "at least 100 expected"),
        (TrainArgs { scope_by: Some("town".into()), ..base.clone() }, "no column 'town'"),
        (TrainArgs { numeric: own(&["city"]), ..base.clone() }, "it can't be numeric"),
        (
            TrainArgs { ignore: own(&["price", "city", "member", "visits", "code", "day"]), ..base.clone() },
            "no feature",
        ),
        (TrainArgs { objective: Some("lambdarank".into()), ..base.clone() }, "not trained here"),
        (TrainArgs { positive: Some("maybe".into()), ..base.clone() }, "neither 'no' nor 'yes'"),
        (TrainArgs { promote: true, condition: Some("auc >".into()), ..base.clone() }, "auc"),
        (TrainArgs { lightgbm: Some("/nowhere/lib.so".into()), ..base.clone() }, "/nowhere/lib.so"),
    ] {
        let error = rig.train(args.clone(), csv.as_bytes()).await.unwrap_err().to_string();
        assert!(error.contains(words), "{args:?}: {error}");
    }
    assert!(headgate_registry::models(&rig.store).await.unwrap().is_empty());
}

#[tokio::test]
async fn wrong_data_is_refused_in_words() {
    if library("wrong_data_is_refused_in_words").is_none() {
        return;
    }
    let rig = Rig::new().await;
    let args = rig.args("shop", "y");
    let rows = |row: &str| format!("x,y\n{}", format!("{row}\n").repeat(300));
    for (csv, words) in [
        (String::new(), "empty"),
        ("x,y\n".to_owned(), "no rows"),
        ("x,y\n1,2\n1\n".to_owned(), "line 3: 1 cells"),
        ("x,y,x\n1,2,3\n".to_owned(), "'x' is there twice"),
        (rows("1,"), "none of 300 rows has a value"),
        (rows("1,7"), "the same value, 7"),
        ("x,y\n1,0\n".to_owned() + &"1,1\n2,0\n".repeat(20), "at least 100"),
    ] {
        let error = rig.train(args.clone(), csv.as_bytes()).await.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    for (uri, words) in
        [("/nowhere/x.csv", "/nowhere/x.csv"), ("/nowhere/*.csv", "no file"), ("gs://bucket/x.csv", "gs://bucket")]
    {
        let sources = vec![Source::Uri(uri.to_owned())];
        let error = train_sources(args.clone(), sources, rig.context()).await.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[tokio::test]
async fn an_all_missing_column_is_left_out_and_files_are_read_by_glob_and_url() {
    if library("an_all_missing_column_is_left_out_and_files_are_read_by_glob_and_url").is_none() {
        return;
    }
    let rig = Rig::new().await;
    let with_gap = |csv: &str| -> String {
        let mut lines = csv.lines();
        let header = lines.next().unwrap().to_owned() + ",gap\n";
        header + &lines.map(|line| line.to_owned() + ",NA\n").collect::<String>()
    };
    std::fs::write(rig.dir.path().join("1.csv"), with_gap(&shop(600))).unwrap();
    std::fs::write(rig.dir.path().join("2.csv"), with_gap(&shop(300))).unwrap();
    let dir = rig.dir.path().display();
    let mut versions = Vec::new();
    for uri in [format!("{dir}/*.csv"), format!("file://{dir}/*.csv"), format!("{dir}")] {
        let args = TrainArgs { data: vec![uri], ..rig.args("shop", "bought") };
        let report = headgate_trainer::train::train(args, rig.context()).await.unwrap();
        versions.push(report.models[0].published().unwrap().version);
    }
    assert!(versions.iter().all(|v| *v == versions[0]), "the same bytes are the same build");
    assert!(rig.notes().contains("column 'gap' has no value in any row"));
}
