#![allow(clippy::unwrap_used)]

use headgate_contract::manifest::signature::Role;
use headgate_contract::manifest::{Cell, Dtype, Input, Output, Signature};
use headgate_contract::{Digest, Kind, Version};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

mod arrow;
mod frames;
mod protobuf;

fn signature(inputs: Vec<Input>) -> Signature {
    let output = |name: &str, role| Output { name: name.into(), role, dtype: Dtype::Fp64, width: 1, classes: vec![] };
    Signature { inputs, outputs: vec![output("probability", Role::Value), output("margin", Role::Margin)] }
}

fn bank() -> Schema {
    let jobs = vec!["admin.".to_owned(), "student".to_owned()];
    let inputs = vec![
        Input { required: true, ..Input::numeric("age") },
        Input::categorical("job", jobs),
        Input { default: Some(Cell::Number(5.0)), ..Input::numeric("balance") },
    ];
    schema(inputs)
}

fn schema(inputs: Vec<Input>) -> Schema {
    Schema::new("bank".parse().unwrap(), Version::FIRST, Digest::of(""), &signature(inputs)).unwrap()
}

const V2: Form = Form::V2 { json_bytes: None };
const BOUNDS: Bounds = Bounds { rows_max: 1000, strict: false };

fn read(form: Form, schema: &Schema, body: &str) -> Result<(Asked, Batch), Refusal> {
    read_within(form, schema, body.as_bytes(), BOUNDS)
}

fn read_within(form: Form, schema: &Schema, body: &[u8], bounds: Bounds) -> Result<(Asked, Batch), Refusal> {
    let mut batch = Batch::default();
    let asked = decode(form, body, schema, bounds, &mut Staging::default(), &mut batch)?;
    Ok((asked, batch))
}

fn rows(batch: &Batch) -> Vec<Vec<String>> {
    (0..batch.rows()).map(|r| (0..batch.columns()).map(|c| format!("{:?}", batch.column(c)[r])).collect()).collect()
}

fn v1(body: Value) -> Result<(Asked, Batch), Refusal> {
    read(Form::V1, &bank(), &body.to_string())
}

fn v2(inputs: Value) -> Result<(Asked, Batch), Refusal> {
    read(V2, &bank(), &json!({ "inputs": inputs }).to_string())
}

fn says(result: Result<(Asked, Batch), Refusal>, words: &[&str]) {
    let error = result.map(|(_, batch)| rows(&batch)).unwrap_err();
    assert_eq!(error.kind, Kind::InvalidRequest);
    for word in words {
        assert!(error.message.contains(word), "'{word}' is not in: {error}");
    }
}

#[test]
fn v1_rows_as_arrays_objects_and_columns_are_the_same_batch() {
    let expected = [["30.0", "1.0", "7.5"], ["31.0", "NaN", "NaN"]];
    for body in [
        json!({"instances": [[30, "student", 7.5], [31, "pirate", null]]}),
        json!({"signature_name": "x", "instances": [{"balance": 7.5, "age": 30, "job": "student"}, {"age": 31, "job": null, "balance": "NaN"}]}),
        json!({"inputs": {"job": [["student"], ["x"]], "age": [30, 31], "balance": [7.5, null]}}),
        json!({"inputs": [[30, "student", 7.5], [31, null, null]]}),
    ] {
        let (asked, batch) = v1(body.clone()).unwrap();
        assert_eq!(rows(&batch), expected, "{body}");
        assert!(asked.ignored.is_empty());
        assert_eq!(asked.shape == Shape::Columns, body["inputs"].is_object());
    }
}

#[test]
fn absent_features_get_defaults_or_are_missing_or_required() {
    let (_, batch) = v1(json!({"instances": [{"age": 1}]})).unwrap();
    assert_eq!(rows(&batch), [["1.0", "NaN", "5.0"]]);
    let (_, batch) = v2(json!([{"name": "age", "shape": [1], "datatype": "INT64", "data": [1]}])).unwrap();
    assert_eq!(rows(&batch), [["1.0", "NaN", "5.0"]]);
    says(v1(json!({"instances": [{"age": 1}, {"job": "student"}]})), &["'bank'", "row 1", "'age'", "required"]);
    says(v2(json!([{"name": "job", "shape": [1], "datatype": "BYTES", "data": ["x"]}])), &["'age'", "required"]);
}

#[test]
fn v2_tensors_flat_nested_in_any_order_of_keys() {
    let expected = [["1.0", "0.0", "5.0"], ["2.0", "1.0", "5.0"]];
    let job = json!({"name": "job", "shape": [2, 1], "datatype": "BYTES", "data": [["admin."], ["student"]]});
    for age in [
        r#"{"name":"age","shape":[2],"datatype":"FP64","data":[1,2]}"#,
        r#"{"data":[1,2],"name":"age","shape":[2],"datatype":"FP32","parameters":{"a":[{}]}}"#,
        r#"{"name":"age","datatype":"INT8","data":[[1],[2]],"shape":[2,1]}"#,
    ] {
        let body =
            format!(r#"{{"parameters":{{}},"id":"a\"b","inputs":[{job},{age}],"outputs":[{{"name":"margin"}}]}}"#);
        let (asked, batch) = read(V2, &bank(), &body).unwrap();
        assert_eq!(rows(&batch), expected, "{body}");
        let wanted = [Wanted { output: 1, binary: None }];
        assert_eq!((asked.id.as_deref(), asked.outputs.as_deref()), (Some("a\"b"), Some(&wanted[..])));
    }
    let (_, batch) = v2(
        json!([{"name": "rows", "shape": [2, 3], "datatype": "BYTES", "data": [[1, "admin.", 5], [2, "student", 5]]}]),
    )
    .unwrap();
    assert_eq!(rows(&batch), expected);
    let (_, batch) =
        v2(json!([{"name": "rows", "shape": [2, 3], "datatype": "BYTES", "data": [1, "admin.", 5, 2, "student", 5]}]))
            .unwrap();
    assert_eq!(rows(&batch), expected);
}

#[test]
fn contributions_are_asked_for_by_a_parameter() {
    let age = r#"{"name":"age","shape":[1],"datatype":"FP64","data":[1]}"#;
    let with = |parameters: &str| {
        let v1 = format!(r#"{{"parameters":{parameters},"instances":[{{"age":1}}]}}"#);
        let v2 = format!(r#"{{"inputs":[{age}],"parameters":{parameters}}}"#);
        [read(Form::V1, &bank(), &v1), read(V2, &bank(), &v2)]
    };
    for (parameters, asked) in [
        (r#"{"contributions":true}"#, true),
        (r#"{"a":[{"contributions":1}],"contributions":true,"b":null}"#, true),
        (r#"{"contributions":false}"#, false),
        ("{}", false),
        ("null", false),
    ] {
        for read in with(parameters) {
            assert_eq!(read.unwrap().0.contributions, asked, "{parameters}");
        }
    }
    for parameters in ["[true]", "7"] {
        for read in with(parameters) {
            says(read, &["'parameters': an object expected"]);
        }
    }
    for (wrong, came) in
        [("\"true\"", "text \"true\""), ("1", "1 came"), ("null", "null"), ("[true]", "an array"), ("{}", "an object")]
    {
        for read in with(&format!(r#"{{"contributions":{wrong}}}"#)) {
            says(read, &["'contributions'", came, "true or false expected"]);
        }
    }
}

#[test]
fn what_is_wrong_is_named() {
    let wrong = |row: usize| {
        let mut list = vec![json!([1, "student", 2]); 10];
        list[row] = json!([1, "student", "2"]);
        v1(json!({ "instances": list }))
    };
    says(wrong(7), &["model 'bank' version 1", "row 7", "'balance'", "text \"2\" came", "a number expected"]);
    says(v1(json!({"instances": [[1, "student", [2]]]})), &["row 0", "'balance'", "an array came"]);
    says(v1(json!({"instances": [[1, {"a": 1}, 2]]})), &["row 0", "'job'", "an object came"]);
    says(v1(json!({"instances": [[1, 2, 3], [1, 2]]})), &["row 1", "2 values came, 3 expected"]);
    says(v1(json!({"instances": [[1, 2, 3, 4]]})), &["row 0", "4 values came, 3 expected"]);
    says(v1(json!({"instances": [1]})), &["row 0", "a single value came"]);
    says(v1(json!({"instances": []})), &["no rows"]);
    says(v1(json!({"instances": 1})), &["'instances'", "array"]);
    says(v1(json!({"rows": []})), &["'instances' is missing"]);
    says(v1(json!({"inputs": {"age": [1, 2], "job": ["a"]}})), &["'job' has 1 rows", "'age' has 2"]);
    says(v1(json!({"inputs": {"age": [[1, 2]]}})), &["row 0", "'age'", "one value"]);
    let tensor = |shape: Value, datatype: &str, data: Value| {
        v2(json!([{"name": "age", "shape": shape, "datatype": datatype, "data": data}]))
    };
    says(tensor(json!([3]), "FP64", json!([1, 2])), &["'age'", "2 values", "[3]"]);
    says(tensor(json!([1]), "FP64", json!([1, 2])), &["'age'", "more than 1 values"]);
    says(tensor(json!([2, 1]), "FP64", json!([[1, 2]])), &["'age'", "row 0", "more than 1"]);
    says(tensor(json!([0, 3]), "FP64", json!([[1]])), &["more than"]);
    says(tensor(json!([2, 1]), "FP64", json!([[1], []])), &["'age'", "row 1", "0 values"]);
    says(tensor(json!([2, 2]), "FP64", json!([1, 2, 3, 4])), &["'age'", "[2, 2]", "[n, 3]"]);
    says(tensor(json!([-1]), "FP64", json!([])), &["'shape'"]);
    says(tensor(json!([1]), "BYTES", json!(["1"])), &["'age'", "BYTES", "FP64 expected"]);
    says(tensor(json!([1]), "DECIMAL", json!([1])), &["'DECIMAL'"]);
    says(tensor(json!([1]), "FP64", json!(["x"])), &["row 0", "'age'", "text \"x\""]);
    says(v2(json!([{"name": "age", "shape": [1]}])), &["'age'", "no 'data'"]);
    says(v2(json!([{"data": [1]}])), &["no 'name'"]);
    says(v2(json!([{"name": "age", "data": [1]}])), &["'age'", "'shape' and 'datatype'"]);
    let age = json!({"name": "age", "shape": [1], "datatype": "FP64", "data": [1]});
    says(v2(json!([age, age])), &["'age' is sent twice"]);
    let body = json!({"inputs": [age], "outputs": [{"name": "score"}]}).to_string();
    says(read(V2, &bank(), &body), &["'score'", "'probability', 'margin'"]);
    says(read(Form::V1, &bank(), "{\"instances\":[[1,\"a\",2]"), &["ends too early"]);
    says(read(Form::V1, &bank(), r#"{"instances":[{"age":1,"age":2}]}"#), &["row 0", "'age' is sent twice"]);
    let deep = format!("{{\"parameters\":{{\"x\":{}", "[".repeat(10_000));
    says(read(V2, &bank(), &deep), &["nesting deeper than 64"]);
    let deep = format!("{{\"instances\":{}", "[".repeat(10_000));
    says(read(Form::V1, &bank(), &deep), &["nesting deeper than 64"]);
}

#[test]
fn unknown_features_are_ignored_and_named_or_refused() {
    let body = json!({"instances": [{"new": {"a": [1]}, "age": 1}, {"age": 2, "other": 1, "new": 2}]});
    let (asked, batch) = v1(body.clone()).unwrap();
    assert_eq!(batch.column(0), [1.0, 2.0]);
    assert_eq!((asked.ignored.to_string().as_str(), asked.ignored.values()), ("new,other", 3));
    let strict = Bounds { strict: true, ..BOUNDS };
    says(read_within(Form::V1, &bank(), body.to_string().as_bytes(), strict), &["'new'", "strict"]);
    says(v1(json!({"instances": [{"Age": 1}]})), &["'age'"]);
    let all_optional = schema(vec![Input::numeric("x")]);
    let unknown = json!({"instances": [{"y": 1}]}).to_string();
    says(read(Form::V1, &all_optional, &unknown), &["none of the features sent (y) is known", "'x'"]);
    let (_, batch) = read(Form::V1, &all_optional, r#"{"instances":[{}]}"#).unwrap();
    assert_eq!(rows(&batch), [["NaN"]]);
}

#[test]
fn rows_are_bounded_and_nothing_is_allocated_for_a_claim() {
    let single = schema(vec![Input::numeric("x")]);
    let body = format!(r#"{{"instances":[{}1]}}"#, "1,".repeat(1000));
    assert_eq!(read(Form::V1, &single, &body).unwrap_err().kind, Kind::TooLarge);
    let body = r#"{"inputs":[{"name":"x","shape":[999999999999999],"datatype":"FP64","data":[1]}]}"#;
    assert_eq!(read(V2, &single, body).unwrap_err().kind, Kind::TooLarge);
    let wide = schema((0..5000).map(|n| Input::numeric(format!("f{n}"))).collect());
    let body = format!(r#"{{"instances":[{}{{}}]}}"#, "{},".repeat(9999));
    let bounds = Bounds { rows_max: 100_000, strict: false };
    assert_eq!(read_within(Form::V1, &wide, body.as_bytes(), bounds).unwrap_err().kind, Kind::TooLarge);
}

#[test]
fn a_model_with_one_feature_takes_single_values_and_words() {
    let body = r#"{"instances":[1, null, NaN, "NaN", Infinity, "-Infinity", true]}"#;
    let (_, batch) = read(Form::V1, &schema(vec![Input::numeric("x")]), body).unwrap();
    let written: Vec<String> = batch.column(0).iter().map(|v| format!("{v:?}")).collect();
    assert_eq!(written, ["1.0", "NaN", "NaN", "NaN", "inf", "-inf", "1.0"]);
}

fn table() -> impl Strategy<Value = Vec<(Option<f64>, Option<bool>, f64)>> {
    let age = proptest::option::of(any::<f64>().prop_filter("finite", |v| v.is_finite()));
    proptest::collection::vec((age, proptest::option::of(any::<bool>()), -1e6..1e6f64), 1..20)
}

fn job(known: bool) -> &'static str {
    if known { "student" } else { "unheard of" }
}

proptest! {
    #[test]
    fn every_form_gives_what_serde_json_reads(table in table(), pretty in any::<bool>()) {
        let schema = bank();
        let jobs: Vec<Value> = table.iter().map(|r| r.1.map_or(Value::Null, |k| job(k).into())).collect();
        let ages: Vec<Value> = table.iter().map(|r| json!(r.0)).collect();
        let balances: Vec<Value> = table.iter().map(|r| json!(r.2)).collect();
        let row = |at: usize| json!([ages[at], jobs[at], balances[at]]);
        let object = |at: usize| json!({"job": jobs[at], "balance": balances[at], "age": ages[at]});
        let n = table.len();
        let forms = [
            (Form::V1, json!({"instances": (0..n).map(row).collect::<Vec<_>>()})),
            (Form::V1, json!({"instances": (0..n).map(object).collect::<Vec<_>>()})),
            (Form::V1, json!({"inputs": {"age": ages, "job": jobs, "balance": balances}})),
            (V2, json!({"inputs": [
                {"name": "job", "shape": [n], "datatype": "BYTES", "data": jobs},
                {"name": "balance", "shape": [n, 1], "datatype": "FP64", "data": balances},
                {"name": "age", "shape": [n], "datatype": "FP64", "data": ages}]})),
            (V2, json!({"inputs": [
                {"name": "all", "shape": [n, 3], "datatype": "FP64", "data": (0..n).map(row).collect::<Vec<_>>()}]})),
        ];
        let expected: Vec<[u64; 3]> = table.iter().map(|r| {
            let job = if r.1 == Some(true) { 1.0 } else { f64::NAN };
            [r.0.unwrap_or(f64::NAN).to_bits(), job.to_bits(), r.2.to_bits()]
        }).collect();
        for (form, body) in forms {
            let text = if pretty { serde_json::to_string_pretty(&body) } else { serde_json::to_string(&body) }.unwrap();
            let (_, batch) = read(form, &schema, &text).unwrap();
            let got: Vec<[u64; 3]> =
                (0..n).map(|r| std::array::from_fn(|c| batch.column(c)[r].to_bits())).collect();
            prop_assert_eq!(&got, &expected, "{}", text);
        }
    }

    #[test]
    fn no_mutated_body_panics(
        table in table(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..3), 1..6),
        v2 in any::<bool>(),
    ) {
        let n = table.len();
        let rows: Vec<Value> = table.iter().map(|r| json!([r.0, r.1.map(job), r.2])).collect();
        let objects: Vec<Value> = table.iter().map(|r| json!({"age": r.0, "job": r.1.map(job), "new": [r.2]})).collect();
        let body = if v2 {
            json!({"id": "x", "inputs": [{"name": "all", "shape": [n, 3], "datatype": "FP64", "data": rows}], "outputs": [{"name": "margin"}]})
        } else {
            json!({"instances": objects})
        };
        let mut bytes = body.to_string().into_bytes();
        for (at, byte, how) in edits {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => { bytes.remove(at); }
                _ => bytes.insert(at, b"[]{},:\"0-e.nN\\"[usize::from(byte) % 14]),
            }
            if bytes.is_empty() { break; }
        }
        for form in [Form::V1, V2] {
            if let Ok((_, batch)) = read_within(form, &bank(), &bytes, BOUNDS) {
                prop_assert!(batch.rows() > 0 && batch.columns() == 3);
            }
        }
    }
}

#[test]
fn rows_fail_alone_where_that_is_asked_for() {
    let bad = json!([
        {"age": 1}, {"age": "x"}, {"job": "student"}, {"age": [1]}, {"age": 2, "balance": {"a": [1]}}, [1, "student", 3],
        [1, 2], [1, "student", 3, [4]], 7, {"age": 3}
    ]);
    let status = json!({"row_status": true});
    for body in [json!({"instances": bad, "parameters": status}), json!({"parameters": status, "instances": bad})] {
        let (asked, batch) = v1(body).unwrap();
        assert_eq!((asked.rows, asked.faults.len(), batch.column(0)), (10, 7, &[1.0, 1.0, 3.0][..]));
        let why = |row| asked.faults.reason(row).unwrap();
        assert_eq!(why(1), "row 1, feature 'age': text \"x\" came, a number expected");
        assert_eq!(why(2), "row 2: feature 'age' is required and absent");
        assert_eq!(why(3), "row 3, feature 'age': an array came, a number expected");
        assert_eq!(why(4), "row 4, feature 'balance': an object came, a number expected");
        assert!(
            why(6).contains("2 values came") && why(7).contains("4 values came") && why(8).contains("single value")
        );
    }
    let columns = json!({"inputs": {"age": [1, "x", [2], [3, 4]], "balance": [null, 1, 2, 3]}, "parameters": status});
    let (asked, batch) = v1(columns).unwrap();
    assert_eq!((asked.faults.reason(3).is_some(), batch.column(0)), (true, &[1.0, 2.0][..]));
    let inputs = json!([{"name": "age", "shape": [3], "datatype": "FP64", "data": [1, "x", 3]}]);
    let (asked, batch) = read(V2, &bank(), &json!({"inputs": inputs, "parameters": status}).to_string()).unwrap();
    assert_eq!((asked.faults.len(), batch.column(0)), (1, &[1.0, 3.0][..]));
    says(v1(json!({"instances": bad})), &["row 1, feature 'age'", "row 2: feature 'age'", "row 3", "and 4 rows more"]);
}

#[test]
fn a_call_whose_rows_all_fail_is_still_answered() {
    let (asked, batch) = v1(json!({"instances": [{"age": "x"}], "parameters": {"row_status": true}})).unwrap();
    assert_eq!((asked.rows, asked.faults.len(), batch.rows()), (1, 1, 0));
}
