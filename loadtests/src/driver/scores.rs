//! What scores replies must carry, of servers that know nothing of versions: numbers near the expected ones.

use bytes::Bytes;
use headgate_contract::header::JSON_LENGTH;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::Value;

/// The scores of a load's replies.
#[derive(Clone, Debug)]
pub struct Scores {
    /// For each of the driver's bodies the scores of its rows.
    pub expected: Vec<Vec<f64>>,
    /// How far from it a score may be.
    pub tolerance: f64,
    /// Where a reply has them.
    pub place: Place,
    /// Every so many-th reply is looked at, at least 1: reading takes the driver's time.
    pub every: u64,
}

/// Where a reply has its scores.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// An array of numbers in JSON, found by this pointer (RFC 6901).
    Pointer(String),
    /// One FP64 tensor behind the JSON, little-endian.
    Binary,
}

impl Scores {
    /// Checks a reply to body number `body`; what is wrong with it comes in words.
    pub fn check(&self, headers: &HeaderMap, body: usize, reply: &Bytes) -> Result<(), String> {
        let came = match &self.place {
            Place::Pointer(pointer) => numbers(reply, pointer),
            Place::Binary => doubles(headers, reply),
        };
        let came = came.ok_or_else(|| format!("no scores in a reply of {} bytes", reply.len()))?;
        let expected = self.expected.get(body).map(Vec::as_slice).unwrap_or_default();
        if came.len() != expected.len() {
            return Err(format!("{} scores came, {} expected", came.len(), expected.len()));
        }
        let far = |(came, expected): (&f64, &f64)| came.is_nan() || (came - expected).abs() > self.tolerance;
        match came.iter().zip(expected).position(far) {
            Some(row) => Err(format!("row {row}: score {} came, {} expected", came[row], expected[row])),
            None => Ok(()),
        }
    }
}

fn numbers(reply: &[u8], pointer: &str) -> Option<Vec<f64>> {
    let value: Value = serde_json::from_slice(reply).ok()?;
    value.pointer(pointer)?.as_array()?.iter().map(Value::as_f64).collect()
}

fn doubles(headers: &HeaderMap, reply: &[u8]) -> Option<Vec<f64>> {
    let json: usize = headers.get(JSON_LENGTH)?.to_str().ok()?.parse().ok()?;
    let (values, rest) = reply.get(json..)?.as_chunks::<8>();
    rest.is_empty().then(|| values.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn scores(place: Place) -> Scores {
        Scores { expected: vec![vec![0.25, 0.5], vec![1.0]], tolerance: 1e-6, place, every: 1 }
    }

    #[test]
    fn numbers_in_json_must_be_near() {
        let scores = scores(Place::Pointer("/outputs/0/data".to_owned()));
        let check = |body, reply: &'static str| scores.check(&HeaderMap::new(), body, &reply.into());
        assert_eq!(check(0, r#"{"outputs": [{"data": [0.25, 0.5000009]}]}"#), Ok(()));
        let said = check(0, r#"{"outputs": [{"data": [0.25, 0.5000011]}]}"#).unwrap_err();
        assert!(said.starts_with("row 1: score 0.5000011"), "{said}");
        assert_eq!(check(1, r#"{"outputs": [{"data": [1, 1]}]}"#).unwrap_err(), "2 scores came, 1 expected");
        for reply in ["", "{}", r#"{"outputs": [{"data": [null, 1]}]}"#, r#"{"outputs": [{"data": 1}]}"#] {
            assert!(check(0, reply).unwrap_err().starts_with("no scores"), "{reply}");
        }
    }

    #[test]
    fn numbers_behind_json_must_be_whole() {
        let scores = scores(Place::Binary);
        let mut headers = HeaderMap::new();
        headers.insert(JSON_LENGTH, 2.into());
        let reply = [b"{}".as_slice(), &0.25f64.to_le_bytes(), &0.5f64.to_le_bytes()].concat();
        let check = |headers: &HeaderMap, reply: &[u8]| scores.check(headers, 0, &Bytes::copy_from_slice(reply));
        assert_eq!(check(&headers, &reply), Ok(()));
        assert!(check(&headers, &reply[..17]).is_err() && check(&headers, &reply[..1]).is_err());
        assert!(check(&HeaderMap::new(), &reply).is_err());
        let nan = [b"{}".as_slice(), &f64::NAN.to_le_bytes(), &0.5f64.to_le_bytes()].concat();
        assert!(check(&headers, &nan).unwrap_err().starts_with("row 0"));
    }
}
