use super::*;
use crate::signal::testing::{vector_bytes, vectors};
use crate::wire::{encode_frame, encode_node};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

fn jid(text: &str) -> Jid {
    Jid::parse(text).unwrap()
}

fn decode_node(bytes: &[u8]) -> Result<Node, WireError> {
    decode_frame(&[&[0], bytes].concat())
}

/// The value's bytes: what stands after `<to jid=` in a node.
fn attribute_bytes(value: impl Into<Value>) -> String {
    let whole = hex::encode(encode_node(&Node::new("to").attr("jid", value)));
    whole.strip_prefix("f803110c").unwrap().to_owned()
}

#[test]
fn nodes_equal_the_known_answers_both_ways() {
    let v = &vectors()["nodes"];
    let item = Node::new("item").attr("id", "DEADBEEF01");
    let cases = [
        (
            "<iq id=\"12345.6789-1\" xmlns=\"w:p\" type=\"get\" to=\"s.whatsapp.net\"/>",
            Node::new("iq")
                .attr("id", "12345.6789-1")
                .attr("xmlns", "w:p")
                .attr("type", "get")
                .attr("to", "s.whatsapp.net"),
        ),
        (
            "<message to=\"5511999999999@s.whatsapp.net\" id=\"3EB0C431C26A1916E07A\" type=\"text\"><enc v=\"2\" type=\"msg\">0x010203</enc></message>",
            Node::new("message")
                .attr("to", jid("5511999999999@s.whatsapp.net"))
                .attr("id", "3EB0C431C26A1916E07A")
                .attr("type", "text")
                .child(Node::new("enc").attr("v", "2").attr("type", "msg").bytes([1, 2, 3])),
        ),
        (
            "<to jid=\"5511999999999:7@s.whatsapp.net\"/>",
            Node::new("to").attr("jid", jid("5511999999999:7@s.whatsapp.net")),
        ),
        ("<to jid=\"236395184570386:21@lid\"/>", Node::new("to").attr("jid", jid("236395184570386:21@lid"))),
        (
            "<receipt id=\"ABC\" to=\"120363021033254949@g.us\" participant=\"111@lid\" type=\"read\"><list><item id=\"DEADBEEF01\"/></list></receipt>",
            Node::new("receipt")
                .attr("id", "ABC")
                .attr("to", jid("120363021033254949@g.us"))
                .attr("participant", jid("111@lid"))
                .attr("type", "read")
                .child(Node::new("list").child(item)),
        ),
    ];
    for (name, node) in cases {
        let bytes = vector_bytes(&v[name]);
        assert_eq!(hex::encode(encode_node(&node)), hex::encode(&bytes), "{name}");
        assert_eq!(decode_node(&bytes).unwrap(), node, "{name}");
    }
}

#[test]
fn jids_and_strings_equal_the_known_answers() {
    let v = &vectors()["nodes"];
    for (text, bytes) in v["more"]["jids"].as_object().unwrap() {
        assert_eq!(attribute_bytes(jid(text)), bytes.as_str().unwrap(), "{text}");
    }
    for (text, bytes) in v["more"]["strings"].as_object().unwrap() {
        assert_eq!(attribute_bytes(text.clone()), bytes.as_str().unwrap(), "{text}");
    }
    assert_eq!(attribute_bytes("s.whatsapp.net"), "03");
}

#[test]
fn inbound_only_jid_forms_are_read() {
    let v = &vectors()["nodes"]["more"];
    for (key, expected) in [
        ("fb_jid in (user 12345, device 3, server msgr)", Jid::new("12345", Server::Messenger).with_device(3)),
        (
            "interop_jid in (user 12345, device 3, integrator 7, server interop)",
            Jid::new("12345", Server::Interop).with_device(3).with_integrator(7),
        ),
    ] {
        let bytes = [vec![0xf8, 0x03, 0x11, 0x0c], vector_bytes(&v[key])].concat();
        assert_eq!(decode_node(&bytes).unwrap().jid("jid"), Some(expected), "{key}");
    }
}

#[test]
fn a_long_list_has_the_known_hash() {
    let v = &vectors()["nodes"]["more"]["list of 300 <item id=\"N\"/> in <list> (length and sha256)"];
    let items = (0..300u64).map(|n| Node::new("item").attr("id", n));
    let bytes = encode_node(&Node::new("list").children(items));
    assert_eq!(bytes.len() as u64, v["len"].as_u64().unwrap());
    assert_eq!(hex::encode(Sha256::digest(&bytes)), v["sha256"].as_str().unwrap());
}

#[test]
fn a_compressed_frame_is_inflated() {
    let v = &vectors()["nodes"]["more"]["zlib frame (format byte 2)"];
    let node = decode_frame(&vector_bytes(&v["frame"])).unwrap();
    assert_eq!(encode_node(&node), vector_bytes(&v["node"]));
}

#[test]
fn an_empty_list_of_children_is_no_content() {
    let empty = Node::new("iq").children([]);
    assert_eq!(encode_node(&empty), encode_node(&Node::new("iq")));
    let written_with_an_empty_list = [0xf8, 0x02, 0x19, 0xf8, 0x00];
    assert_eq!(decode_node(&written_with_an_empty_list).unwrap(), Node::new("iq"));
}

/// A compressed frame.
fn compressed(body: &[u8]) -> Vec<u8> {
    use flate2::{Compression, write::ZlibEncoder};
    use std::io::Write;
    let mut encoder = ZlibEncoder::new(vec![2], Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn an_address_whose_user_is_none_is_text_and_no_jid() {
    let pair =
        |user: &str| [&[0xf8, 0x03, 0x11, 0x0c, 0xfa, 0xfc, user.len() as u8][..], user.as_bytes(), &[0x03]].concat();
    for (user, is_jid) in [("15550002222", true), ("1555 000", false), ("a@b", false), ("\0", false)] {
        let node = decode_node(&pair(user)).unwrap();
        assert_eq!(matches!(node.get("jid"), Some(Value::Jid(_))), is_jid, "{user:?}");
        assert_eq!(node.jid("jid").is_some(), is_jid, "{user:?}");
    }
}

#[test]
fn a_frame_inflates_in_proportion_to_its_bytes() {
    let frame = compressed(&vec![0; 16 * 1024 * 1024]);
    let limit = MIN_INFLATED + INFLATION * (frame.len() - 1);
    assert!(limit < 1024 * 1024, "{limit}");
    assert_eq!(decode_frame(&frame), Err(WireError::TooLarge { what: "inflated frame", limit }));
}

#[test]
fn a_compressed_device_list_of_thousands_is_inflated() {
    let users = (0..5000u64).map(|user| {
        let devices = (0..3u64).map(|id| Node::new("device").attr("id", id).attr("key-index", id));
        let list = Node::new("device-list").children(devices);
        let number = 15_550_000_000 + user.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 999_999_999;
        Node::new("user").attr("jid", Jid::pn(number.to_string())).child(Node::new("devices").child(list))
    });
    let list = Node::new("list").children(users);
    assert_eq!(decode_frame(&compressed(&encode_node(&list))).unwrap(), list);
}

#[test]
fn nodes_beyond_what_the_bytes_can_need_are_refused() {
    let attributes = [&[0xf9, 0xff, 0xff, 0x19][..], &[0x0c; 0xfffe]].concat();
    assert!(matches!(decode_node(&attributes), Err(WireError::Malformed { what }) if what.starts_with("frame")));
}

/// Each of the nested lists announces 65,535 nodes.
#[test]
fn announced_children_take_no_memory() {
    let nested = [0xf8, 0x02, 0x19, 0xf9, 0xff, 0xff].repeat(MAX_DEPTH - 1);
    let padding = vec![0; 1024 * 1024];
    assert!(decode_node(&[&nested[..], &padding].concat()).is_err());
}

#[test]
fn malformed_nodes_are_refused() {
    for (what, bytes) in vectors()["nodes"]["more"]["must be refused"].as_object().unwrap() {
        assert!(decode_node(&vector_bytes(bytes)).is_err(), "{what}");
    }
    let device_without_user = [0xf8, 0x03, 0x11, 0x0c, 0xf7, 0x00, 0x07, 0xfc, 0x00];
    assert_eq!(decode_node(&device_without_user), Err(WireError::Malformed { what: "jid: a device without a user" }));
    let deep = [[0xf8, 0x02, 0x11, 0xf8, 0x01].repeat(200), vec![0xf8, 0x01, 0x11]].concat();
    assert_eq!(decode_node(&deep), Err(WireError::Malformed { what: "node: nested too deeply" }));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_decode_or_fail_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(node) = decode_frame(&bytes) {
            let _ = encode_frame(&node);
        }
    }
}
