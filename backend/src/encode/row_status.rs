//! Which rows could not be scored, and why.

use super::{comma, text};
use crate::decode::Asked;

/// One more tensor: `row_status`, BYTES `[rows]`, empty for a row that was scored.
pub(super) fn tensor(body: &mut Vec<u8>, asked: &Asked) {
    let head = format!("{{\"name\":\"row_status\",\"shape\":[{}],\"datatype\":\"BYTES\",\"data\":[", asked.rows);
    body.extend_from_slice(head.as_bytes());
    for (row, why) in reasons(asked).enumerate() {
        comma(body, row);
        text(body, why);
    }
    body.extend_from_slice(b"]}");
}

/// For each row why it could not be scored, an empty text where it was.
pub(super) fn reasons(asked: &Asked) -> impl Iterator<Item = &str> {
    (0..asked.rows).map(|row| asked.faults.reason(row).unwrap_or_default())
}

/// One more field of a v1 reply: for each row `null`, or why it could not be scored.
pub(super) fn rows(body: &mut Vec<u8>, asked: &Asked) {
    body.extend_from_slice(b",\"row_status\":[");
    for row in 0..asked.rows {
        comma(body, row);
        match asked.faults.reason(row) {
            Some(why) => text(body, why),
            None => body.extend_from_slice(b"null"),
        }
    }
    body.push(b']');
}
