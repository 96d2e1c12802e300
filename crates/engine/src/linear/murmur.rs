//! MurmurHash3_x86_32 (Austin Appleby, public domain), over bytes that come in pieces: what starts all of a field's
//! texts is hashed once, at load.

/// A hash on its way. The pieces' borders do not show in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Murmur3 {
    hash: u32,
    /// Bytes that make no block of four yet, the first one lowest.
    rest: u64,
    rest_bits: u32,
    len: u32,
}

impl Murmur3 {
    pub(crate) fn new(seed: u32) -> Self {
        Self { hash: seed, rest: 0, rest_bits: 0, len: 0 }
    }

    /// The next piece. Lengths of texts can't be foretold, so that few branches depend on them.
    #[inline]
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let (blocks, last) = bytes.as_chunks::<4>();
        for block in blocks {
            self.rest |= u64::from(u32::from_le_bytes(*block)) << self.rest_bits;
            self.hash = block_of(self.hash, self.rest as u32);
            self.rest >>= 32;
        }
        let bits = 8 * last.len() as u32;
        let tail = match bytes.last_chunk::<4>() {
            // The last ones of four, of which the first may have been in a block.
            Some(four) => u64::from(u32::from_le_bytes(*four)) >> (32 - bits),
            None => last.iter().rev().fold(0, |tail, byte| tail << 8 | u64::from(*byte)),
        };
        self.rest |= tail << self.rest_bits;
        self.rest_bits += bits;
        let full = self.rest_bits >= 32;
        self.hash = if full { block_of(self.hash, self.rest as u32) } else { self.hash };
        self.rest >>= if full { 32 } else { 0 };
        self.rest_bits &= 31;
        self.len = self.len.wrapping_add(bytes.len() as u32);
    }

    /// The hash of all that came.
    #[inline]
    pub(crate) fn finish(self) -> u32 {
        let mut hash = self.hash ^ mix(self.rest as u32) ^ self.len;
        hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
        hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
        hash ^ (hash >> 16)
    }
}

#[inline]
fn block_of(hash: u32, block: u32) -> u32 {
    (hash ^ mix(block)).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64)
}

#[inline]
fn mix(block: u32) -> u32 {
    block.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(bytes: &[u8], seed: u32) -> u32 {
        let mut hash = Murmur3::new(seed);
        hash.write(bytes);
        hash.finish()
    }

    #[test]
    fn known_hashes() {
        const SEED: u32 = 0x9747_b28c;
        for (bytes, seed, expected) in [
            (&b""[..], 0, 0),
            (b"", 1, 0x514e_28b7),
            (b"", u32::MAX, 0x81f1_6f39),
            (b"\xff\xff\xff\xff", 0, 0x7629_3b50),
            (b"!Ce\x87", 0, 0xf55b_516b),
            (b"!Ce", 0, 0x7e4a_8634),
            (b"!C", 0, 0xa0f7_b07a),
            (b"!", 0, 0x7266_1cf4),
            (b"\0\0\0\0", 0, 0x2362_f9de),
            (b"\0\0\0", 0, 0x85f0_b427),
            (b"test", 0, 0xba6b_d213),
            (b"abc", 0, 0xb3dd_93fa),
            (b"a", SEED, 0x7fa0_9ea6),
            (b"aa", SEED, 0x5d21_1726),
            (b"aaa", SEED, 0x283e_0130),
            (b"aaaa", SEED, 0x5a97_808a),
            (b"Hello, world!", SEED, 0x2488_4cba),
            (b"The quick brown fox jumps over the lazy dog", 0, 0x2e4f_f723),
        ] {
            assert_eq!(hash(bytes, seed), expected, "{bytes:?}");
        }
    }

    #[test]
    fn pieces_hash_as_the_whole() {
        let whole = b"The quick brown fox jumps";
        for first in 0..whole.len() {
            for second in first..whole.len() {
                let mut pieces = Murmur3::new(42);
                for piece in [&whole[..first], &whole[first..second], &whole[second..]] {
                    pieces.write(piece);
                }
                assert_eq!(pieces.finish(), hash(whole, 42), "{first}, {second}");
            }
        }
    }
}
