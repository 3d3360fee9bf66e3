//! Protobuf fields, read in place and written in place: messages and session records, which every message passes through, are
//! neither copied nor allocated for.
//!
//! Only what they use: varints and byte strings. Fields of other types are skipped when they are unknown, as
//! protobuf demands, and malformed when they are not. A differential test holds the reader to what prost reads.

/// The value of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Fixed,
}

/// A structure that is no protobuf, or a field of an unexpected type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotProtobuf;

impl<'a> Value<'a> {
    /// A `uint32`: of a longer varint the low 32 bits, as protobuf demands.
    #[expect(clippy::cast_possible_truncation, reason = "the low 32 bits are what is asked for")]
    pub(super) fn uint32(self) -> Result<u32, NotProtobuf> {
        match self {
            Self::Varint(value) => Ok(value as u32),
            _ => Err(NotProtobuf),
        }
    }

    pub(super) fn uint64(self) -> Result<u64, NotProtobuf> {
        match self {
            Self::Varint(value) => Ok(value),
            _ => Err(NotProtobuf),
        }
    }

    pub(super) fn bytes(self) -> Result<&'a [u8], NotProtobuf> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(NotProtobuf),
        }
    }
}

/// Calls `take` with the number and the value of each field.
pub(super) fn read<'a>(
    mut bytes: &'a [u8],
    mut take: impl FnMut(u32, Value<'a>) -> Result<(), NotProtobuf>,
) -> Result<(), NotProtobuf> {
    while !bytes.is_empty() {
        let key = u32::try_from(varint(&mut bytes)?).map_err(|_| NotProtobuf)?;
        let value = match key & 7 {
            0 => Value::Varint(varint(&mut bytes)?),
            1 => split(&mut bytes, 8).map(|_| Value::Fixed)?,
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).map_err(|_| NotProtobuf)?;
                Value::Bytes(split(&mut bytes, length)?)
            }
            5 => split(&mut bytes, 4).map(|_| Value::Fixed)?,
            _ => return Err(NotProtobuf),
        };
        if key >> 3 == 0 {
            return Err(NotProtobuf);
        }
        take(key >> 3, value)?;
    }
    Ok(())
}

fn split<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], NotProtobuf> {
    let (head, tail) = bytes.split_at_checked(length).ok_or(NotProtobuf)?;
    *bytes = tail;
    Ok(head)
}

fn varint(bytes: &mut &[u8]) -> Result<u64, NotProtobuf> {
    let mut value = 0u64;
    for (place, &byte) in bytes.iter().take(10).enumerate() {
        // The tenth byte holds the last bit of the 64.
        if place == 9 && byte > 1 {
            return Err(NotProtobuf);
        }
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            *bytes = &bytes[place + 1..];
            return Ok(value);
        }
    }
    Err(NotProtobuf)
}

/// The encoded length of a varint.
pub(super) const fn varint_len(value: u32) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        0x20_0000..0x1000_0000 => 4,
        _ => 5,
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Writes a `uint32` or `uint64` field.
pub(super) fn put_uint(out: &mut Vec<u8>, field: u32, value: impl Into<u64>) {
    put_varint(out, u64::from(field << 3));
    put_varint(out, value.into());
}

/// Writes the head of a byte-string field; `length` bytes must follow.
pub(super) fn put_length(out: &mut Vec<u8>, field: u32, length: u32) {
    put_varint(out, u64::from(field << 3 | 2));
    put_varint(out, length.into());
}

/// Writes a byte-string field of fixed length: a key.
pub(super) fn put_key<const N: usize>(out: &mut Vec<u8>, field: u32, key: &[u8; N]) {
    put_varint(out, u64::from(field << 3 | 2));
    put_varint(out, N as u64);
    out.extend_from_slice(key);
}

/// Writes a message field: what `write` appends. Its length is put before it afterwards.
pub(super) fn put_message(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    put_varint(out, u64::from(field << 3 | 2));
    let start = out.len();
    write(out);
    let end = out.len();
    put_varint(out, (end - start) as u64);
    out[start..].rotate_left(end - start);
}

/// Appends an element of a packed field.
pub(super) fn put_packed(out: &mut Vec<u8>, value: u32) {
    put_varint(out, value.into());
}

/// The elements of a packed `uint32` field.
pub(super) fn read_packed(mut bytes: &[u8]) -> Result<Vec<u32>, NotProtobuf> {
    let mut values = Vec::new();
    while !bytes.is_empty() {
        values.push(Value::Varint(varint(&mut bytes)?).uint32()?);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::proto;
    use proptest::prelude::*;
    use prost::Message;

    fn read_message(bytes: &[u8]) -> Result<proto::SignalMessage, NotProtobuf> {
        let mut out = proto::SignalMessage::default();
        read(bytes, |field, value| {
            match field {
                1 => out.ratchet_key = Some(value.bytes()?.to_vec()),
                2 => out.counter = Some(value.uint32()?),
                3 => out.previous_counter = Some(value.uint32()?),
                4 => out.ciphertext = Some(value.bytes()?.to_vec()),
                _ => {}
            }
            Ok(())
        })?;
        Ok(out)
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let field = (0..0x40u8, prop::collection::vec(any::<u8>(), 0..12));
        let fields = prop::collection::vec(field, 0..6);
        fields.prop_map(|fields| fields.into_iter().flat_map(|(key, rest)| [vec![key], rest].concat()).collect())
    }

    proptest! {
        /// Groups (wire types 3 and 4) are the one thing that prost skips and we refuse.
        #[test]
        fn what_is_read_is_what_prost_reads(bytes in bytes()) {
            let ours = read_message(&bytes).ok();
            let prosts = proto::SignalMessage::decode(&bytes[..]).ok();
            let has_groups = bytes.iter().any(|byte| matches!(byte & 7, 3 | 4));
            prop_assert!(ours == prosts || has_groups && ours.is_none(), "{ours:?} {prosts:?}");
        }

        #[test]
        fn what_is_written_is_what_prost_writes(counter: u32, previous: u32, key in prop::array::uniform32(any::<u8>())) {
            let typed = { let mut typed = [5; 33]; typed[1..].copy_from_slice(&key); typed };
            let mut out = Vec::new();
            put_key(&mut out, 1, &typed);
            put_uint(&mut out, 2, counter);
            put_uint(&mut out, 3, previous);
            put_length(&mut out, 4, 300);
            out.extend([7; 300]);
            let expected = proto::SignalMessage {
                ratchet_key: Some(typed.to_vec()),
                counter: Some(counter),
                previous_counter: Some(previous),
                ciphertext: Some(vec![7; 300]),
            };
            prop_assert_eq!(out, expected.encode_to_vec());
            prop_assert_eq!(varint_len(counter), prost::length_delimiter_len(counter as usize));
        }
    }
}
