#![allow(clippy::unwrap_used)]
use headgate_contract::manifest::{Cell, Dtype, Input};
use headgate_contract::route::Choice;
use headgate_contract::{Digest, Version};
use headgate_engine::Batch;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::decode::{Bounds, Form, Staging, decode};
use crate::refusal::Refusal;
use crate::schema::Schema;

fn output(name: &str, role: Role, dtype: Dtype, width: usize) -> Output {
    Output { name: name.into(), role, dtype, width, classes: vec![] }
}

fn signature(inputs: Vec<Input>) -> Signature {
    Signature {
        inputs,
        outputs: vec![output("p", Role::Value, Dtype::Fp64, 1), output("m", Role::Margin, Dtype::Fp64, 1)],
    }
}

fn schemas(signature: &Signature, strict: bool, explained: Option<usize>) -> Value {
    Subject { signature, strict, explained }.schemas()
}

fn read(signature: &Signature, strict: bool, body: &Value) -> Result<usize, Refusal> {
    let schema = Schema::new("m".parse().unwrap(), Version::FIRST, Digest::of(""), signature).unwrap();
    let bounds = Bounds { rows_max: 1000, strict };
    let mut batch = Batch::default();
    decode(Form::V1, body.to_string().as_bytes(), &schema, bounds, &mut Staging::default(), &mut batch)
        .map(|asked| asked.rows)
}

#[test]
fn features_are_typed_properties() {
    let texts = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<String>>();
    let signature = signature(vec![
        Input { required: true, ..Input::numeric("age") },
        Input { default: Some(Cell::Number(2.5)), required: true, ..Input::numeric("balance") },
        Input { forbid_unseen: true, ..Input::categorical("job", texts(&["clerk", "baker"])) },
        Input::categorical("city", (0..300).map(|n| format!("c{n}")).collect()),
        Input { dtype: Dtype::Int64, ..Input::categorical("code", texts(&["10", "20"])) },
        Input { dtype: Dtype::Bytes, ..Input::numeric("comment") },
        Input { dtype: Dtype::Bool, ..Input::numeric("flag") },
    ]);
    let row = schemas(&signature, false, None)["Row"].clone();
    let property = |name: &str| row["properties"][name].clone();
    assert_eq!((&row["required"], &row["additionalProperties"]), (&json!(["age"]), &Value::Null));
    assert_eq!((&property("age")["type"], &property("age")["nullable"]), (&json!("number"), &json!(true)));
    assert_eq!(property("balance")["default"], 2.5);
    assert_eq!(
        (&property("job")["type"], &property("job")["enum"]),
        (&json!("string"), &json!(["clerk", "baker", null]))
    );
    assert!(property("job")["description"].as_str().unwrap().contains("refused"));
    assert_eq!((&property("city")["type"], &property("city")["enum"]), (&json!("string"), &Value::Null));
    assert!(property("city")["description"].as_str().unwrap().contains("of 'c0', 'c1', "));
    assert_eq!((&property("code")["type"], &property("code")["x-categories"]), (&json!("integer"), &json!([10, 20])));
    assert!(property("code")["enum"].is_null());
    assert_eq!((&property("comment")["type"], &property("flag")["type"]), (&json!("string"), &json!("boolean")));
    assert_eq!(schemas(&signature, true, None)["Row"]["additionalProperties"], false);
}

#[test]
fn outputs_are_what_comes_back() {
    let mut one = signature(vec![Input::numeric("a"), Input::numeric("b")]);
    let of_one = schemas(&one, false, Some(1));
    assert_eq!(of_one["PredictResponse"]["properties"]["predictions"]["items"]["type"], "number");
    assert_eq!(of_one["PredictResponse"]["properties"]["contributions"]["items"]["maxItems"], 3);
    assert_eq!(of_one["InferInput"]["properties"]["name"]["enum"], json!(["a", "b"]));
    assert_eq!(of_one["InferRequestedOutput"]["properties"]["name"]["enum"], json!(["p", "m"]));
    assert_eq!(of_one["InferOutput"]["properties"]["name"], json!({"type": "string"}));
    assert!(of_one["CallParameters"]["properties"]["contributions"].is_object() && of_one["Prediction"].is_null());
    let classes = vec!["low".to_owned(), "high".to_owned()];
    one.outputs = vec![
        Output { classes: classes.clone(), ..output("p", Role::Value, Dtype::Fp64, 2) },
        Output { classes, ..output("class", Role::Value, Dtype::Bytes, 1) },
    ];
    let of_two = schemas(&one, false, None);
    let reply = &of_two["PredictResponse"]["properties"];
    assert_eq!(reply["predictions"]["items"]["$ref"], "#/components/schemas/Prediction");
    assert!(reply["contributions"].is_null() && of_two["CallParameters"]["properties"]["contributions"].is_null());
    let prediction = &of_two["Prediction"];
    assert_eq!(prediction["required"], json!(["p", "class"]));
    assert_eq!(
        (&prediction["properties"]["p"]["maxItems"], &prediction["properties"]["class"]["type"]),
        (&json!(2), &json!("string"))
    );
    assert_eq!(prediction["properties"]["p"]["x-classes"], json!(["low", "high"]));
}

#[test]
fn paths_are_the_callers_own() {
    let target = |choice| Target { model: "bank/JFK".parse().unwrap(), choice };
    let of = |choice| paths(&target(choice)).as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(of(Choice::Any), ["/v1/models/bank/JFK:predict", "/v2/models/bank/JFK/infer"]);
    assert_eq!(of(Choice::Version(Version::FIRST))[1], "/v2/models/bank/JFK/versions/1/infer");
    assert_eq!(of(Choice::Label("é b".into()))[0], "/v1/models/bank/JFK/labels/%C3%A9%20b:predict");
    let predict = &paths(&target(Choice::Any))["/v1/models/bank/JFK:predict"]["post"];
    assert_eq!(predict["operationId"], "predictModel");
    assert_eq!(predict["parameters"].as_array().unwrap().len(), 2);
}

/// Features of every kind.
fn inputs() -> impl Strategy<Value = Vec<Input>> {
    let dtypes = [Dtype::Bool, Dtype::Uint8, Dtype::Int64, Dtype::Fp32, Dtype::Fp64, Dtype::Bytes];
    let plain = proptest::sample::select(dtypes.to_vec()).prop_map(|dtype| Input { dtype, ..Input::numeric("") });
    let texts = proptest::collection::btree_set("[a-zé\"\\\\ ]{0,6}|[0-9]{1,4}", 1..6);
    let categorical = texts.prop_map(|texts| Input::categorical("", texts.into_iter().collect()));
    let numbers = proptest::collection::btree_set(-50i64..50, 1..6);
    let coded = numbers.prop_map(|codes| Input {
        dtype: Dtype::Int64,
        ..Input::categorical("", codes.iter().map(ToString::to_string).collect())
    });
    let one =
        (prop_oneof![plain, categorical, coded], any::<[bool; 3]>()).prop_map(|(input, [required, strict, given])| {
            let default = match (given, &input.categories, input.dtype) {
                (false, ..) => None,
                (true, Some(categories), Dtype::Bytes) => Some(Cell::Text(categories[0].clone())),
                (true, Some(categories), _) => Some(Cell::Number(categories[0].parse().unwrap())),
                (true, None, Dtype::Bytes) => Some(Cell::Text("some".into())),
                (true, None, Dtype::Bool) => Some(Cell::Bool(true)),
                (true, None, _) => Some(Cell::Number(2.0)),
            };
            Input { required, forbid_unseen: strict, default, ..input }
        });
    proptest::collection::vec(one, 1..8).prop_map(|mut inputs| {
        inputs.iter_mut().enumerate().for_each(|(at, input)| input.name = format!("f {at}"));
        inputs
    })
}

/// A value that a property allows.
fn allowed(property: &Value, choice: usize, number: f64, text: &str) -> Value {
    if property["nullable"] == true && choice.is_multiple_of(5) {
        return Value::Null;
    }
    if let Some(listed) = property["enum"].as_array() {
        return listed[choice % listed.len()].clone();
    }
    match property["type"].as_str().unwrap() {
        "number" => json!(number),
        "integer" => json!(number as i64),
        "boolean" => json!(choice.is_multiple_of(2)),
        _ => json!(text),
    }
}

/// A row that a schema allows: what is required, and some of the rest.
fn row(schema: &Value, choices: &[Index], number: f64, text: &str) -> Value {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let properties = schema["properties"].as_object().unwrap().iter();
    let chosen = properties.zip(choices.iter().cycle()).filter_map(|((name, property), choice)| {
        let choice = choice.index(1000);
        let absent = choice.is_multiple_of(3) && !required.contains(&json!(name));
        (!absent).then(|| (name.clone(), allowed(property, choice, number, text)))
    });
    Value::Object(chosen.collect())
}

proptest! {
    #[test]
    fn every_row_that_the_document_allows_is_taken(
        inputs in inputs(), strict in any::<bool>(), number in any::<f64>(), text in ".{0,12}",
        choices in proptest::collection::vec(proptest::collection::vec(any::<Index>(), 1..8), 1..4),
    ) {
        prop_assume!(number.is_finite());
        let signature = signature(inputs);
        prop_assert_eq!(signature.check(), Ok(()));
        let schema = schemas(&signature, strict, None)["Row"].clone();
        let rows: Vec<Value> = choices.iter().map(|choices| row(&schema, choices, number, &text)).collect();
        let taken = read(&signature, strict, &json!({ "instances": rows }));
        prop_assert_eq!(taken, Ok(rows.len()), "{:?}", rows);
    }

    #[test]
    fn a_row_without_what_the_document_requires_is_refused(inputs in inputs(), choices in proptest::collection::vec(any::<Index>(), 1..8)) {
        let signature = signature(inputs);
        let schema = schemas(&signature, false, None)["Row"].clone();
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        for name in &required {
            let mut row = row(&schema, &choices, 1.0, "a");
            row.as_object_mut().unwrap().remove(name.as_str().unwrap());
            let body = json!({ "instances": [row] });
            prop_assert!(read(&signature, false, &body).is_err());
        }
    }
}
