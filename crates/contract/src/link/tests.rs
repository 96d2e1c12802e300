#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use std::sync::Arc;

use super::*;

/// One frame a line: its name, and its bytes in hex. It must never change for a version that was released.
const GOLDEN: &str = include_str!("golden.txt");

fn head_block(path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    assert!(put_head(path, headers.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())), &mut block));
    block
}

fn list(headers: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    assert!(put_headers(headers.iter().map(|(n, v)| (n.as_slice(), v.as_slice())), &mut bytes));
    bytes
}

fn bytes_of(frame: &Frame<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.put(&mut bytes);
    bytes
}

#[test]
fn frames_lie_in_bytes_as_the_page_says() {
    let block = head_block("/v1/models/m:predict", &[("x-headgate-chosen-version", "7"), ("accept", "*/*")]);
    let head = Head::read(&block).unwrap();
    let retry = list(&[(b"retry-after".to_vec(), b"1".to_vec())]);
    let hello = Hello { version: 1, credits: 1024, frame_bytes_max: 262_144, connections: 2, heads: 256, name: "b1" };
    let call = Call {
        id: 65_537,
        timeout_ms: 1000,
        head: HeadOf::Known(3),
        request_id: b"r-1",
        headers: Headers::NONE,
        body: b"{\"instances\":[[1]]}",
    };
    let reply = Reply {
        id: 65_537,
        status: 200,
        error: None,
        version: Answered::AsChosen,
        load: 5,
        rows: Some(1),
        content: Content::Json,
        headers: Headers::NONE,
        body: b"{\"predictions\":[0.5]}",
    };
    let refused = Reply {
        status: 503,
        error: Some(Kind::Overloaded),
        version: Answered::None,
        rows: None,
        headers: Headers::read(&retry).unwrap(),
        body: b"{}",
        ..reply
    };
    let frames = [
        ("hello", Frame::Hello(hello)),
        ("head", Frame::Head(3, head)),
        ("call", Frame::Call(call)),
        ("call-inline", Frame::Call(Call { head: HeadOf::Inline(head), body: b"", ..call })),
        ("reply", Frame::Reply(reply)),
        ("reply-refused", Frame::Reply(refused)),
        ("reply-other-version", Frame::Reply(Reply { version: Answered::Version(8, [0xab; 32]), ..reply })),
        ("closed-cancelled", Frame::Closed(65_537, Closed::Cancelled)),
        ("closed-too-large", Frame::Closed(65_537, Closed::TooLarge)),
        ("cancel", Frame::Cancel(65_537)),
        ("ping", Frame::Ping(9)),
        ("pong", Frame::Pong(9)),
        ("draining", Frame::Draining),
    ];
    let written: String =
        frames.iter().map(|(name, frame)| format!("{name} {}\n", hex::encode(bytes_of(frame)))).collect();
    assert_eq!(written, GOLDEN);
    for (line, (_, frame)) in GOLDEN.lines().zip(frames) {
        let bytes = hex::decode(line.split_once(' ').unwrap().1).unwrap();
        assert_eq!(next(&bytes, FRAME_BYTES_MAX), Ok(Next::Frame(frame, bytes.len())));
    }
}

#[test]
fn error_kinds_and_contents_keep_their_numbers() {
    let kinds = [
        "invalid_request",
        "unauthenticated",
        "forbidden",
        "not_found",
        "method_not_allowed",
        "too_large",
        "unsupported_media",
        "rate_limited",
        "overloaded",
        "unavailable",
        "loading",
        "not_here",
        "deadline_exceeded",
        "unsupported",
        "internal",
        "bad_gateway",
        "model_failed",
    ];
    let numbered: Vec<(u8, &str)> = Kind::ALL.iter().map(|kind| (encode::code_of(*kind), kind.as_str())).collect();
    assert_eq!(numbered, (1..).zip(kinds).collect::<Vec<_>>());
    for content in Content::ALL.into_iter().skip(1) {
        assert_eq!(Content::of(content.media_type().unwrap().as_bytes()), content);
    }
    assert_eq!(Content::of(b"text/plain"), Content::Other);
}

#[test]
fn what_came_later_is_tolerated_where_it_can_be() {
    let hello = Frame::Hello(Hello { version: 1, credits: 1, frame_bytes_max: 1, connections: 1, heads: 1, name: "b" });
    let mut longer = bytes_of(&hello);
    longer.extend_from_slice(b"more");
    longer[0] += 4;
    assert_eq!(next(&longer, 100), Ok(Next::Frame(hello, longer.len())));
    let golden = GOLDEN.lines().find_map(|line| line.strip_prefix("reply-refused ")).unwrap();
    let mut unknown_kind = hex::decode(golden).unwrap();
    unknown_kind[15] = 200;
    let Ok(Next::Frame(Frame::Reply(reply), _)) = next(&unknown_kind, 1000) else { panic!("{unknown_kind:?}") };
    assert_eq!((reply.status, reply.error), (503, None));
}

#[test]
fn what_makes_no_sense_is_refused_in_words() {
    let with_length = |frame: &[u8]| [&(frame.len() as u32).to_le_bytes(), frame].concat();
    for (frame, words) in [
        (&b""[..], "empty"),
        (b"\x00", "kind 0"),
        (b"\x0a", "kind 10"),
        (b"\xff", "kind 255"),
        (b"\x06\x01", "a cancel frame ends within its number"),
        (b"\x06\x01\0\0\0\0\0\0\0\0", "a cancel frame has 1 bytes more"),
        (b"\x09\0", "a draining frame has 1"),
        (b"\x05\x01\0\0\0\0\0\0\0\x03", "a closed frame's reason makes no sense"),
        (b"\x02\xff\xff\x01\x00/\0", "a head frame's number"),
        (b"\x02\x01\0\x01\0\xff\0", "a head frame's path"),
        (b"\x02\x01\0\x01\0/\x01\0\0\0", "a head frame's header's name"),
        (b"\x02\x01\0\xff\xff/", "a head frame ends within its path"),
        (b"\x04\x01\0\0\0\0\0\0\0\x0a\0\0\0", "a reply frame's status"),
    ] {
        let error = next(&with_length(frame), 100).unwrap_err().to_string();
        assert!(error.contains(words), "{frame:?}: {error}");
    }
    let long = [&(HEAD_BYTES_MAX as u32 + 4).to_le_bytes()[..], b"\x02\x01\0", &vec![0; HEAD_BYTES_MAX + 1]].concat();
    assert!(next(&long, FRAME_BYTES_MAX).is_err(), "a head that is too large");
    assert_eq!(next(&[0xff; 4], 100), Err(FrameError::TooLong { length: u32::MAX as usize, most: 100 }));
    assert_eq!(next(&[9, 0, 0], 100), Ok(Next::Part(4)));
    assert_eq!(next(&[9, 0, 0, 0, 1], 100), Ok(Next::Part(13)));
}

#[test]
fn what_does_not_fit_is_not_written() {
    let mut out = b"before".to_vec();
    let long = vec![b'x'; HEAD_BYTES_MAX];
    let nothing: [(&[u8], &[u8]); 0] = [];
    let many = vec![(&b"a"[..], &b"b"[..]); 256];
    assert!(!put_headers([(&b"a"[..], &long[..])].into_iter(), &mut out));
    assert!(!put_headers([(&long[..256], &b""[..])].into_iter(), &mut out));
    assert!(!put_headers([(&b""[..], &b"a"[..])].into_iter(), &mut out));
    assert!(!put_headers(many.into_iter(), &mut out));
    assert!(!put_head(&"x".repeat(HEAD_BYTES_MAX), nothing.into_iter(), &mut out));
    assert!(!put_head(&"x".repeat(HEAD_BYTES_MAX - 2), nothing.into_iter(), &mut out));
    assert_eq!(out, b"before");
    assert!(put_head(&"x".repeat(HEAD_BYTES_MAX - 3), nothing.into_iter(), &mut out));
    assert!(Head::read(&out[6..]).is_ok());
}

#[test]
fn two_sides_speak_the_highest_version_that_both_know() {
    let of = |text: &str| text.parse::<Versions>().unwrap();
    for (one, other, common) in [
        ("1-1", "1-1", Some(1)),
        ("1-2", "1-1", Some(1)),
        ("1-2", "2-3", Some(2)),
        ("1-3", "2-2", Some(2)),
        ("1-1", "2-3", None),
        ("0-9", "4-5", Some(5)),
    ] {
        assert_eq!((of(one).common(of(other)), of(other).common(of(one))), (common, common), "{one} {other}");
    }
    assert_eq!(VERSIONS.to_string().parse(), Ok(VERSIONS));
    for bad in ["", "1", "-", "1-", "-1", "2-1", "1-65536", "a-b", "1-2-3", " 1-2", "+1-2"] {
        assert_eq!(bad.parse::<Versions>(), Err(BadOpening), "{bad:?}");
    }
}

#[test]
fn heads_that_come_again_are_kept_and_those_that_do_not_push_nothing_out() {
    let mut heads = Heads::new(4);
    let block = |n: u32| n.to_le_bytes().to_vec();
    for n in 0..4 {
        assert_eq!(heads.place(&block(n)), Placed::Inline);
        assert_eq!(heads.place(&block(n)), Placed::New(n as u16));
    }
    for n in 100..1100 {
        heads.place(&block(n));
        for m in 0..4 {
            assert_eq!(heads.place(&block(m)), Placed::Known(m as u16), "{n}");
        }
    }
    // One more that comes again takes the place of one, and leaves the others where they are.
    let taken = loop {
        if let Placed::Known(number) = heads.place(&block(5)) {
            break number;
        }
    };
    for m in (0..4).filter(|m| *m != taken) {
        assert_eq!(heads.place(&block(u32::from(m))), Placed::Known(m));
    }
    assert_eq!(Heads::new(0).place(b"x"), Placed::Inline);
}

/// What a frame is made of.
type Parts = (u8, u64, u32, Vec<(Vec<u8>, Vec<u8>)>, Vec<u8>, String);

fn parts() -> impl Strategy<Value = Parts> {
    let header = (prop::collection::vec(any::<u8>(), 1..20), prop::collection::vec(any::<u8>(), 0..40));
    let headers = prop::collection::vec(header, 0..6);
    (0..12_u8, any::<u64>(), any::<u32>(), headers, prop::collection::vec(any::<u8>(), 0..200), "[/a-z0-9é:]{0,30}")
}

/// The frame's bytes; `look` sees it before.
fn made((kind, id, number, headers, body, path): &Parts, look: impl FnOnce(&Frame<'_>, &[u8])) {
    let mut block = Vec::new();
    assert!(put_head(path, headers.iter().map(|(n, v)| (n.as_slice(), v.as_slice())), &mut block));
    let headers = list(headers);
    let (head, headers, short) = (Head::read(&block).unwrap(), Headers::read(&headers).unwrap(), *number as u16);
    let index = short.min(u16::MAX - 1);
    let call = Call {
        id: *id,
        timeout_ms: *number,
        head: HeadOf::Known(index),
        request_id: &body[..body.len() / 2],
        headers,
        body,
    };
    let reply = Reply {
        id: *id,
        status: 200 + short % 400,
        error: Kind::ALL.get(usize::from(short) % 20).copied(),
        version: Answered::AsChosen,
        load: *number,
        rows: (number % 2 == 0).then_some(*number),
        content: Content::ALL[usize::from(short) % 6],
        headers,
        body,
    };
    let frame = match kind {
        0 => Frame::Hello(Hello {
            version: short,
            credits: *number,
            frame_bytes_max: *number,
            connections: short,
            heads: short,
            name: "b-1",
        }),
        1 => Frame::Head(index, head),
        2 => Frame::Call(call),
        3 => Frame::Call(Call { head: HeadOf::Inline(head), ..call }),
        4 => Frame::Reply(reply),
        5 => Frame::Reply(Reply { version: Answered::Version(*id, [short as u8; 32]), ..reply }),
        6 => Frame::Closed(*id, Closed::Cancelled),
        7 => Frame::Closed(*id, Closed::TooLarge),
        8 => Frame::Cancel(*id),
        9 => Frame::Ping(*id),
        10 => Frame::Pong(*id),
        _ => Frame::Draining,
    };
    look(&frame, &bytes_of(&frame));
}

#[test]
fn a_number_stands_for_its_head_until_that_is_pushed_out() {
    let mut heads = Heads::new(1);
    // The first time it may come with its call.
    let place = |heads: &mut Heads, block: &[u8]| {
        (0..2).map(|_| heads.place(block)).find(|placed| *placed != Placed::Inline).unwrap()
    };
    assert_eq!(place(&mut heads, b"one"), Placed::New(0));
    let one = Arc::clone(heads.get(0).unwrap());
    assert!(heads.is_still(0, &one) && !heads.is_still(1, &one) && heads.get(1).is_none());
    assert_eq!(place(&mut heads, b"two"), Placed::New(0));
    assert!(!heads.is_still(0, &one));
    // The same bytes anew are another head to those who knew the first.
    assert_eq!(place(&mut heads, b"one"), Placed::New(0));
    assert!(!heads.is_still(0, &one));
}

proptest! {
    #[test]
    fn a_frame_reads_back_wherever_the_stream_is_cut(parts in parts(), behind in prop::collection::vec(any::<u8>(), 0..9)) {
        made(&parts, |frame, bytes| {
            let stream = [bytes, &behind].concat();
            assert_eq!(next(&stream, FRAME_BYTES_MAX), Ok(Next::Frame(frame.clone(), bytes.len())));
            for end in 0..bytes.len() {
                let part = next(&bytes[..end], FRAME_BYTES_MAX);
                // Never asks for more than there is to come, and always for more than there is.
                assert!(matches!(part, Ok(Next::Part(needed)) if needed > end && needed <= bytes.len()), "{part:?}");
            }
            assert!(next(bytes, bytes.len() - 5).is_err());
        });
    }

    #[test]
    fn any_bytes_are_a_frame_or_refused(
        parts in parts(),
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
        noise in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        made(&parts, |_, bytes| {
            let mut mutated = bytes.to_vec();
            mutated[at.index(bytes.len())] = to;
            for bytes in [&mutated, &noise] {
                if let Ok(Next::Frame(frame, used)) = next(bytes, 4096) {
                    assert!(used <= bytes.len());
                    // What was read means the same once it is written again.
                    let again = bytes_of(&frame);
                    assert_eq!(next(&again, 8192), Ok(Next::Frame(frame, again.len())));
                }
            }
        });
    }
}
