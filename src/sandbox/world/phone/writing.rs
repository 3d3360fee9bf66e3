//! Messages written by a person: encrypted for every device of the recipient, and for the own companions.

use super::content::{self, Uploaded, Writing};
use super::device::{GroupKey, stranger};
use crate::base::address::ProtocolAddress;
use crate::base::ids::MessageId;
use crate::base::secret::Secret;
use crate::sandbox::world::error::WorldError;
use crate::sandbox::world::ids::DeviceId;
use crate::sandbox::world::row::Row;
use crate::sandbox::world::state::World;
use crate::signal::{Context, JumpLimit, OurSenderKey, VerifiedBundle};
use crate::wire::media::{MediaKind, seal};
use crate::wire::message::{device_sent, new_message_id, pad, with_secret};
use crate::wire::phash::participant_hash;
use crate::wire::proto::{Message, MessageKey, message as fields};
use crate::wire::{Jid, Node, Server};
use prost::Message as _;
use std::collections::BTreeSet;

impl World {
    /// The person writes a text.
    pub fn write_text(&mut self, number: &str, to: &str, text: &str) -> Result<MessageId, WorldError> {
        self.write(number, to, Writing::Text(text.to_owned()))
    }

    /// The person writes to a number, a JID or a group.
    pub fn write(&mut self, number: &str, to: &str, what: Writing) -> Result<MessageId, WorldError> {
        if !self.registry.contains(number) {
            return Err(WorldError::NoPhone(number.to_owned()));
        }
        let unknown = || WorldError::NoRecipient(to.to_owned());
        let to = Jid::parse_recipient(to).map_err(|_| unknown())?;
        let id = new_message_id(self.now, number, &mut self.rng);
        if to.server() == Server::Group {
            if !self.groups.members(&to).is_some_and(|members| members.contains(number)) {
                return Err(unknown());
            }
            let (kind, edit, message) = self.compose(number, &to, what)?;
            self.write_to_group(number, &to, &id, (kind, edit), message)?;
        } else {
            let recipient = self.registry.number_of(&to).ok_or_else(unknown)?;
            let chat = self.registry.account(&recipient).map(|account| account.lid.clone()).ok_or_else(unknown)?;
            self.trust_recipient(number, &recipient);
            let (kind, edit, message) = self.compose(number, &chat, what)?;
            self.write_to_person(number, &recipient, &chat, &id, (kind, edit), message)?;
        }
        Ok(id)
    }

    /// The `type` and the `edit` of the stanza, and the protobuf.
    fn compose(
        &mut self,
        number: &str,
        chat: &Jid,
        what: Writing,
    ) -> Result<(&'static str, Option<&'static str>, Message), WorldError> {
        let now = self.now.0;
        Ok(match what {
            Writing::Text(body) => {
                let text = Message { conversation: Some(body), ..Message::default() };
                ("text", None, with_secret(text, &mut self.rng))
            }
            Writing::Reaction { message_id, emoji } => {
                ("reaction", None, content::reaction(self.key_of(number, chat, message_id), &emoji, now))
            }
            Writing::Edit { message_id, text } => {
                let key = self.key_of(number, chat, message_id);
                let text = Message { conversation: Some(text), ..Message::default() };
                ("text", Some("1"), content::edit(key, text, now))
            }
            Writing::Revoke { message_id } => {
                ("text", Some("7"), content::revoke(self.key_of(number, chat, message_id)))
            }
            Writing::Media { kind, data, mime_type, file_name, caption } => {
                ("media", None, self.compose_media(kind, &data, mime_type, file_name, caption)?)
            }
        })
    }

    fn compose_media(
        &mut self,
        kind: MediaKind,
        data: &[u8],
        mime_type: String,
        file_name: Option<String>,
        caption: Option<String>,
    ) -> Result<Message, WorldError> {
        let sealed = seal(data, kind, Secret::generate(&mut self.rng));
        let direct_path = self.store_media(sealed.body.clone())?;
        let uploaded = Uploaded {
            sealed,
            size: data.len() as u64,
            url: self.media.url(&direct_path).ok_or(WorldError::NoMediaHost)?,
            direct_path,
            now_secs: i64::try_from(self.now.secs()).unwrap_or_default(),
        };
        Ok(content::media(kind, uploaded, mime_type, file_name, caption))
    }

    /// The key of a message in the chat, from this person's view.
    fn key_of(&self, number: &str, chat: &Jid, message_id: String) -> MessageKey {
        let read = self.registry.account(number).map(|account| account.phone.messages.as_slice()).unwrap_or_default();
        let author = read.iter().find(|message| message.id == message_id && message.from != number);
        let author = author.and_then(|message| self.registry.account(&message.from));
        let shared = chat.server() == Server::Group;
        MessageKey {
            remote_jid: Some(chat.to_string()),
            from_me: Some(author.is_none()),
            id: Some(message_id),
            participant: author.filter(|_| shared).map(|author| author.lid.to_string()),
        }
    }

    fn write_to_person(
        &mut self,
        number: &str,
        recipient: &str,
        chat: &Jid,
        id: &MessageId,
        (kind, edit): (&'static str, Option<&'static str>),
        message: Message,
    ) -> Result<(), WorldError> {
        let copy = device_sent(&chat.to_string(), message.clone());
        let mut participants = Vec::new();
        let mut devices = self.registry.devices_of(recipient);
        devices.extend(self.registry.devices_of(number));
        devices.remove(&DeviceId::phone(number));
        for device in devices {
            let plain = if device.number == number { &copy } else { &message };
            participants.extend(self.phone_encrypts_to(number, &device, plain));
        }
        if participants.is_empty() {
            return Err(WorldError::NoDevices);
        }
        let stanza = Node::new("message")
            .attr("to", chat)
            .attr("id", id.to_string())
            .attr("type", kind)
            .maybe("edit", edit)
            .child(Node::new("participants").children(participants));
        self.phone_sends(number, id, chat, &message, &stanza);
        Ok(())
    }

    /// Sends the sender key to the devices that lack it, and the message to all.
    fn write_to_group(
        &mut self,
        number: &str,
        group: &Jid,
        id: &MessageId,
        (kind, edit): (&'static str, Option<&'static str>),
        message: Message,
    ) -> Result<(), WorldError> {
        let me = DeviceId::phone(number);
        let devices = self.devices_of_group(group);
        let (fresh, distribution) = self.phone_group_key(number, group, &devices, &me)?;
        let mut participants = Vec::new();
        for device in fresh {
            if let Some(target) = self.phone_encrypts_to(number, &device, &distribution) {
                participants.push(target);
                if let Some(key) = self.group_key_mut(number, group) {
                    key.holders.insert(device);
                }
            }
        }
        let plaintext = pad(message.encode_to_vec(), &mut self.rng);
        let Some(account) = self.registry.account_mut(number) else { return Err(WorldError::NoDevices) };
        let phone = &mut account.phone;
        let key = phone.groups.get_mut(group).ok_or(WorldError::NoDevices)?;
        let sealed = key.key.encrypt(&plaintext, &mut self.rng, &mut phone.buffer);
        let sealed = sealed.map_err(|_| WorldError::NoDevices)?.to_vec();
        self.touch(|| Row::GroupKey(number.to_owned(), group.clone()));
        let named: Vec<Jid> = devices.iter().filter_map(|device| self.registry.lid_of(device)).collect();
        let mut stanza = Node::new("message")
            .attr("to", group)
            .attr("id", id.to_string())
            .attr("type", kind)
            .attr("addressing_mode", "lid")
            .attr("phash", participant_hash(&named))
            .maybe("edit", edit);
        if !participants.is_empty() {
            stanza = stanza.child(Node::new("participants").children(participants));
        }
        let stanza = stanza.child(Node::new("enc").attr("v", "2").attr("type", "skmsg").bytes(sealed));
        self.phone_sends(number, id, group, &message, &stanza);
        Ok(())
    }

    /// The devices that lack the phone's sender key for the group, and the message that distributes it. The key is rotated when
    /// one of its holders has left.
    fn phone_group_key(
        &mut self,
        number: &str,
        group: &Jid,
        devices: &BTreeSet<DeviceId>,
        me: &DeviceId,
    ) -> Result<(Vec<DeviceId>, Message), WorldError> {
        let rng = &mut self.rng;
        let phone = &mut self.registry.account_mut(number).ok_or_else(|| WorldError::NoPhone(number.to_owned()))?.phone;
        if phone.groups.get(group).is_some_and(|key| !key.holders.is_subset(devices)) {
            phone.groups.remove(group);
        }
        let key = phone
            .groups
            .entry(group.clone())
            .or_insert_with(|| GroupKey { key: OurSenderKey::generate(rng), holders: BTreeSet::new() });
        let fresh = devices.iter().filter(|device| *device != me && !key.holders.contains(device)).cloned().collect();
        let distribution = fields::SenderKeyDistributionMessage {
            group_id: Some(group.to_string()),
            axolotl_sender_key_distribution_message: Some(key.key.distribution().encode()),
        };
        Ok((fresh, Message { sender_key_distribution_message: Some(distribution), ..Message::default() }))
    }

    pub(super) fn group_key_mut(&mut self, number: &str, group: &Jid) -> Option<&mut GroupKey> {
        self.registry.account_mut(number)?.phone.groups.get_mut(group)
    }

    fn phone_sends(&mut self, number: &str, id: &MessageId, chat: &Jid, message: &Message, stanza: &Node) {
        if let Some(account) = self.registry.account_mut(number) {
            account.phone.remember_sent(id.as_str(), chat, message);
        }
        self.route_message(&DeviceId::phone(number), stanza);
    }

    /// `<to jid><enc>` for one device; `None` when no session can be established with it.
    pub(super) fn phone_encrypts_to(&mut self, number: &str, device: &DeviceId, message: &Message) -> Option<Node> {
        let jid = self.registry.lid_of(device)?;
        let enc = self.phone_encrypts(number, device, message)?;
        Some(Node::new("to").attr("jid", jid).child(enc))
    }

    /// `<enc>` for one device.
    pub(super) fn phone_encrypts(&mut self, number: &str, device: &DeviceId, message: &Message) -> Option<Node> {
        let jid = self.registry.lid_of(device)?;
        let address = jid.protocol_address();
        let plaintext = pad(message.encode_to_vec(), &mut self.rng);
        let (remote, now) = (stranger(&address), self.now);
        let session = self.registry.account(number)?.phone.sessions.get(&address);
        if !session.is_some_and(|session| session.is_usable(&remote, now)) {
            let (bundle, _) = self.take_bundle(device)?;
            self.phone_initiates_session(number, &address, &bundle.verify().ok()?)?;
        }
        let phone = &mut self.registry.account_mut(number)?.phone;
        let session = phone.sessions.get_mut(&address)?;
        let limit = JumpLimit::default();
        let ctx = Context { remote: &remote, limit, now, rng: &mut self.rng, buffer: &mut phone.buffer };
        let sealed = session.encrypt(&plaintext, ctx).ok()?;
        let kind = if sealed.is_prekey() { "pkmsg" } else { "msg" };
        let enc = Node::new("enc").attr("v", "2").attr("type", kind).bytes(sealed.bytes().to_vec());
        self.touch(|| Row::Session(number.to_owned(), jid));
        Some(enc)
    }

    /// Establishes a session with the owner of a bundle.
    pub(super) fn phone_initiates_session(
        &mut self,
        number: &str,
        address: &ProtocolAddress,
        bundle: &VerifiedBundle,
    ) -> Option<()> {
        let now = self.now;
        let phone = &mut self.registry.account_mut(number)?.phone;
        let session = phone.sessions.entry(address.clone()).or_default();
        session.initiate(&phone.local, &stranger(address), bundle, now, &mut self.rng).ok()
    }
}
