//! App state of an account: encrypted patches, numbered by the service (`sandbox-service.md` 4).

use crate::sandbox::world::ids::DeviceId;
use crate::sandbox::world::registry::collection::Collection;
use crate::sandbox::world::row::Row;
use crate::sandbox::world::state::World;
use crate::wire::{Jid, Node};
use prost::encoding::{encode_key, encode_varint, encoded_len_varint};

/// Patches of one collection.
const MAX_PATCHES: usize = 10_000;

impl World {
    /// Stores the patches of a device, and returns the patches of each collection that the device lacks.
    pub(in crate::sandbox::world) fn sync_app_state(&mut self, device: &DeviceId, iq: &Node) -> Node {
        let requested = iq.find("sync").map(Node::nodes).unwrap_or_default();
        let answers: Vec<Node> =
            requested.iter().filter_map(|requested| self.sync_collection(device, requested)).collect();
        Node::new("sync").children(answers)
    }

    fn sync_collection(&mut self, device: &DeviceId, requested: &Node) -> Option<Node> {
        let name = requested.text("name")?.into_owned();
        let known = requested.number("version").and_then(|version| usize::try_from(version).ok()).unwrap_or_default();
        let written = requested.find("patch").map(|patch| patch.content_bytes().to_vec());
        let collection = self.registry.account_mut(&device.number)?.app_state.entry(name.clone()).or_default();
        let answer = Node::new("collection").attr("name", name.clone());
        match written {
            Some(_) if known != collection.version() => {
                let conflict = Node::new("error").attr("code", "409").attr("text", "conflict");
                let behind = patches(collection, known);
                Some(answer.attr("version", collection.version()).attr("type", "error").child(conflict).child(behind))
            }
            Some(_) if collection.version() >= MAX_PATCHES => {
                let full = Node::new("error").attr("code", "507").attr("text", "insufficient-storage");
                Some(answer.attr("type", "error").child(full))
            }
            Some(patch) => {
                let version = collection.version() + 1;
                collection.push(numbered(patch, version as u64));
                self.touch(|| Row::Patch(device.number.clone(), name.clone(), version));
                self.announce_app_state(device, &name, version);
                Some(answer.attr("version", version))
            }
            None => {
                let answer = answer.attr("version", collection.version());
                Some(if known < collection.version() { answer.child(patches(collection, known)) } else { answer })
            }
        }
    }

    fn announce_app_state(&mut self, writer: &DeviceId, name: &str, version: usize) {
        let others = self.registry.devices_of(&writer.number);
        for device in others.into_iter().filter(|device| device.device != 0 && device != writer) {
            let changed = Node::new("collection").attr("name", name.to_owned()).attr("version", version);
            self.notify(&device, &Jid::service(), "server_sync", |it| it.child(changed));
        }
    }
}

fn patches(collection: &Collection, known: usize) -> Node {
    let missing = collection.patches_after(known).map(|patch| Node::new("patch").bytes(patch.clone()));
    Node::new("patches").children(missing)
}

/// Appends the version to a patch: of repeated protobuf fields the last counts, so the others stay untouched.
fn numbered(mut patch: Vec<u8>, version: u64) -> Vec<u8> {
    const VERSION: u32 = 1;
    let length_delimited = prost::encoding::WireType::LengthDelimited;
    encode_key(VERSION, length_delimited, &mut patch);
    encode_varint(1 + encoded_len_varint(version) as u64, &mut patch);
    encode_key(VERSION, prost::encoding::WireType::Varint, &mut patch);
    encode_varint(version, &mut patch);
    patch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_appended_to_the_bytes_of_a_patch() {
        assert_eq!(numbered(vec![0x22, 1, 9], 300), [0x22, 1, 9, 0x0a, 3, 0x08, 0xac, 0x02]);
    }
}
