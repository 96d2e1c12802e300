//! How a body is written: what the path and the headers say of it.

use headgate_contract::header::JSON_LENGTH;
use headgate_contract::route::Protocol;
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};

use super::names;
use crate::decode::{Form, Lines};
use crate::encode::Content;
use crate::refusal::{Refusal, shorten};

/// What callers of SageMaker's runtime tell the model, as it passes it on.
const ATTRIBUTES: &str = "x-amzn-sagemaker-custom-attributes";

/// The form of a prediction's body. A content type that says nothing of use is taken for the path's own form: many
/// clients send none, or that of an HTML form.
pub(super) fn of(protocol: Protocol, headers: &HeaderMap) -> Result<Form, Refusal> {
    let json_bytes = json_bytes(headers)?;
    let content = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content.split(';').next().unwrap_or_default().trim();
    let is = |content: Content| media_type.eq_ignore_ascii_case(content.media_type());
    Ok(match protocol {
        _ if is(Content::Arrow) => Form::Arrow,
        Protocol::V2 if is(Content::Protobuf) => Form::Protobuf,
        Protocol::V2 => Form::V2 { json_bytes },
        Protocol::V1 => Form::V1,
        Protocol::Invocations if is(Content::Csv) => Form::Csv(lines(content, headers)),
        Protocol::Invocations => Form::Frame { csv: accepts_csv(headers) },
    })
}

/// Whether a request's reply is to be in this form.
pub(super) fn accepts(headers: &HeaderMap, content: Content) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut types = accepted.flat_map(|value| value.split(',')).filter_map(|range| range.split(';').next());
    types.any(|media_type| media_type.trim().eq_ignore_ascii_case(content.media_type()))
}

fn accepts_csv(headers: &HeaderMap) -> bool {
    accepts(headers, Content::Csv) && !accepts(headers, Content::Json)
}

/// What a content type and SageMaker's custom attributes say of lines of CSV.
fn lines(content: &str, headers: &HeaderMap) -> Lines {
    let has = |list: &str, mark: char, wanted: &str| list.split(mark).any(|p| p.trim().eq_ignore_ascii_case(wanted));
    let header = match (has(content, ';', "header=present"), has(content, ';', "header=absent")) {
        (true, false) => Some(true),
        (false, true) => Some(false),
        _ => None,
    };
    let attributes = headers.get(ATTRIBUTES).and_then(|value| value.to_str().ok()).unwrap_or_default();
    Lines { header, row_status: has(attributes, ',', "row_status=true"), reply: accepts_csv(headers) }
}

fn json_bytes(headers: &HeaderMap) -> Result<Option<usize>, Refusal> {
    let Some(value) = headers.get(names::JSON_LENGTH) else { return Ok(None) };
    let length = value.to_str().ok().and_then(|text| text.parse().ok());
    let came = || shorten(&String::from_utf8_lossy(value.as_bytes()), 40);
    length.map(Some).ok_or_else(|| Refusal::invalid(format!("header {JSON_LENGTH}: '{}': a length expected", came())))
}
