//! The version 3 token dictionary: short codes for frequent strings (`wire-protocol.md` 1.4).

use super::dictionary_table::{CODES, DOUBLE, LONGEST, SINGLE};

/// The dictionary version that the connection header announces.
pub(super) const VERSION: u8 = 3;

/// The code of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// One tag byte, 1..=235.
    Single(u8),
    /// Dictionary 0..=3, and the index in it.
    Double(u8, u8),
}

impl Token {
    fn from_code(code: u16) -> Self {
        let [high, low] = code.to_be_bytes();
        match high.checked_sub(1) {
            None => Self::Single(low),
            Some(dictionary) => Self::Double(dictionary, low),
        }
    }
}

/// Places of the hash table: a third of them is taken.
const PLACES: usize = 4096;

/// Codes of all tokens by the hash of their text, or at the next free place; 0 is free. Made by the compiler.
static BY_HASH: [u16; PLACES] = by_hash();

const fn by_hash() -> [u16; PLACES] {
    let (mut table, mut next) = ([0; PLACES], 0);
    while next < CODES.len() {
        let [high, low] = CODES[next].to_be_bytes();
        let text = if high == 0 { SINGLE[low as usize - 1] } else { DOUBLE[high as usize - 1][low as usize] };
        let mut place = place_of(text.as_bytes());
        while table[place] != 0 {
            place = (place + 1) % PLACES;
        }
        table[place] = CODES[next];
        next += 1;
    }
    table
}

/// FNV-1a.
const fn place_of(text: &[u8]) -> usize {
    let (mut hash, mut at) = (0x811c_9dc5_u32, 0);
    while at < text.len() {
        hash = (hash ^ text[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    (hash ^ (hash >> 15)) as usize % PLACES
}

/// The token for this text, if it is one.
pub(super) fn token_of(text: &str) -> Option<Token> {
    if text.len() > LONGEST {
        return None;
    }
    let mut place = place_of(text.as_bytes());
    loop {
        let token = Some(BY_HASH[place]).filter(|code| *code != 0).map(Token::from_code)?;
        if text_of(token) == Some(text) {
            return Some(token);
        }
        place = (place + 1) % PLACES;
    }
}

/// The text of a token, if there is such a token.
pub(super) fn text_of(token: Token) -> Option<&'static str> {
    match token {
        Token::Single(tag) => SINGLE.get(usize::from(tag).checked_sub(1)?).copied(),
        Token::Double(dictionary, index) => DOUBLE.get(usize::from(dictionary))?.get(usize::from(index)).copied(),
    }
    .filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::testing::vectors;
    use sha2::{Digest, Sha256};

    #[test]
    fn the_tables_have_the_published_hashes() {
        let v = &vectors()["nodes"]["dictionary"];
        let hash = |tokens: &[&str]| hex::encode(Sha256::digest(tokens.join("\n")));
        assert_eq!(hash(&SINGLE), v["single_byte_sha256"].as_str().unwrap());
        for (table, expected) in DOUBLE.iter().zip(v["double_byte_sha256"].as_array().unwrap()) {
            assert_eq!(hash(table), expected.as_str().unwrap());
        }
    }

    #[test]
    fn every_token_is_found_by_its_text() {
        for (tag, text) in (1..).zip(SINGLE) {
            assert_eq!(token_of(text), Some(Token::Single(tag)), "{text}");
        }
        for (dictionary, table) in (0..).zip(DOUBLE) {
            for (index, text) in (0..=255).zip(table) {
                assert_eq!(token_of(text), Some(Token::Double(dictionary, index)), "{text}");
            }
        }
        assert_eq!(token_of("xyzzy"), None);
    }
}
