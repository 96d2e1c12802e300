//! The head of a request as gateways and backends read it without hyper: it says where the message ends only where a reader
//! of its own, which knows nothing of it, says the same; whatever is odd is left alone.
#![no_main]

use headgate_contract::http1::{BODY_BYTES_MAX, HEAD_BYTES_MAX, Head, Seen};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // Two messages on one connection: what the second one means must not depend on the first.
    let cut = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (first, second) = (&bytes[..cut], bytes.get(cut + 1..).unwrap_or_default());
    let mut used = Head::default();
    check(first, &mut used);
    let mut fresh = Head::default();
    let seen = check(second, &mut fresh);
    let (again, _) = used.read(second);
    assert_eq!(again, seen);
    if let Seen::Request { .. } = seen {
        assert_eq!((&used.path, &used.headers), (&fresh.path, &fresh.headers));
    }
});

fn check(bytes: &[u8], head: &mut Head) -> Seen {
    let (seen, _) = head.read(bytes);
    if let Seen::Request { head_bytes, body_bytes } = seen {
        assert!(head_bytes <= HEAD_BYTES_MAX.min(bytes.len()) && body_bytes <= BODY_BYTES_MAX);
        // Lines end with a line feed, a carriage return before it or none.
        let lines: Vec<&[u8]> = bytes[..head_bytes]
            .split(|byte| *byte == b'\n')
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
            .skip_while(|line| line.is_empty())
            .collect();
        assert!(lines[0].starts_with(b"POST /") && lines[0].ends_with(b" HTTP/1.1"));
        let mut lengths = Vec::new();
        for line in &lines[1..] {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else {
                assert!(line.is_empty());
                continue;
            };
            let (name, value) = (line[..colon].to_ascii_lowercase(), line[colon + 1..].trim_ascii());
            assert!(name != b"transfer-encoding" && name != b"upgrade" && name != b"expect");
            assert!(!name.is_empty() && !name.iter().any(|byte| byte.is_ascii_whitespace()));
            assert!(!value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t'));
            if name == b"content-length" {
                lengths.push(std::str::from_utf8(value).expect("digits").parse::<usize>().expect("a length"));
            }
        }
        assert_eq!(lengths, [body_bytes]);
        assert_eq!(lines.iter().filter(|line| line.is_empty()).count(), 2, "the end is the first empty line");
    }
    seen
}
