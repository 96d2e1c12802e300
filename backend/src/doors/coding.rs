//! gzip and deflate, of bodies and of gRPC's messages: bounded in what comes out, and off the server's threads where it
//! takes long.

use std::io::{BufRead, Read};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use flate2::read::{GzEncoder, ZlibEncoder};
use headgate_contract::Kind;
use tokio::time::Instant;

use super::body::Held;
use crate::dispatch::Shared;
use crate::refusal::Refusal;

mod headers;

pub(super) use headers::{Packing, of_body, pack_reply};

/// What is packed or unpacked where it is read: about 0.2 ms.
const INLINE_BYTES: usize = 16 << 10;
/// And what may come of it there.
const INLINE_BYTES_OUT: u64 = 64 << 10;
/// What a byte costs, about.
const NS_PER_BYTE: u64 = 20;
/// What is unpacked at a time, before it is counted.
const STEP: u64 = 256 << 10;

/// How bytes are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950, as HTTP and gRPC mean by the name; RFC 1951 alone is read too, as some send that.
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

    /// Unpacks a body or message, to at most as much as one may have. What it takes is held instead of what it took.
    pub(super) async fn unpack(
        self,
        shared: &Shared,
        packed: Bytes,
        held: &mut Held,
        deadline: Instant,
    ) -> Result<Bytes, Refusal> {
        let (most, length) = (shared.limits.body_bytes_max, packed.len());
        let mut own = held.split(0);
        let here = match length <= INLINE_BYTES {
            true => match self.unpacked(&packed, most.min(INLINE_BYTES_OUT), &mut own) {
                Err(refusal) if refusal.kind == Kind::TooLarge && most > INLINE_BYTES_OUT => None,
                unpacked => Some(unpacked?),
            },
            false => None,
        };
        let unpacked = match here {
            Some(unpacked) => unpacked,
            None => {
                own = held.split(0);
                // Mostly a few times as long.
                let cost = Duration::from_nanos(4 * NS_PER_BYTE * length as u64);
                let work = move |_: &mut _| self.unpacked(&packed, most, &mut own).map(|unpacked| (unpacked, own));
                let (unpacked, taken) = shared.compute.run(cost, deadline, work).await?;
                own = taken;
                unpacked
            }
        };
        drop(held.split(length as u64));
        held.join(own);
        Ok(unpacked.into())
    }

    fn unpacked(self, packed: &[u8], most: u64, held: &mut Held) -> Result<Vec<u8>, Refusal> {
        match self {
            Coding::Gzip => self.drain(MultiGzDecoder::new(packed), most, held).map(|(bytes, _)| bytes),
            Coding::Deflate if is_zlib(packed) => {
                let (bytes, decoder) = self.drain(ZlibDecoder::new(packed), most, held)?;
                self.whole(bytes, decoder.into_inner())
            }
            Coding::Deflate => {
                let (bytes, decoder) = self.drain(DeflateDecoder::new(packed), most, held)?;
                self.whole(bytes, decoder.into_inner())
            }
        }
    }

    fn drain<R: Read>(self, mut from: R, most: u64, held: &mut Held) -> Result<(Vec<u8>, R), Refusal> {
        let mut bytes = Vec::new();
        loop {
            let read = from.by_ref().take(STEP).read_to_end(&mut bytes);
            let read = read.map_err(|error| self.broken(&error.to_string()))? as u64;
            if bytes.len() as u64 > most {
                let words = format!("what came in {} is larger than {most} bytes", self.as_str());
                return Err(Refusal::new(Kind::TooLarge, words));
            }
            held.take(read)?;
            if read < STEP {
                return Ok((bytes, from));
            }
        }
    }

    /// Checks that nothing follows the end.
    fn whole(self, bytes: Vec<u8>, mut rest: impl BufRead) -> Result<Vec<u8>, Refusal> {
        match rest.fill_buf() {
            Ok([]) => Ok(bytes),
            _ => Err(self.broken("more after its end")),
        }
    }

    fn broken(self, why: &str) -> Refusal {
        Refusal::invalid(format!("what came is no {}: {why}", self.as_str()))
    }

    /// Packs bytes.
    pub(super) async fn pack(
        self,
        shared: &Shared,
        bytes: impl AsRef<[u8]> + Send + 'static,
        deadline: Instant,
    ) -> Result<Vec<u8>, Refusal> {
        let length = bytes.as_ref().len();
        if length <= INLINE_BYTES {
            return Ok(self.packed(bytes.as_ref()));
        }
        let cost = Duration::from_nanos(NS_PER_BYTE * length as u64);
        shared.compute.run(cost, deadline, move |_| Ok(self.packed(bytes.as_ref()))).await
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

/// Whether bytes begin as RFC 1950 says; no compressor begins RFC 1951 alone like that.
fn is_zlib(bytes: &[u8]) -> bool {
    let [method, flags, ..] = *bytes else { return true };
    method & 0x0f == 8 && method >> 4 <= 7 && u16::from_be_bytes([method, flags]).is_multiple_of(31)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use flate2::read::DeflateEncoder;
    use proptest::prelude::*;

    use super::*;

    fn unpacked(coding: Coding, packed: &[u8], most: u64) -> Result<Vec<u8>, Refusal> {
        coding.unpacked(packed, most, &mut Held::of(&Arc::default(), u64::MAX))
    }

    #[test]
    fn what_is_packed_is_unpacked_and_bounded() {
        let bytes: Vec<u8> = (0..100_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        for coding in [Coding::Gzip, Coding::Deflate] {
            assert_eq!(Coding::named(coding.as_str()), Some(coding));
            let packed = coding.packed(&bytes);
            assert!(packed.len() < bytes.len() / 2, "{} bytes", packed.len());
            assert_eq!(unpacked(coding, &packed, bytes.len() as u64).unwrap(), bytes);
            let refused = unpacked(coding, &packed, 1000).unwrap_err();
            assert!(refused.kind == Kind::TooLarge && refused.message.contains("1000 bytes"), "{refused}");
            assert_eq!(unpacked(coding, b"{}", 1000).unwrap_err().kind, Kind::InvalidRequest);
        }
        let mut raw = Vec::new();
        DeflateEncoder::new(&bytes[..], Compression::default()).read_to_end(&mut raw).unwrap();
        assert_eq!(unpacked(Coding::Deflate, &raw, u64::MAX).unwrap(), bytes);
        // Two members are one body, as RFC 1952 has it.
        let two = [Coding::Gzip.packed(b"ab"), Coding::Gzip.packed(b"c")].concat();
        assert_eq!(unpacked(Coding::Gzip, &two, u64::MAX).unwrap(), b"abc");
    }

    #[test]
    fn what_comes_out_counts_as_it_comes() {
        let all = Arc::new(AtomicU64::new(0));
        let packed = Coding::Gzip.packed(&vec![0; 4 << 20]);
        let mut held = Held::of(&all, 1 << 20);
        let refused = Coding::Gzip.unpacked(&packed, u64::MAX, &mut held).unwrap_err();
        assert!(refused.kind == Kind::Overloaded && all.load(Ordering::Relaxed) < 2 << 20, "{refused}");
        drop(held);
        assert_eq!(all.load(Ordering::Relaxed), 0);
    }

    proptest! {
        #[test]
        fn what_is_cut_or_followed_by_more_is_refused(
            bytes in proptest::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..3000),
            cut in any::<prop::sample::Index>(),
            kind in 0..3usize,
        ) {
            let coding = if kind == 0 { Coding::Gzip } else { Coding::Deflate };
            let mut packed = coding.packed(&bytes);
            if kind == 2 {
                packed.clear();
                DeflateEncoder::new(&bytes[..], Compression::fast()).read_to_end(&mut packed).unwrap();
            }
            prop_assert_eq!(&unpacked(coding, &packed, u64::MAX).unwrap(), &bytes);
            let cut = cut.index(packed.len());
            let refused = unpacked(coding, &packed[..cut], u64::MAX).map(|_| ()).unwrap_err();
            prop_assert!(refused.kind == Kind::InvalidRequest && refused.message.contains(coding.as_str()));
            packed.push(7);
            prop_assert!(unpacked(coding, &packed, u64::MAX).is_err());
        }
    }
}
