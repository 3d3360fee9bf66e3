//! usync: the device lists and LIDs of users (`wire-protocol.md` 1.9).

use super::adv::read_key_indexes;
use super::{Jid, Node, WireError};

/// One user of a usync answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsyncUser {
    pub user: Jid,
    pub lid: Option<Jid>,
    /// `None` when the service knows no devices: the number is not registered.
    pub devices: Option<Vec<(u16, u32)>>,
    pub raw_id: u32,
}

/// The `<iq>` that asks for devices and LIDs of these users, still without an id.
pub fn usync_query(sid: &str, users: &[Jid]) -> Node {
    let list = users.iter().map(|user| Node::new("user").attr("jid", user.bare()));
    let protocols = [Node::new("devices").attr("version", "2"), Node::new("lid")];
    Node::new("iq").attr("xmlns", "usync").attr("type", "get").attr("to", Jid::service()).child(
        Node::new("usync")
            .attr("sid", sid.to_owned())
            .attr("mode", "query")
            .attr("last", "true")
            .attr("index", "0")
            .attr("context", "message")
            .child(Node::new("query").children(protocols))
            .child(Node::new("list").children(list)),
    )
}

/// Reads a usync answer. Companions that no signed list vouches for are dropped; the phone, device 0, always stays.
pub fn read_usync(iq: &Node) -> Result<Vec<UsyncUser>, WireError> {
    let list = iq.require_child("usync")?.require_child("list")?;
    list.all("user").filter(|user| user.has("jid")).map(read_user).collect()
}

fn read_user(user: &Node) -> Result<UsyncUser, WireError> {
    let jid = user.require_jid("jid")?.bare();
    let lid = user.find("lid").and_then(|node| node.jid("val")).map(|lid| lid.bare());
    let Some(devices) = user.find("devices").filter(|devices| devices.find("device-list").is_some()) else {
        return Ok(UsyncUser { user: jid, lid, devices: None, raw_id: 0 });
    };
    // A malformed key-index list counts as absent for that user only.
    let indexes = devices.find("key-index-list").and_then(|node| read_key_indexes(node.content_bytes()).ok());
    let mut kept = vec![(0, 0)];
    for device in devices.require_child("device-list")?.all("device") {
        // The wire has one byte for a device: a higher one could not be addressed.
        let id = device.number("id").and_then(|id| u8::try_from(id).ok()).map(u16::from);
        let index = device.number("key-index").and_then(|index| u32::try_from(index).ok());
        if let (Some(id @ 1..), Some(index), Some(indexes)) = (id, index, &indexes)
            && indexes.vouches_for(index)
            && !device.is("is_hosted", "true")
        {
            kept.push((id, index));
        }
    }
    let raw_id = indexes.map_or(0, |indexes| indexes.raw_id);
    Ok(UsyncUser { user: jid, lid, devices: Some(kept), raw_id })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::IdentityKeyPair;
    use crate::signal::testing::rng;
    use crate::wire::adv::sign_key_indexes;

    fn answer(indexes: Option<Vec<u8>>) -> Node {
        let device = |id: u64, index: u64| Node::new("device").attr("id", id).attr("key-index", index);
        let list = [Node::new("device").attr("id", "0"), device(1, 1), device(2, 2), device(3, 9)];
        let mut devices = Node::new("devices").child(Node::new("device-list").children(list));
        if let Some(bytes) = indexes {
            devices = devices.child(Node::new("key-index-list").attr("ts", "1").bytes(bytes));
        }
        let user = Node::new("user").attr("jid", Jid::pn("5511")).child(devices);
        Node::new("iq").child(Node::new("usync").child(Node::new("list").child(user)))
    }

    #[test]
    fn only_companions_that_the_phone_vouches_for_are_kept() {
        let phone = IdentityKeyPair::generate(&mut rng(1));
        let signed = sign_key_indexes(&phone, (5, 1), 3, vec![0, 1], &mut rng(2));
        let user = read_usync(&answer(Some(signed))).unwrap().remove(0);
        assert_eq!(user.devices, Some(vec![(0, 0), (1, 1), (3, 9)]));
    }

    #[test]
    fn of_a_user_with_a_malformed_or_forged_list_only_the_phone_is_kept_and_others_are_read() {
        let phone = IdentityKeyPair::generate(&mut rng(1));
        let mut forged = sign_key_indexes(&phone, (5, 1), 3, vec![0, 1], &mut rng(2));
        let middle = forged.len() / 2;
        forged[middle] ^= 1;
        for wrong in [forged, vec![0xff; 9]] {
            let users = read_usync(&answer(Some(wrong))).unwrap();
            assert_eq!(users[0].devices, Some(vec![(0, 0)]));
        }
    }

    #[test]
    fn without_a_signed_list_only_the_phone_is_kept() {
        let user = read_usync(&answer(None)).unwrap().remove(0);
        assert_eq!(user.devices, Some(vec![(0, 0)]));
    }
}
