//! JSON of MLflow and SageMaker, and lines of CSV.

use super::*;

const FRAME: Form = Form::Frame { csv: false };

fn frame(body: impl ToString) -> Result<(Asked, Batch), Refusal> {
    read(FRAME, &bank(), &body.to_string())
}

fn csv(text: &str) -> Result<(Asked, Batch), Refusal> {
    read(Form::Csv(Lines::default()), &bank(), text)
}

fn lines(lines: Lines, text: &str) -> Result<(Asked, Batch), Refusal> {
    read(Form::Csv(lines), &bank(), text)
}

#[test]
fn every_form_of_a_frame_is_the_same_batch() {
    let expected = [["30.0", "1.0", "7.5"], ["31.0", "NaN", "NaN"]];
    let rows = json!([[30, "student", 7.5], [31, null, null]]);
    let records = json!([{"balance": 7.5, "age": 30, "job": "student"}, {"age": 31, "job": null, "balance": null}]);
    let columns = json!({"age": [30, 31], "job": ["student", null], "balance": [7.5, "NaN"]});
    let data = json!([[7.5, "x", 30, "student"], [null, "y", 31, null]]);
    let split = json!({"columns": ["balance", "new", "age", "job"], "index": [0, 1], "data": data});
    let late = format!(r#"{{"data": {data}, "index": [7], "columns": ["balance", "new", "age", "job"]}}"#);
    for body in [
        json!({"dataframe_split": split}).to_string(),
        format!(r#"{{"dataframe_split": {late}, "params": null}}"#),
        split.to_string(),
        late,
        json!({"dataframe_records": records, "params": {"a": 1}}).to_string(),
        json!({"instances": rows}).to_string(),
        json!({"instances": records}).to_string(),
        json!({"params": {}, "inputs": rows}).to_string(),
        json!({"inputs": columns}).to_string(),
        records.to_string(),
        rows.to_string(),
    ] {
        let (asked, batch) = frame(&body).unwrap();
        assert_eq!(super::rows(&batch), expected, "{body}");
        assert_eq!(asked.shape, Shape::Predictions);
        assert_eq!(asked.ignored.to_string(), if body.contains("new") { "new" } else { "" }, "{body}");
    }
    let (asked, batch) = read(Form::Frame { csv: true }, &bank(), r#"{"age": 1, "job": "admin."}"#).unwrap();
    assert_eq!(
        (super::rows(&batch), asked.shape),
        (vec![["1.0", "0.0", "5.0"].map(str::to_owned).to_vec()], Shape::Csv)
    );
}

#[test]
fn a_row_may_have_features_that_are_named_like_forms() {
    let schema = schema(vec![Input::numeric("data"), Input::numeric("inputs")]);
    let (_, batch) = read(FRAME, &schema, r#"{"inputs": 2, "data": 1}"#).unwrap();
    assert_eq!(rows(&batch), [["1.0", "2.0"]]);
    let (_, batch) = read(FRAME, &schema, r#"{"inputs": [[1, 2], [3, 4]]}"#).unwrap();
    assert_eq!(rows(&batch), [["1.0", "2.0"], ["3.0", "4.0"]]);
}

#[test]
fn parameters_stand_beside_the_rows() {
    for body in [
        json!({"params": {"contributions": true, "row_status": true}, "instances": [{"age": 1}, {"age": "x"}]}),
        json!({"dataframe_split": {"columns": ["age"], "data": [[1], ["x"]]},
               "parameters": {"contributions": true, "row_status": true}}),
        json!({"columns": ["age"], "data": [[1], ["x"]], "params": {"contributions": true, "row_status": true}}),
    ] {
        let (asked, batch) = frame(&body).unwrap();
        assert_eq!((asked.contributions, asked.rows, batch.rows()), (true, 2, 1), "{body}");
        assert_eq!(asked.faults.reason(1), Some("row 1, feature 'age': text \"x\" came, a number expected"));
    }
}

#[test]
fn what_is_wrong_with_a_frame_is_named() {
    let split = |split: Value| frame(json!({ "dataframe_split": split }));
    says(split(json!({"columns": ["age", "job"], "data": [[1, "a"], [2]]})), &["row 1", "1 values came, 2 expected"]);
    says(split(json!({"columns": ["age"], "data": [[1], [2, 3], 4]})), &["row 1: 2 values", "row 2: an array of 1"]);
    says(split(json!({"columns": ["age"], "data": [["x"]]})), &["row 0, feature 'age'", "text \"x\""]);
    says(split(json!({"columns": ["age", "age"], "data": []})), &["'age' is sent twice"]);
    says(split(json!({"columns": ["job"], "data": [["x"]]})), &["'age' is required and absent"]);
    says(split(json!({"columns": ["Age"], "data": [[1]]})), &["(Age) is known"]);
    says(split(json!({"columns": [["a", "b"]], "data": [[1]]})), &["the name at 0 is no text"]);
    says(split(json!({"columns": ["age"]})), &["'data' is missing"]);
    says(split(json!({"data": [[1]]})), &["'columns' is missing"]);
    says(split(json!({"columns": ["age"], "data": []})), &["no rows"]);
    says(split(json!([1])), &["'dataframe_split'", "an object with 'columns' and 'data'"]);
    says(frame(r#"{"columns": ["age"], "data": [[1]], "data": [[2]]}"#), &["'data' expected once"]);
    says(frame(r#"{"data": [[1]], "data": [[2]], "columns": ["age"]}"#), &["'data' expected once"]);
    says(frame(json!({"dataframe_records": {"age": 1}})), &["'dataframe_records': an array of rows"]);
    says(frame(json!({"instances": []})), &["no rows"]);
    says(frame(json!({"inputs": [[1, "x", 2]], "dataframe_records": [{"age": 1}]})), &["beside", "one of them"]);
    says(frame("{}"), &["an empty object came", "'dataframe_split'"]);
    says(frame("7"), &["'{' expected"]);
    says(frame(r#"{"instances": [[1, "a", 2]"#), &["ends too early"]);
    says(frame(r#"{"data": [[1]], "columns": ["age"]} x"#), &["more after"]);
    says(frame(format!("{{\"x\":{}", "[".repeat(10_000))), &["nesting deeper than 64"]);
    let strict = Bounds { strict: true, ..BOUNDS };
    let body = json!({"dataframe_split": {"columns": ["age", "new"], "data": [[1, 2]]}}).to_string();
    says(read_within(FRAME, &bank(), body.as_bytes(), strict), &["'new'", "strict"]);
    let many = json!({"columns": ["age"], "data": vec![[1]; 1001]}).to_string();
    assert_eq!(frame(many).unwrap_err().kind, Kind::TooLarge);
}

#[test]
fn lines_with_and_without_a_header() {
    let expected = [["30.0", "1.0", "7.5"], ["31.0", "NaN", "NaN"]];
    for text in [
        "30,student,7.5\n31,,\n",
        "30,student,7.5\r\n31,,",
        "\u{feff}30,\"student\",\"7.5\"\n\n31,\"\",\n\n",
        "\u{feff}age,job,balance\n30,student,7.5\n31,,NA\n",
        "balance,new,age,job\r\n 7.5 ,\"a\r\n\"\"b\"\"\",30,student\r\nNaN,,31,pirate\r\n",
        "age,job,balance\r30,student,7.5\r31,,\r",
    ] {
        let (asked, batch) = csv(text).unwrap();
        assert_eq!(rows(&batch), expected, "{text}");
        assert_eq!(asked.ignored.to_string(), if text.contains("new") { "new" } else { "" });
    }
    let (_, batch) = csv("age\n7\n").unwrap();
    assert_eq!(rows(&batch), [["7.0", "NaN", "5.0"]]);
}

#[test]
fn a_header_is_known_by_its_names() {
    let schema = schema(vec![Input::numeric("0"), Input::numeric("1"), Input::numeric("x")]);
    let read = |lines: Lines, text: &str| read(Form::Csv(lines), &schema, text).map(|(_, batch)| rows(&batch));
    let found = |text| read(Lines::default(), text).unwrap().len();
    assert_eq!((found("0,1,2\n3,4,5"), found("1,0,0\n3,4,5"), found("0,1,\n3,4,5")), (2, 2, 2));
    assert_eq!((found("0,1,x\n3,4,5"), found("x,7\n3,4"), found("1,0\n3,4"), found("0\n1")), (1, 1, 1, 1));
    let told = |header, text| read(Lines { header: Some(header), ..Lines::default() }, text);
    assert_eq!(told(false, "0,1,2").unwrap(), [["0.0", "1.0", "2.0"]]);
    assert_eq!(told(true, "1,0\n3,4").unwrap(), [["4.0", "3.0", "NaN"]]);
    assert!(told(true, "a,b\n3,4").unwrap_err().message.contains("none of the features sent (a,b) is known"));
}

#[test]
fn cells_mean_what_they_mean_to_a_trainer() {
    let inputs = vec![
        Input::numeric("x"),
        Input::categorical("code", ["3", "7.0", "True", "NA"].map(str::to_owned).to_vec()),
        Input { dtype: Dtype::Bytes, ..Input::numeric("text") },
    ];
    let text = "x,code,text\nTrue,3.0,3\nfalse,7,NA\n+.5,true,\"a,b\"\nNaN,NA,\nnull,,x\n-inf,?,x\nInfinity,x,x\n";
    let (_, batch) = read(Form::Csv(Lines::default()), &schema(inputs), text).unwrap();
    let column = |at: usize| batch.column(at).iter().map(|v| format!("{v}")).collect::<Vec<_>>().join(" ");
    assert_eq!(column(0), "1 0 0.5 NaN NaN -inf inf");
    assert_eq!(column(1), "0 1 2 3 NaN NaN NaN");
    let texts: Vec<_> = (0..7).map(|row| batch.text(row, 2)).collect();
    assert_eq!(texts, [Some("3"), Some("NA"), Some("a,b"), None, Some("x"), Some("x"), Some("x")]);
}

#[test]
fn what_is_wrong_with_lines_is_named() {
    says(csv("1,student,2\n1,student,x\n"), &["row 1, feature 'balance': text \"x\" came, a number expected"]);
    says(csv("1,student,2\n1,student\n1,a,b,c,d\n"), &["row 1: 2 cells came, 3 expected; row 2: 5 cells came"]);
    for number in ["1e999", "007", "0x1", "1 2", "infinity", "1,0"] {
        says(csv(&format!("age\n\"{number}\"\n")), &["row 0, feature 'age'", &format!("text \"{number}\" came")]);
    }
    says(csv("age,job,age\n1,a,2\n"), &["'age' is sent twice"]);
    says(csv("job,balance\na,2\n"), &["'age' is required and absent"]);
    says(csv("1,\"student,2\n2,student,3\n"), &["a quote that is not closed"]);
    says(csv(""), &["no rows"]);
    says(csv("age\n\n\n"), &["no rows"]);
    let latin = b"age,job\n1,S\xe3o\n";
    let read = read_within(Form::Csv(Lines::default()), &bank(), latin, BOUNDS);
    says(read, &["row 0, feature 'job'", "no UTF-8"]);
    let wide = ",".repeat(LINE_CELLS);
    says(lines(Lines { header: Some(true), ..Lines::default() }, &wide), &["the header has", "at most"]);
    says(csv(&wide), &["row 0", "cells came, 3 expected"]);
    assert_eq!(csv(&"1,a,2\n".repeat(1001)).unwrap_err().kind, Kind::TooLarge);
}

const LINE_CELLS: usize = 300_000;

#[test]
fn malformed_lines_fail_alone() {
    let text = "1,student,2\n1,student\nx,student,2\n3,student,4\n";
    let (asked, batch) = lines(Lines { row_status: true, reply: true, ..Lines::default() }, text).unwrap();
    assert_eq!((asked.rows, batch.column(0), asked.shape), (4, &[1.0, 3.0][..], Shape::Csv));
    assert_eq!(asked.faults.reason(1), Some("row 1: 2 cells came, 3 expected"));
    assert_eq!(asked.faults.reason(2), Some("row 2, feature 'age': text \"x\" came, a number expected"));
}

/// A cell as `csv` writes it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

proptest! {
    #[test]
    fn frames_and_lines_give_what_rows_give(table in table(), header in any::<bool>(), crlf in any::<bool>()) {
        let schema = bank();
        let rows: Vec<Value> = table.iter().map(|r| json!([r.0, r.1.map(job), r.2])).collect();
        let (_, expected) = read(Form::V1, &schema, &json!({ "instances": rows }).to_string()).unwrap();
        let split = json!({"dataframe_split": {
            "data": table.iter().map(|r| json!([r.2, r.0, r.1.map(job)])).collect::<Vec<_>>(),
            "columns": ["balance", "age", "job"]
        }});
        let records: Vec<Value> =
            table.iter().map(|r| json!({"age": r.0, "job": r.1.map(job), "balance": r.2})).collect();
        let end = if crlf { "\r\n" } else { "\n" };
        let mut text = if header { format!("balance,job,age{end}") } else { String::new() };
        for (age, known, balance) in &table {
            let age = age.map_or(String::new(), |age| format!("{age:?}"));
            let job = known.map_or(String::new(), |known| quoted(job(known)));
            let (first, last) = if header { (format!("{balance:?}"), age) } else { (age, format!("{balance}")) };
            text += &format!("{first},{job},{last}{end}");
        }
        for (form, body) in [
            (FRAME, split.to_string()),
            (FRAME, json!({ "dataframe_records": records }).to_string()),
            (FRAME, Value::from(records).to_string()),
            (Form::Csv(Lines::default()), text),
        ] {
            let (_, batch) = read(form, &schema, &body).unwrap();
            prop_assert_eq!(super::rows(&batch), super::rows(&expected), "{}", body);
        }
    }

    #[test]
    fn no_mutated_lines_panic(table in table(), edits in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..8), 1..8)) {
        let mut text = b"age,job,balance\n".to_vec();
        table.iter().for_each(|r| text.extend(format!("{:?},{},{}\n", r.0, quoted("a\"b,\n"), r.2).bytes()));
        for (at, byte) in edits {
            let at = at.index(text.len());
            text[at] = b"\",\r\n\xff0e."[byte];
        }
        let form = Form::Csv(Lines { row_status: true, ..Lines::default() });
        if let Ok((asked, batch)) = read_within(form, &bank(), &text, BOUNDS) {
            prop_assert_eq!(asked.rows, batch.rows() + asked.faults.len());
        }
    }
}
