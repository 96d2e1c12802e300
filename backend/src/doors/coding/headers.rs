//! What headers say of codings: which one a body has, and which one a reply may have.

use bytes::Bytes;
use headgate_contract::Kind;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, VARY};
use http::{HeaderMap, HeaderName};
use tokio::time::Instant;

use super::Coding;
use crate::dispatch::Shared;
use crate::refusal::{Refusal, shorten};

/// What became of a reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::doors) struct Packing {
    coding: Option<Coding>,
    /// Whether another caller might have got it in another coding.
    varies: bool,
}

impl Packing {
    /// What the reply's headers say of it.
    pub(in crate::doors) fn said(self) -> impl Iterator<Item = (HeaderName, &'static str)> {
        let coding = self.coding.map(|coding| (CONTENT_ENCODING, coding.as_str()));
        coding.into_iter().chain(self.varies.then_some((VARY, "accept-encoding")))
    }
}

/// Packs a reply where the caller takes that and it is worth it.
pub(in crate::doors) async fn pack_reply(
    shared: &Shared,
    headers: &HeaderMap,
    bytes: &mut Vec<u8>,
    deadline: Instant,
) -> Packing {
    if bytes.len() < shared.limits.compress_bytes_min {
        return Packing::default();
    }
    let Some(coding) = accepted(headers) else { return Packing { coding: None, varies: true } };
    let whole = Bytes::from(std::mem::take(bytes));
    let packed = coding.pack(shared, whole.clone(), deadline).await;
    // Where there is no room to pack it, or nothing is won, it goes as it is.
    let packed = packed.ok().filter(|packed| packed.len() < whole.len());
    let coding = packed.is_some().then_some(coding);
    *bytes = packed.unwrap_or_else(|| whole.into());
    Packing { coding, varies: true }
}

/// How a body is packed.
pub(in crate::doors) fn of_body(headers: &HeaderMap) -> Result<Option<Coding>, Refusal> {
    let mut coding = None;
    for token in tokens(headers, &CONTENT_ENCODING).filter(|token| token != "identity") {
        let refuse = |words: &str| {
            let token = shorten(&token, 40);
            Err(Refusal::new(Kind::UnsupportedMedia, format!("content-encoding '{token}': {words}")))
        };
        let Some(named) = Coding::named(&token) else {
            return refuse("gzip or deflate expected");
        };
        if coding.replace(named).is_some() {
            return refuse("it is not the only one, one coding expected");
        }
    }
    Ok(coding)
}

/// The coding that a caller likes best, gzip where it likes both; none where it prefers none.
fn accepted(headers: &HeaderMap) -> Option<Coding> {
    let (mut gzip, mut deflate, mut identity, mut any) = (None, None, None, None);
    for token in tokens(headers, &ACCEPT_ENCODING) {
        let mut parts = token.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse::<f64>().ok());
        let weight = weight.filter(|weight| (0.0..=1.0).contains(weight)).unwrap_or(0.0);
        match (name, Coding::named(name)) {
            (_, Some(Coding::Gzip)) => gzip = Some(weight),
            (_, Some(Coding::Deflate)) => deflate = Some(weight),
            ("identity", _) => identity = Some(weight),
            ("*", _) => any = Some(weight),
            _ => {}
        }
    }
    let weight = |named: Option<f64>| named.or(any).unwrap_or(0.0);
    let (coding, best) = match (weight(gzip), weight(deflate)) {
        (gzip, deflate) if gzip >= deflate => (Coding::Gzip, gzip),
        (_, deflate) => (Coding::Deflate, deflate),
    };
    (best > 0.0 && best >= identity.unwrap_or(0.0)).then_some(coding)
}

/// What a header lists, in small letters.
fn tokens<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = String> + 'h {
    let values =
        headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase());
    let listed = values.flat_map(|value| value.split(',').map(|token| token.trim().to_owned()).collect::<Vec<_>>());
    listed.filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http::HeaderValue;

    use super::*;

    fn headers(name: &HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn a_body_has_one_coding_that_is_known() {
        let of = |values: &[&str]| of_body(&headers(&CONTENT_ENCODING, values));
        for none in [&[][..], &["identity"], &["", "identity"]] {
            assert_eq!(of(none), Ok(None));
        }
        for gzip in [&["gzip"][..], &[" GZip ,"], &["x-gzip"], &["identity", "gzip"]] {
            assert_eq!(of(gzip), Ok(Some(Coding::Gzip)));
        }
        assert_eq!(of(&["deflate"]), Ok(Some(Coding::Deflate)));
        for (wrong, says) in [
            (&["br"][..], "'br': gzip or deflate expected"),
            (&["gzip, zstd"], "'zstd'"),
            (&["gzip, gzip"], "one coding expected"),
            (&["gzip", "deflate"], "'deflate': it is not the only one"),
        ] {
            let refused = of(wrong).unwrap_err();
            assert!(refused.kind == Kind::UnsupportedMedia && refused.message.contains(says), "{refused}");
        }
    }

    #[test]
    fn a_reply_has_the_coding_that_is_liked_best() {
        let of = |values: &[&str]| accepted(&headers(&ACCEPT_ENCODING, values));
        for gzip in
            ["gzip", "gzip, deflate, br", "deflate, gzip", "*", "GZIP;q=0.2", "br;q=1, *;q=0.1", "identity;q=0.1, gzip"]
        {
            assert_eq!(of(&[gzip]), Some(Coding::Gzip), "{gzip}");
        }
        for deflate in ["deflate", "gzip;q=0.5, deflate", "gzip;q=0, *", "gzip; q=0, deflate"] {
            assert_eq!(of(&[deflate]), Some(Coding::Deflate), "{deflate}");
        }
        let none = [
            "",
            "identity",
            "br",
            "gzip;q=0",
            "*;q=0",
            "gzip;q=0, deflate;q=0.000",
            "gzip;q=0.5, identity",
            "gzip;q=x",
        ];
        for none in none {
            assert_eq!(of(&[none]), None, "{none}");
        }
        assert_eq!((of(&[]), of(&["br", "deflate"])), (None, Some(Coding::Deflate)));
    }
}
