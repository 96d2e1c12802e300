//! Whether a request's head is one that every server on its way reads alike, beyond what hyper holds it to.

use headgate_contract::Kind;
use http::header::{HOST, HeaderMap};
use http::{Method, Version, request};

use super::reply::Failed;

/// Refuses a head that another server may read otherwise, or that asks for a tunnel: its connection is to be closed.
pub(super) fn check(head: &request::Parts) -> Result<(), Failed> {
    if head.method == Method::CONNECT {
        let message = "CONNECT asks for a tunnel, and there is none here";
        return Err(Failed { allow: Some(""), ..Failed::new(Kind::MethodNotAllowed, message) });
    }
    check_host(head.version, &head.headers)
}

/// One host that can be one; HTTP/1.1 needs it (RFC 9112, section 3.2), and no other may have more.
pub(super) fn check_host(version: Version, headers: &HeaderMap) -> Result<(), Failed> {
    let mut hosts = headers.get_all(HOST).iter();
    let words = match (hosts.next(), hosts.next()) {
        (None, _) if version == Version::HTTP_11 => "header 'host' is missing",
        (None, _) => return Ok(()),
        (Some(host), None) if is_host(host.as_bytes()) => return Ok(()),
        (Some(_), None) => "header 'host' names no host: a name or an address expected, and a port behind it or none",
        (Some(_), Some(_)) => "header 'host' comes more than once",
    };
    Err(Failed::new(Kind::InvalidRequest, words))
}

/// `host[:port]` (RFC 3986, section 3.2.2), or nothing.
fn is_host(value: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(byte);
    let literal = |byte: &u8| *byte == b':' || plain(byte);
    let (is_name, rest) = match value.strip_prefix(b"[") {
        Some(inside) => {
            let Some(end) = inside.iter().position(|byte| *byte == b']') else { return false };
            (inside[..end].iter().all(literal), &inside[end + 1..])
        }
        None => {
            let end = value.iter().position(|byte| *byte == b':').unwrap_or(value.len());
            (value[..end].iter().all(plain), &value[end..])
        }
    };
    is_name && (rest.is_empty() || rest.strip_prefix(b":").is_some_and(|port| port.iter().all(u8::is_ascii_digit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_from_what_is_none() {
        for host in
            ["", "x", "x.example:8080", "x:", "127.0.0.1:1", "[::1]", "[::1]:80", "[fe80::1%25eth0]", "a_b", "x%20"]
        {
            assert!(is_host(host.as_bytes()), "{host:?}");
        }
        for host in [
            "x y", "x/y", "x@y", "x?y", "x#y", "x:y", "x:1:2", "[::1", "[::1]x", "[::1]:x", "::1", "http://x", "x\\",
            "\u{e9}",
        ] {
            assert!(!is_host(host.as_bytes()), "{host:?}");
        }
    }
}
