//! The header `host` of a request: one, that can be one (RFC 9112, section 3.2).

/// Whether these, the values of all `host` headers of a request, are as they have to be; else what is wrong, for its
/// caller. HTTP/1.1 needs one, other versions may go without; more than one, or one that is none, is read by some servers
/// in one way and by some in another.
pub fn check<'v>(is_http_1_1: bool, hosts: impl IntoIterator<Item = &'v [u8]>) -> Result<(), &'static str> {
    let mut hosts = hosts.into_iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if is_http_1_1 => Err("header 'host' is missing"),
        (None, _) => Ok(()),
        (Some(host), None) if is_host(host) => Ok(()),
        (Some(_), None) => Err("header 'host' names no host: a name or an address expected, with a port or without"),
        (Some(_), Some(_)) => Err("header 'host' comes more than once"),
    }
}

/// Whether a value is `host[:port]` (RFC 3986, section 3.2.2), or nothing.
pub fn is_host(value: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(byte);
    let (is_name, rest) = match value.strip_prefix(b"[") {
        Some(inside) => {
            let Some(end) = inside.iter().position(|byte| *byte == b']') else { return false };
            (inside[..end].iter().all(|byte| *byte == b':' || plain(byte)), &inside[end + 1..])
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
            ["", "x", "x.example:8080", "x:", "127.0.0.1:1", "[::1]", "[::1]:80", "[fe80::1%25e]", "a_b", "x%20"]
        {
            assert!(is_host(host.as_bytes()), "{host:?}");
        }
        for host in [
            "x y", "x/y", "x@y", "x?y", "x#y", "x:y", "x:1:2", "[::1", "[::1]x", "[::1]:x", "::1", "http://x", "\\",
            "\u{e9}",
        ] {
            assert!(!is_host(host.as_bytes()), "{host:?}");
        }
    }

    #[test]
    fn one_is_needed_and_no_more() {
        let check = |is_http_1_1, hosts: &[&'static str]| check(is_http_1_1, hosts.iter().map(|host| host.as_bytes()));
        assert_eq!((check(true, &["x"]), check(false, &["x"]), check(false, &[])), (Ok(()), Ok(()), Ok(())));
        for (is_http_1_1, hosts) in [(true, &[][..]), (true, &["x", "x"]), (false, &["x", "y"]), (true, &["x/y"])] {
            assert!(check(is_http_1_1, hosts).is_err(), "{hosts:?}");
        }
    }
}
