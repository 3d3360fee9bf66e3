//! Retry receipts: a phone sends them for undecryptable messages, and resends its own (`wire-protocol.md` 1.14).

use super::reading::Arrival;
use crate::sandbox::world::ids::DeviceId;
use crate::sandbox::world::net::schedule::{Action, RECEIPT_DELAY};
use crate::sandbox::world::state::World;
use crate::signal::SignalError;
use crate::wire::message::device_sent;
use crate::wire::prekeys::{key_node, read_bundle, skey_node};
use crate::wire::proto::{Message, message as fields};
use crate::wire::{Jid, Node, Server};

/// Retry receipts and resends per message.
const TRIES: u64 = 5;

impl World {
    /// Sends a retry receipt; from the second one on with keys for a new session.
    pub(super) fn send_retry_receipt(&mut self, number: &str, arrival: &Arrival<'_>, error: &SignalError) {
        let now = self.now.secs();
        let Some(account) = self.registry.account_mut(number) else { return };
        let phone = &mut account.phone;
        let count = phone.retries.entry((arrival.author.clone(), arrival.id.clone())).or_default();
        *count += 1;
        let count = u64::from(*count);
        if count > TRIES {
            return;
        }
        let no_session = matches!(error, SignalError::NoSession);
        let keys = (count > 1 || no_session).then(|| {
            let bundle = phone.take_bundle();
            Node::new("keys").children(
                [
                    Node::new("type").bytes([5]),
                    Node::new("identity").bytes(*bundle.identity.0.as_bytes()),
                    skey_node(bundle.signed_pre_key_id, &bundle.signed_pre_key, &bundle.signature),
                ]
                .into_iter()
                .chain(bundle.one_time.map(|(id, key)| key_node(id, &key))),
            )
        });
        let registration = phone.local.registration_id.to_be_bytes();
        let retry = Node::new("retry")
            .attr("count", count)
            .attr("id", arrival.id.clone())
            .attr("t", arrival.node.text("t").unwrap_or_default().into_owned())
            .attr("v", "1")
            .attr("error", if no_session { "1" } else { "0" });
        let shared = arrival.from.server() == Server::Group;
        let receipt = Node::new("receipt")
            .attr("id", arrival.id.clone())
            .attr("to", &arrival.from)
            .attr("type", "retry")
            .attr("t", now)
            .maybe("participant", shared.then(|| arrival.author.clone()))
            .maybe("recipient", arrival.node.get("recipient").cloned())
            .children([retry, Node::new("registration").bytes(registration)])
            .children(keys);
        self.after(RECEIPT_DELAY, Action::Receipt { phone: number.to_owned(), receipt: Box::new(receipt) });
    }

    /// Resends a message to the one device that could not decrypt it.
    pub(super) fn phone_resends(&mut self, number: &str, receipt: &Node) {
        let (Some(from), Some(id), Some(retry)) = (receipt.jid("from"), receipt.text("id"), receipt.find("retry"))
        else {
            return;
        };
        let count = retry.number("count").unwrap_or(1);
        let reader = receipt.jid("participant").unwrap_or_else(|| from.clone());
        let Some(reader_number) = self.registry.number_of(&reader).filter(|_| count <= TRIES) else { return };
        let device = DeviceId { number: reader_number, device: reader.device() };
        let sent =
            self.registry.account(number).and_then(|account| account.phone.sent.iter().find(|sent| sent.id == id));
        let Some((chat, message)) = sent.map(|sent| (sent.chat.clone(), sent.message.clone())) else { return };
        self.phone_replaces_session(number, &device, receipt, count);
        let message = self.for_device(number, &device, &chat, message);
        let Some(enc) = self.phone_encrypts(number, &device, &message) else { return };
        let Some(jid) = self.registry.lid_of(&device) else { return };
        let shared = chat.server() == Server::Group;
        let own = device.number == number && chat.device() == 0;
        let stanza = Node::new("message")
            .attr("to", if shared { chat.clone() } else { jid.clone() })
            .attr("id", id.into_owned())
            .attr("type", "text")
            .maybe("category", (chat.device() != 0).then_some("peer"))
            .maybe("participant", shared.then_some(jid))
            .maybe("recipient", (own && !shared).then_some(chat))
            .child(enc.attr("count", count));
        self.route_message(&DeviceId::phone(number), &stanza);
    }

    /// Replaces the session of a device that reports it as broken: from the keys in its receipt, or from its bundle.
    fn phone_replaces_session(&mut self, number: &str, device: &DeviceId, receipt: &Node, count: u64) {
        let Some(address) = self.registry.lid_of(device).map(|jid| jid.protocol_address()) else { return };
        let brought = receipt.find("keys").and_then(|keys| read_bundle(receipt, keys).ok());
        let bundle = match brought {
            Some(bundle) => Some(bundle),
            None if count > 1 => self.take_bundle(device).map(|(bundle, _)| bundle),
            None => None,
        };
        if let Some(bundle) = bundle.and_then(|bundle| bundle.verify().ok()) {
            self.phone_initiates_session(number, &address, &bundle);
        }
    }

    /// The message in the form for this device; for a group together with the sender key.
    fn for_device(&mut self, number: &str, device: &DeviceId, chat: &Jid, mut message: Message) -> Message {
        if chat.server() == Server::Group {
            if let Some(key) = self.group_key_mut(number, chat) {
                message.sender_key_distribution_message = Some(fields::SenderKeyDistributionMessage {
                    group_id: Some(chat.to_string()),
                    axolotl_sender_key_distribution_message: Some(key.key.distribution().encode()),
                });
            }
            return message;
        }
        // A message to a companion itself is no copy of a message to others.
        let is_copy = device.number == number && chat.device() == 0;
        if is_copy { device_sent(&chat.to_string(), message) } else { message }
    }
}
