//! The token dictionary equals `wacore-binary`'s: what either writes, the other reads as the same token.

use wacore_binary::token::{get_double_token, get_single_token};
use wharf::wire::{Node, encode_node};

/// Our encoding of a node with nothing but this tag: list header, then the string.
fn ours(text: &str) -> Vec<u8> {
    encode_node(&Node::new(text.to_owned()))[2..].to_vec()
}

#[test]
fn every_token_has_the_peers_code() {
    let mut seen = 0;
    for tag in 1..=235u8 {
        if let Some(text) = get_single_token(tag).filter(|text| !text.is_empty()) {
            assert_eq!(ours(text), [tag], "{text}");
            seen += 1;
        }
    }
    for dictionary in 0..4u8 {
        for index in 0..=255u8 {
            if let Some(text) = get_double_token(dictionary, index).filter(|text| !text.is_empty()) {
                assert_eq!(ours(text), [236 + dictionary, index], "{text}");
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 235 + 4 * 256);
}

#[test]
fn a_stanza_of_ours_reads_the_same_at_the_peer() {
    let node = Node::new("message")
        .attr("to", wharf::wire::Jid::parse("236395184570386:21@lid").unwrap())
        .attr("id", "3EB0C431C26A1916E07A")
        .child(Node::new("enc").attr("v", "2").bytes([1, 2, 3]));
    let bytes = encode_node(&node);
    let theirs = wacore_binary::marshal::unmarshal_ref(&bytes).unwrap().to_owned();
    assert_eq!(wacore_binary::marshal::marshal(&theirs).unwrap()[1..], bytes);
}
