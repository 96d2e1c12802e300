//! gzip and deflate, of bodies and of gRPC's messages: bounded in what comes out, and off the server's threads where it
//! takes long.

use std::io::Read;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::read::{GzEncoder, MultiGzDecoder, ZlibDecoder, ZlibEncoder};
use headgate_contract::Kind;
use tokio::time::Instant;

use crate::dispatch::Shared;
use crate::refusal::Refusal;

/// What is packed or unpacked where it is read: about 0.2 ms.
const INLINE_BYTES: usize = 16 << 10;
/// And what may come of it there.
const INLINE_BYTES_OUT: u64 = 64 << 10;
/// What a byte costs, about.
const NS_PER_BYTE: u64 = 20;

/// How bytes are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950, as HTTP and gRPC mean by the name.
    Deflate,
}

impl Coding {
    /// The coding of that name.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "gzip" | "x-gzip" => Some(Coding::Gzip),
            "deflate" => Some(Coding::Deflate),
            _ => None,
        }
    }

    /// Its name.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Deflate => "deflate",
        }
    }

    /// Unpacks bytes, to at most `most`.
    pub(super) async fn unpack(
        self,
        shared: &Shared,
        packed: Bytes,
        most: u64,
        deadline: Instant,
    ) -> Result<Bytes, Refusal> {
        if packed.len() <= INLINE_BYTES {
            match self.unpacked(&packed, most.min(INLINE_BYTES_OUT)) {
                Err(refusal) if refusal.kind == Kind::TooLarge && most > INLINE_BYTES_OUT => {}
                unpacked => return unpacked,
            }
        }
        // Mostly a few times as long.
        let cost = Duration::from_nanos(4 * NS_PER_BYTE * packed.len() as u64);
        shared.compute.run(cost, deadline, move |_| self.unpacked(&packed, most)).await
    }

    fn unpacked(self, packed: &[u8], most: u64) -> Result<Bytes, Refusal> {
        let mut bytes = Vec::new();
        let read = match self {
            Coding::Gzip => MultiGzDecoder::new(packed).take(most.saturating_add(1)).read_to_end(&mut bytes),
            Coding::Deflate => ZlibDecoder::new(packed).take(most.saturating_add(1)).read_to_end(&mut bytes),
        };
        match read {
            Ok(_) if bytes.len() as u64 > most => {
                let words = format!("what came in {} is larger than {most} bytes", self.as_str());
                Err(Refusal::new(Kind::TooLarge, words))
            }
            Ok(_) => Ok(bytes.into()),
            Err(error) => Err(Refusal::invalid(format!("what came is no {}: {error}", self.as_str()))),
        }
    }

    /// Packs bytes.
    pub(super) async fn pack(self, shared: &Shared, bytes: Vec<u8>, deadline: Instant) -> Result<Vec<u8>, Refusal> {
        if bytes.len() <= INLINE_BYTES {
            return Ok(self.packed(&bytes));
        }
        let cost = Duration::from_nanos(NS_PER_BYTE * bytes.len() as u64);
        shared.compute.run(cost, deadline, move |_| Ok(self.packed(&bytes))).await
    }

    fn packed(self, bytes: &[u8]) -> Vec<u8> {
        let mut packed = Vec::with_capacity(bytes.len() / 2 + 64);
        // Reading from memory and writing to it can't fail.
        let _ = match self {
            Coding::Gzip => GzEncoder::new(bytes, Compression::fast()).read_to_end(&mut packed),
            Coding::Deflate => ZlibEncoder::new(bytes, Compression::fast()).read_to_end(&mut packed),
        };
        packed
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked_and_bounded() {
        let bytes: Vec<u8> = (0..100_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        for coding in [Coding::Gzip, Coding::Deflate] {
            assert_eq!(Coding::named(coding.as_str()), Some(coding));
            let packed = coding.packed(&bytes);
            assert!(packed.len() < bytes.len() / 2, "{} bytes", packed.len());
            assert_eq!(coding.unpacked(&packed, bytes.len() as u64).unwrap(), bytes);
            let refused = coding.unpacked(&packed, 1000).unwrap_err();
            assert!(refused.kind == Kind::TooLarge && refused.message.contains("1000 bytes"), "{refused}");
            let refused = coding.unpacked(&packed[..packed.len() / 2], u64::MAX).unwrap_err();
            assert!(refused.kind == Kind::InvalidRequest && refused.message.contains(coding.as_str()), "{refused}");
            assert_eq!(coding.unpacked(b"{}", 1000).unwrap_err().kind, Kind::InvalidRequest);
        }
    }
}
