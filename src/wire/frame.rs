//! Framing of the byte stream (`wire-protocol.md` 1.2): three length bytes, big-endian, then the payload.

use super::{WireError, dictionary};

/// The connection header, sent once before the client's first frame: also the Noise prologue.
pub const HEADER: [u8; 4] = [b'W', b'A', 6, dictionary::VERSION];

/// A frame's payload is shorter than 2^24 bytes.
pub const MAX_PAYLOAD: usize = (1 << 24) - 1;

/// Appends `payload` as a frame.
pub fn write_frame(out: &mut Vec<u8>, payload: &[u8]) -> Result<(), WireError> {
    if payload.len() > MAX_PAYLOAD {
        return Err(WireError::TooLarge { what: "frame", limit: MAX_PAYLOAD });
    }
    let length = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
    out.extend_from_slice(&length[1..]);
    out.extend_from_slice(payload);
    Ok(())
}

/// The bytes before the client's first frame: the routing intro if there is routing info, then the header.
pub fn intro(routing_info: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(info) = routing_info {
        let length = u32::try_from(info.len()).unwrap_or_default().to_be_bytes();
        out.extend_from_slice(&[b'E', b'D', 0, 1]);
        out.extend_from_slice(&length[1..]);
        out.extend_from_slice(info);
    }
    out.extend_from_slice(&HEADER);
    out
}

/// Cuts a byte stream into frames. Memory grows with the bytes received, not with the length announced.
#[derive(Debug, Default)]
pub struct FrameReader {
    buffer: Vec<u8>,
    limit: Option<usize>,
}

impl FrameReader {
    /// Frames above `limit` bytes are refused.
    pub fn with_limit(limit: usize) -> Self {
        Self { buffer: Vec::new(), limit: Some(limit) }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame's payload.
    pub fn next_frame(&mut self) -> Result<Option<Vec<u8>>, WireError> {
        let Some(&[a, b, c]) = self.buffer.first_chunk::<3>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        if let Some(limit) = self.limit.filter(|limit| length > *limit) {
            return Err(WireError::TooLarge { what: "frame", limit });
        }
        if self.buffer.len() < 3 + length {
            return Ok(None);
        }
        let rest = self.buffer.split_off(3 + length);
        let mut frame = std::mem::replace(&mut self.buffer, rest);
        frame.drain(..3);
        Ok(Some(frame))
    }

    /// Takes exactly `count` bytes off the front, for what precedes the first frame.
    pub fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        if self.buffer.len() < count {
            return None;
        }
        let rest = self.buffer.split_off(count);
        Some(std::mem::replace(&mut self.buffer, rest))
    }

    /// The bytes not yet taken.
    pub fn peek(&self) -> &[u8] {
        &self.buffer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::testing::{vector_bytes, vectors};

    #[test]
    fn frames_come_out_however_the_stream_is_cut() {
        let mut stream = Vec::new();
        write_frame(&mut stream, b"one").unwrap();
        write_frame(&mut stream, b"").unwrap();
        write_frame(&mut stream, b"three").unwrap();
        let mut reader = FrameReader::default();
        let mut frames = Vec::new();
        for byte in stream {
            reader.push(&[byte]);
            while let Some(frame) = reader.next_frame().unwrap() {
                frames.push(frame);
            }
        }
        assert_eq!(frames, [b"one".to_vec(), vec![], b"three".to_vec()]);
    }

    #[test]
    fn the_intro_with_routing_info_equals_the_known_answer() {
        let v = &vectors()["edge_routing"];
        let expected = v["first_bytes (ED 00 01, u24 length, info, WA header)"].as_str().unwrap();
        assert_eq!(hex::encode(intro(Some(&vector_bytes(&v["routing_info"])))), expected);
    }

    #[test]
    fn a_frame_above_the_limit_is_refused_before_it_arrives() {
        let mut reader = FrameReader::with_limit(10);
        reader.push(&[0, 0, 11]);
        assert_eq!(reader.next_frame(), Err(WireError::TooLarge { what: "frame", limit: 10 }));
    }
}
