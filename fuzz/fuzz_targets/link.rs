//! Frames of the link: a stream of any bytes is frames, a part of one, or refused, and what was read is written the same.
#![no_main]

use headgate_contract::link::{FRAME_BYTES_MAX, Frame, HeadOf, Next, next};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Ok(Next::Frame(frame, used)) = next(rest, FRAME_BYTES_MAX) {
        let mut again = Vec::new();
        frame.put(&mut again);
        // A hello may say more than this build knows; all else is written as it came.
        match &frame {
            Frame::Hello(_) => assert!(matches!(next(&again, FRAME_BYTES_MAX), Ok(Next::Frame(Frame::Hello(_), _)))),
            Frame::Reply(reply) if reply.error.is_none() => assert_eq!(again.len(), used),
            _ => assert_eq!(again, &rest[..used]),
        }
        if let Frame::Call(call) = frame {
            let head = if let HeadOf::Inline(head) = call.head { head.headers.iter().count() } else { 0 };
            assert!(head <= 255 && call.headers.iter().count() <= 255);
        }
        rest = &rest[used..];
    }
    if let Ok(Next::Part(needed)) = next(rest, FRAME_BYTES_MAX) {
        assert!(needed > rest.len() && needed <= 4 + FRAME_BYTES_MAX);
    }
});
