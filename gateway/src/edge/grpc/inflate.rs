//! Compressed messages, inflated within the bound of bodies: what is small at once, the rest beside the async threads.

use std::io::{Cursor, Read};
use std::sync::Arc;

use bytes::Bytes;
use flate2::bufread::{MultiGzDecoder, ZlibDecoder};
use headgate_contract::Kind;

use super::message::Coding;
use crate::config::Limits;
use crate::edge::gate::Gate;
use crate::edge::reply::Failed;

/// What is inflated at once, in bytes: about a tenth of a millisecond.
const AT_ONCE: u64 = 32 << 10;
/// Bytes between two looks at the bounds.
const STEP: u64 = 256 << 10;

/// Inflates a message.
pub(super) async fn inflate(coding: Coding, bytes: Bytes, limits: &Limits, gate: &Arc<Gate>) -> Result<Bytes, Failed> {
    let mut reader = reader(coding, bytes);
    let mut inflated = Vec::new();
    if step(&mut reader, &mut inflated, AT_ONCE.min(limits.body_bytes_max + 1))? {
        return Ok(inflated.into());
    }
    let (max, all_max, gate) = (limits.body_bytes_max, limits.buffers_bytes_max, Arc::clone(gate));
    let rest = tokio::task::spawn_blocking(move || {
        let mut held = gate.buffer();
        held.take(inflated.len() as u64, all_max);
        loop {
            let before = inflated.len() as u64;
            if before > max {
                let message = format!("a message is larger than {max} bytes when inflated");
                return Err(Failed::new(Kind::TooLarge, message));
            }
            let ended = step(&mut reader, &mut inflated, STEP.min(max + 1 - before))?;
            if !held.take(inflated.len() as u64 - before, all_max) {
                let message = "no room to inflate a message: the bodies that are held are at their bound";
                return Err(Failed::new(Kind::Overloaded, message));
            }
            if ended {
                return Ok(inflated.into());
            }
        }
    });
    rest.await.unwrap_or_else(|_| Err(Failed::new(Kind::Internal, "a message could not be inflated")))
}

fn reader(coding: Coding, bytes: Bytes) -> Box<dyn Read + Send> {
    let bytes = Cursor::new(bytes);
    match coding {
        Coding::Identity => Box::new(bytes),
        Coding::Gzip => Box::new(MultiGzDecoder::new(bytes)),
        Coding::Deflate => Box::new(ZlibDecoder::new(bytes)),
    }
}

/// Inflates at most so many bytes more; whether that was all.
fn step(reader: &mut (dyn Read + Send), into: &mut Vec<u8>, max: u64) -> Result<bool, Failed> {
    let read = reader.take(max).read_to_end(into);
    let read =
        read.map_err(|error| Failed::new(Kind::InvalidRequest, format!("a message can't be inflated: {error}")))?;
    Ok((read as u64) < max)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use headgate_contract::config::Sources;

    use super::*;
    use crate::config::Config;

    fn gzip(bytes: &[u8]) -> Bytes {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap().into()
    }

    fn limits(body_bytes_max: u64) -> Limits {
        let mut limits = Config::load(&Sources::default()).unwrap().limits;
        limits.body_bytes_max = body_bytes_max;
        limits
    }

    #[tokio::test]
    async fn what_was_deflated_comes_back() {
        let gate = Arc::default();
        for length in [0, 1, 1_000, 32 << 10, (32 << 10) + 1, 1_000_000] {
            let bytes: Vec<u8> = (0..length as u32).map(|at| (at * 31 % 251) as u8).collect();
            let inflated = inflate(Coding::Gzip, gzip(&bytes), &limits(1_000_000), &gate).await.unwrap();
            assert!(inflated == bytes, "{length} bytes");
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&bytes).unwrap();
            let deflated = encoder.finish().unwrap().into();
            assert!(inflate(Coding::Deflate, deflated, &limits(1_000_000), &gate).await.unwrap() == bytes);
        }
        assert_eq!(gate.buffered(), 0);
    }

    #[tokio::test]
    async fn a_bomb_is_refused_by_its_size_and_nonsense_by_name() {
        let gate = Arc::default();
        let bomb = gzip(&vec![0; 5_000_000]);
        for max in [100, 50_000, 4_999_999] {
            let failed = inflate(Coding::Gzip, bomb.clone(), &limits(max), &gate).await.unwrap_err();
            assert_eq!(failed.kind, Kind::TooLarge, "{max}");
            assert!(failed.message.contains(&max.to_string()), "{}", failed.message);
        }
        for bytes in [bomb.slice(..bomb.len() / 2), bomb.slice(3..), Bytes::from_static(b"plain")] {
            let failed = inflate(Coding::Gzip, bytes, &limits(10_000_000), &gate).await.unwrap_err();
            assert_eq!(failed.kind, Kind::InvalidRequest);
        }
        assert_eq!(gate.buffered(), 0);
    }
}
