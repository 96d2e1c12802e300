//! What a question about the repository's index says: `{"ready": true}` asks for what can answer only.

use serde_json::Value;

/// Reads the question; none, as many clients send it, asks for all. The error is for the caller.
pub fn only_ready(body: &[u8]) -> Result<bool, String> {
    if body.trim_ascii().is_empty() {
        return Ok(false);
    }
    let question: Value = serde_json::from_slice(body).map_err(|e| format!("body: {e}"))?;
    match question.as_object().map(|question| question.get("ready")) {
        Some(None) => Ok(false),
        Some(Some(Value::Bool(ready))) => Ok(*ready),
        Some(Some(_)) => Err("body: 'ready': true or false expected".to_owned()),
        None => Err("body: an object expected".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_asks_for_all_or_for_what_is_ready() {
        for (body, expected) in
            [("", false), (" ", false), ("{}", false), (r#"{"ready":false,"x":1}"#, false), (r#"{"ready":true}"#, true)]
        {
            assert_eq!(only_ready(body.as_bytes()), Ok(expected), "{body}");
        }
        for bad in ["{", "[]", "[true]", "true", r#"{"ready":null}"#, r#"{"ready":1}"#] {
            assert!(only_ready(bad.as_bytes()).is_err_and(|e| e.starts_with("body: ")), "{bad}");
        }
    }
}
