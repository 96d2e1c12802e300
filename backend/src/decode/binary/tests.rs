#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

fn widen(datatype: Datatype, bytes: &[u8]) -> Vec<f64> {
    let count = bytes.len() / datatype.width().unwrap();
    let mut to = vec![0.0; count];
    Blob::new(datatype, bytes, count).unwrap().widen(&mut to);
    to
}

/// `value` as an element of a type whose values it fits, and what comes of it.
fn write(datatype: Datatype, value: i64) -> Vec<u8> {
    let bytes = value.to_le_bytes();
    match datatype {
        Datatype::Fp64 => (value as f64).to_le_bytes().to_vec(),
        Datatype::Fp32 => (value as f32).to_le_bytes().to_vec(),
        Datatype::Bf16 => (value as f32).to_le_bytes()[2..].to_vec(),
        Datatype::Fp16 => [0x0000u16, 0x3c00, 0x4000, 0x4200][value as usize].to_le_bytes().to_vec(),
        _ => bytes[..datatype.width().unwrap()].to_vec(),
    }
}

#[test]
fn every_type_widens() {
    for datatype in Datatype::ALL.into_iter().filter(|datatype| *datatype != Datatype::Bytes) {
        assert_eq!(Datatype::named(datatype.as_str()), Some(datatype));
        let most = if datatype == Datatype::Bool { 1 } else { 3 };
        let bytes: Vec<u8> = (0..=most).flat_map(|value| write(datatype, value)).collect();
        let expected: Vec<f64> = (0..=most).map(|value| value as f64).collect();
        assert_eq!(widen(datatype, &bytes), expected, "{datatype:?}");
        let mut read = Vec::new();
        let blob = Blob::new(datatype, &bytes, expected.len()).unwrap();
        blob.each(|_, value| match value.unwrap() {
            Scalar::Bool(value) => read.push(f64::from(u8::from(value))),
            Scalar::Number(value, written) => {
                assert_eq!(written.parse(), Ok(value));
                read.push(value);
            }
            other => panic!("{other:?}"),
        })
        .unwrap();
        assert_eq!(read, expected, "{datatype:?}");
    }
    assert_eq!(widen(Datatype::Int8, &[255]), [-1.0]);
    assert_eq!(widen(Datatype::Bool, &[7]), [1.0]);
    assert_eq!(widen(Datatype::Uint64, &[255; 8]), [18446744073709551616.0]);
    assert_eq!(widen(Datatype::Int64, &((1i64 << 53) + 1).to_le_bytes()), [9007199254740992.0]);
    assert_eq!(Datatype::named("fp64"), None);
}

#[test]
fn half_precision() {
    for (bits, value) in [
        (0x0000u16, 0.0),
        (0x8000, -0.0),
        (0x0001, 2f64.powi(-24)),
        (0x03ff, 1023.0 * 2f64.powi(-24)),
        (0x0400, 2f64.powi(-14)),
        (0x3555, 0.333251953125),
        (0x7bff, 65504.0),
        (0xfbff, -65504.0),
        (0x7c00, f64::INFINITY),
        (0xfc00, f64::NEG_INFINITY),
    ] {
        assert_eq!(half(bits).to_bits(), f64::to_bits(value), "{bits:#x}");
    }
    assert!((0x7c01..=0x7fff).all(|bits| half(bits).is_nan() && half(bits | 0x8000).is_nan()));
}

#[test]
fn sizes_and_lengths_that_lie() {
    let new = |datatype, bytes, count| Blob::new(datatype, bytes, count).map(|_| ()).unwrap_err().to_string();
    assert_eq!(new(Datatype::Fp32, &[0; 7], 2), "7 bytes came, 2 values of FP32 take 8");
    assert!(new(Datatype::Fp64, &[0; 8], usize::MAX).contains("8 bytes came"));
    assert!(new(Datatype::Bytes, &[0; 7], 2).contains("take 4 each at least"));
    let texts = |bytes: &[u8], count| {
        let mut texts = Vec::new();
        let blob = Blob::new(Datatype::Bytes, bytes, count).unwrap();
        blob.texts(|_, text| texts.push(text.to_vec())).map(|()| texts).map_err(|e| e.to_string())
    };
    assert_eq!(texts(b"\x02\0\0\0ab\0\0\0\0", 2), Ok(vec![b"ab".to_vec(), vec![]]));
    assert_eq!(texts(b"", 0), Ok(vec![]));
    assert!(texts(b"\x01\0\0\0a\xff\xff\xff\xffb", 2).unwrap_err().contains("value 1 of BYTES"));
    assert!(texts(b"\x04\0\0\0abcd", 2).unwrap_err().contains("take 4 each"));
    assert!(texts(b"\0\0\0\0abc", 1).unwrap_err().contains("3 bytes follow"));
}

proptest! {
    #[test]
    fn a_matrix_is_its_columns(rows in 0usize..50, width in 1usize..20, single in any::<bool>()) {
        let (datatype, bytes) = if single { (Datatype::Fp32, 4) } else { (Datatype::Fp64, 8) };
        let number = |at: usize| at as f64 * 0.5;
        let data: Vec<u8> = (0..rows * width).flat_map(|at| match bytes {
            4 => (number(at) as f32).to_le_bytes().to_vec(),
            _ => number(at).to_le_bytes().to_vec(),
        }).collect();
        let mut batch = Batch::new(width, rows);
        Blob::new(datatype, &data, rows * width).unwrap().transpose(&mut batch);
        for row in 0..rows {
            for column in 0..width {
                prop_assert_eq!(batch.value(row, column), number(row * width + column));
            }
        }
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(prop_oneof![Just(0u8), Just(1u8), any::<u8>()], 0..64), count in 0usize..20) {
        for datatype in Datatype::ALL {
            if let Ok(blob) = Blob::new(datatype, &bytes, count) {
                let mut came = 0;
                let read = blob.each(|_, _| came += 1);
                prop_assert!(read.is_err() || came == count);
            }
        }
    }
}
