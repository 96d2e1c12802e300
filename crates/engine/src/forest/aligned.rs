//! Bytes that begin at a cache line: a row of 64 that lies across two costs every load and store twice.

/// A cache line, in bytes.
const LINE: usize = 64;

/// A growing buffer of bytes whose first one lies at the start of a cache line.
#[derive(Debug, Default)]
pub(super) struct Aligned {
    bytes: Vec<u8>,
    start: usize,
}

impl Aligned {
    /// So many bytes, 0 at first; those of a buffer that grows are 0 again.
    pub(super) fn bytes(&mut self, len: usize) -> &mut [u8] {
        if self.bytes.len() < self.start + len {
            self.bytes = vec![0; len + LINE];
            self.start = self.bytes.as_ptr().align_offset(LINE).min(LINE);
        }
        &mut self.bytes[self.start..self.start + len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_begin_at_a_line_and_are_kept() {
        let mut buffer = Aligned::default();
        let bytes = buffer.bytes(200);
        assert_eq!((bytes.as_ptr().align_offset(LINE), bytes.len()), (0, 200));
        bytes[199] = 7;
        assert_eq!(buffer.bytes(200)[199], 7);
        assert_eq!(buffer.bytes(5000).as_ptr().align_offset(LINE), 0);
    }
}
