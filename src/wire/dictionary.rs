//! The version 3 token dictionary: short codes for frequent strings (`wire-protocol.md` 1.4).

use super::dictionary_table::{BY_TEXT, DOUBLE, SINGLE};

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

/// The token for this text, if it is one.
pub(super) fn token_of(text: &str) -> Option<Token> {
    BY_TEXT
        .binary_search_by(|code| text_of(Token::from_code(*code)).unwrap_or("").cmp(text))
        .ok()
        .map(|place| Token::from_code(BY_TEXT[place]))
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
