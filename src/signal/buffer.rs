//! The caller's buffer: where a message is built or decrypted, so that neither allocates (`signal-protocol.txt`, "Buffer
//! Reuse"; what are thread-local buffers there is an argument here).

use zeroize::Zeroize;

const INITIAL: usize = 1024;
const MAXIMUM: usize = 16 * 1024;
const SHRINK_EVERY: u32 = 100;

/// Starts with 1 KiB; at every 100th use it is shrunk to that if it has grown above 16 KiB. Wiped on drop: it holds plaintexts.
pub struct Buffer {
    bytes: Vec<u8>,
    uses: u32,
}

impl Buffer {
    pub fn new() -> Self {
        Self { bytes: Vec::with_capacity(INITIAL), uses: 0 }
    }

    /// The result of the last operation.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes that it can hold without growing.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Wipes the result of the last operation.
    pub(super) fn wipe(&mut self) {
        self.bytes.zeroize();
    }

    /// The empty buffer with room for `size` bytes.
    pub(super) fn begin(&mut self, size: usize) -> &mut Vec<u8> {
        self.uses = self.uses.wrapping_add(1);
        let shrink = self.uses.is_multiple_of(SHRINK_EVERY) && self.bytes.capacity() > MAXIMUM;
        if shrink || self.bytes.capacity() < size {
            // Growing in place would leave a copy of the old plaintext behind.
            self.bytes.zeroize();
            self.bytes = Vec::with_capacity(size.max(INITIAL));
        }
        self.bytes.clear();
        &mut self.bytes
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({} bytes)", self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_has_grown_is_shrunk_at_its_hundredth_use() {
        let mut buffer = Buffer::new();
        assert_eq!(buffer.capacity(), INITIAL);
        buffer.begin(MAXIMUM + 1);
        for _ in 2..SHRINK_EVERY {
            buffer.begin(10);
        }
        assert!(buffer.capacity() > MAXIMUM);
        buffer.begin(10);
        assert_eq!(buffer.capacity(), INITIAL);
    }

    #[test]
    fn a_buffer_of_moderate_size_is_kept() {
        let mut buffer = Buffer::new();
        buffer.begin(MAXIMUM);
        let capacity = buffer.capacity();
        for _ in 0..2 * SHRINK_EVERY {
            buffer.begin(10);
        }
        assert_eq!(buffer.capacity(), capacity);
    }
}
