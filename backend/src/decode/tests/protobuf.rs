//! Messages of Protocol Buffers, also as no library writes them.

use headgate_contract::proto::model_infer_request::InferInputTensor;
use headgate_contract::proto::{InferTensorContents, ModelInferRequest};
use prost::Message;
use prost::encoding::encode_varint;

use super::*;

fn message(bytes: &[u8]) -> Result<(Asked, Batch), Refusal> {
    read_within(Form::Protobuf, &bank(), bytes, BOUNDS)
}

/// A field of bytes.
fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    let mut to = Vec::new();
    encode_varint(number << 3 | 2, &mut to);
    encode_varint(bytes.len() as u64, &mut to);
    [&to, bytes].concat()
}

/// A tensor whose shape and contents are these bytes.
fn tensor(name: &str, datatype: &str, shape: &[u8], contents: &[u8]) -> Vec<u8> {
    let parts = [field(1, name.as_bytes()), field(2, datatype.as_bytes()), shape.to_vec(), field(5, contents)];
    field(5, &parts.concat())
}

fn texts(texts: &[&str]) -> Vec<u8> {
    texts.iter().flat_map(|text| field(8, text.as_bytes())).collect()
}

#[test]
fn numbers_that_are_not_packed_and_fields_in_another_order() {
    // 24: the key of one size; 16: of one of int_contents.
    let single = |number: u64, value: f64| [&[(number << 3 | 1) as u8][..], &value.to_le_bytes()].concat();
    let ages = tensor("age", "FP64", &[24, 2], &[single(7, 30.0), single(7, 31.0)].concat());
    let jobs = tensor("job", "BYTES", &field(3, &[2, 1]), &texts(&["student", "pirate"]));
    let balances = tensor("balance", "INT32", &[24, 2, 24, 1], &[&[16, 7][..], &[16], &[255; 9], &[1]].concat());
    for parts in [[&ages, &jobs, &balances], [&balances, &ages, &jobs]] {
        let body = [&parts.map(|p| p.as_slice()).concat()[..], &field(3, b"7"), &field(99, b"?")].concat();
        let (asked, batch) = message(&body).unwrap();
        assert_eq!(rows(&batch), [["30.0", "1.0", "7.0"], ["31.0", "NaN", "-1.0"]]);
        assert_eq!((asked.id.as_deref(), asked.shape), (Some("7"), Shape::Protobuf { raw: false }));
    }
}

#[test]
fn numbers_may_name_categories_typed_and_raw() {
    let schema = schema(vec![Input::categorical("code", ["3", "-7", "0.5", "true"].map(str::to_owned).into())]);
    let asked = |datatype: &str, contents: InferTensorContents, raw: &[u8]| {
        let input = |contents| InferInputTensor {
            name: "code".into(),
            datatype: datatype.into(),
            shape: vec![1],
            contents,
            ..Default::default()
        };
        let typed = ModelInferRequest { inputs: vec![input(Some(contents))], ..Default::default() };
        let raw = ModelInferRequest {
            inputs: vec![input(None)],
            raw_input_contents: vec![raw.to_vec()],
            ..Default::default()
        };
        [typed, raw].map(|request| {
            let read = read_within(Form::Protobuf, &schema, &request.encode_to_vec(), BOUNDS);
            read.unwrap().1.value(0, 0)
        })
    };
    let ints = |value| InferTensorContents { int_contents: vec![value], ..Default::default() };
    assert_eq!(asked("INT8", ints(3), &[3]), [0.0; 2]);
    assert_eq!(asked("INT16", ints(-7), &(-7i16).to_le_bytes()), [1.0; 2]);
    let uints = InferTensorContents { uint64_contents: vec![3], ..Default::default() };
    assert_eq!(asked("UINT64", uints, &3u64.to_le_bytes()), [0.0; 2]);
    let half = InferTensorContents { fp32_contents: vec![0.5], ..Default::default() };
    assert_eq!(asked("FP32", half, &0.5f32.to_le_bytes()), [2.0; 2]);
    let truth = InferTensorContents { bool_contents: vec![true], ..Default::default() };
    assert_eq!(asked("BOOL", truth, &[1]), [3.0; 2]);
}

#[test]
fn what_is_no_message_says_where() {
    says(message(b"\x0f"), &["body: byte 0", "wire type 7"]);
    says(
        message(&tensor("age", "FP64", &field(3, &[1]), &field(7, &[0; 7]))),
        &["fp64_contents", "end within a number"],
    );
    says(message(&tensor("age", "FP64", &field(3, &[1]), &[56, 1])), &["fp64_contents of another type"]);
    says(message(&tensor("age", "FP64", &[24, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1], &[])), &["'age'", "-1"]);
    says(message(&tensor("age", "FP64", &field(3, &[1; 9]), &[])), &["a ninth size in its 'shape'", "up to 8"]);
    says(message(&field(5, &field(1, b"\xff"))), &["no UTF-8"]);
    let jobs = tensor("job", "BYTES", &field(3, &[1]), &field(8, b"\xff"));
    let ages = tensor("age", "FP64", &field(3, &[1]), &field(7, &[0; 8]));
    says(message(&[ages, jobs].concat()), &["row 0", "'job'", "bytes that are no UTF-8"]);
}

proptest! {
    #[test]
    fn no_bytes_panic(at in 0usize..200, byte: u8, cut in 0usize..200, raw: bool) {
        let input = |name: &str, datatype: &str| InferInputTensor {
            name: name.into(),
            datatype: datatype.into(),
            shape: vec![2, 1],
            contents: (!raw).then(|| InferTensorContents {
                fp64_contents: if datatype == "FP64" { vec![1.0, 2.0] } else { vec![] },
                bytes_contents: if datatype == "BYTES" { vec![b"student".to_vec(); 2] } else { vec![] },
                ..Default::default()
            }),
            ..Default::default()
        };
        let blobs = [[1.0f64, 2.0].iter().flat_map(|v| v.to_le_bytes()).collect(), b"\x01\0\0\0a\0\0\0\0".to_vec()];
        let request = ModelInferRequest {
            inputs: vec![input("age", "FP64"), input("job", "BYTES")],
            raw_input_contents: if raw { blobs.into() } else { vec![] },
            ..Default::default()
        };
        let mut bytes = request.encode_to_vec();
        prop_assert!(message(&bytes).is_ok());
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = message(&bytes);
        bytes.truncate(cut);
        let _ = message(&bytes);
    }
}
