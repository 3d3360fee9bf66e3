//! Sending to a group, and a status to its readers (`wire-protocol.md` 1.12): one ciphertext for all, and our sender key to those devices that lack it.

use crate::account::Children;
use crate::account::children::device_sync::{KnownUser, usync_query};
use crate::account::children::sender_keys::KeyDelivery;
use crate::account::error::AccountError;
use crate::account::groups::metadata::{GroupMeta, Member};
use crate::account::messages::outbound::queue::Outgoing;
use crate::account::messages::outbound::{NO_DEVICES, SealedEach, Step, device_identity, secret_of};
use crate::account::own_device::Link;
use crate::account::router::{Router, Turn};
use crate::account::turn::requests::Purpose;
use crate::base::ids::random_hex;
use crate::wire::message::{pad, sender_key_message};
use crate::wire::phash::participant_hash;
use crate::wire::{Jid, Node, Server, reporting};
use prost::Message;
use std::collections::{BTreeSet, HashSet};

/// Code and meaning.
const NO_GROUP: (&str, &str) = ("group_not_found", "the service does not know the group, or we are not in it");
const NO_KEY: Step =
    Step::Failed { code: "not_encrypted", meaning: "the message could not be encrypted for the group" };

impl Router {
    pub(in crate::account) async fn prepare_shared<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        link: &Link,
        seq: u64,
        entry: &mut Outgoing,
    ) -> Result<Step, AccountError> {
        let group = entry.to.clone();
        let audience =
            if group.is_group() { self.fresh_group(&group)? } else { Some(self.readers(turn, link, entry).await?) };
        let Some(meta) = audience else {
            let query = Node::new("query").attr("request", "interactive");
            let id = self.pending.ask(Purpose::Group { seq, group: group.clone() }, turn.steady);
            let iq = Node::new("iq").attr("id", id).attr("xmlns", "w:g2").attr("type", "get").attr("to", &group);
            self.write(turn, iq.child(query));
            return Ok(Step::Asked);
        };
        if !meta.members.iter().any(|member| link.is_own_user(&member.jid)) {
            let (code, meaning) = NO_GROUP;
            return Ok(Step::Failed { code, meaning });
        }
        let users: Vec<Jid> = meta.members.iter().map(|member| member.jid.clone()).collect();
        let known = turn
            .children
            .devices(move |devices| users.iter().map(|user| devices.known(user)).collect::<Result<Vec<_>, _>>())
            .await??;
        let members = meta.members.iter().zip(&known);
        let missing: Vec<Jid> =
            members.filter(|(_, known)| known.is_none()).map(|(member, _)| member.jid.clone()).collect();
        if !missing.is_empty() && !entry.looked_up {
            let id = self.pending.ask(Purpose::Usync { seq }, turn.steady);
            let sid = random_hex::<8>(&mut self.rng);
            self.write(turn, usync_query(&id, &sid, &missing));
            return Ok(Step::Asked);
        }
        let devices = devices_of(&meta, &known, link);
        let on_their_way = self.keys_on_their_way(&group);
        let (asked, targets) = (group.clone(), devices.clone());
        let prepared = turn.children.sender_keys(move |keys| keys.prepare(&asked, &targets, &on_their_way)).await??;
        turn.absorb(prepared.writes);
        let lacking: HashSet<Jid> = prepared.fresh.iter().cloned().collect();
        let fresh: Vec<Jid> = prepared.fresh.into_iter().filter(|device| !entry.unreachable.contains(device)).collect();
        if self.ask_for_bundles(turn, seq, &fresh).await? {
            return Ok(Step::Asked);
        }
        let carrier = sender_key_message(&group.to_string(), prepared.distribution).encode_to_vec();
        let keys = fresh.into_iter().map(|device| (device, carrier.clone())).collect();
        let keys = self.seal_each(turn, keys).await?;
        let can_read = |device: &&Jid| !lacking.contains(*device) || keys.reached.contains(device);
        let mut others = devices.iter().filter(|device| !link.is_own_user(device));
        if meta.members.len() > 1 && !others.any(|device| can_read(&device)) {
            return Ok(NO_DEVICES);
        }
        self.seal_for_group(turn, link, entry, (&meta, devices), (prepared.chain, keys)).await
    }

    async fn seal_for_group<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        link: &Link,
        entry: &mut Outgoing,
        (meta, mut devices): (&GroupMeta, Vec<Jid>),
        (chain, keys): (crate::signal::ChainId, SealedEach),
    ) -> Result<Step, AccountError> {
        let group = entry.to.clone();
        let message = entry.text.to_message(&mut self.rng);
        let secret = secret_of(&message);
        let message = message.encode_to_vec();
        let plaintext = pad(message.clone(), &mut self.rng);
        let asked = group.clone();
        let sealed = turn.children.sender_keys(move |keys| keys.seal(&asked, &plaintext)).await??;
        let (sealed, writes) = match sealed {
            Ok(sealed) => sealed,
            Err(error) => {
                tracing::warn!(account = %self.id, %error, "a message to a group cannot be encrypted");
                return Ok(NO_KEY);
            }
        };
        turn.absorb(writes);
        let this = this_device(meta, link);
        let reporting =
            if group.is_group() { reporting::token(&message, &secret, &entry.id, &this, &group) } else { None };
        self.keep_sent(turn, entry, &group, message);
        devices.push(this);
        let mut stanza = Node::new("message").attr("to", &group).attr("id", entry.id.to_string()).attr("type", "text");
        let mut participants = keys.participants;
        if !keys.reached.is_empty() {
            entry.key = Some(KeyDelivery { chain, devices: keys.reached });
        }
        if group.is_group() {
            stanza = stanza
                .attr("addressing_mode", if meta.by_lid { "lid" } else { "pn" })
                .attr("phash", participant_hash(&devices));
        } else {
            // The service knows nobody's readers: they are named, whether they need the key or not.
            let readers = meta.members.iter().filter(|member| !link.is_own_user(&member.jid));
            participants.extend(readers.map(|reader| Node::new("to").attr("jid", &reader.jid)));
            stanza = stanza.child(Node::new("meta").attr("status_setting", "allowlist"));
        }
        if !participants.is_empty() {
            stanza = stanza.child(Node::new("participants").children(participants));
        }
        let stanza = stanza.children(keys.begins.then(|| device_identity(link)));
        let shared = Node::new("enc").attr("v", "2").attr("type", "skmsg").bytes(sealed);
        Ok(Step::Sealed(Box::new(stanza.child(shared).children(reporting.map(reporting::node)))))
    }

    /// The readers of a status, in the form of a group: by LID where that is known of all.
    async fn readers<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        link: &Link,
        entry: &Outgoing,
    ) -> Result<GroupMeta, AccountError> {
        let readers: Vec<Jid> = entry.recipients.iter().filter(|reader| !link.is_own_user(reader)).cloned().collect();
        let named = turn
            .children
            .devices(move |devices| {
                let both = |reader: &Jid| Ok::<_, AccountError>((devices.canonical(reader)?, devices.pn_of(reader)?));
                readers.iter().map(both).collect::<Result<Vec<_>, _>>()
            })
            .await??;
        let own_lid = link.lid.as_ref().filter(|_| link.lid_migrated);
        let by_lid = own_lid.is_some() && named.iter().all(|(canonical, _)| canonical.server() == Server::Lid);
        let own = own_lid.filter(|_| by_lid).unwrap_or(&link.jid).bare();
        let mut jids = BTreeSet::from([own]);
        jids.extend(named.into_iter().map(|(canonical, pn)| if by_lid { canonical } else { pn.unwrap_or(canonical) }));
        let members = jids.into_iter().map(|jid| Member { jid, other: None, admin: false }).collect();
        Ok(GroupMeta { subject: String::new(), by_lid, members, stale: false })
    }

    /// What messages that are not acknowledged yet bring to devices of the group.
    fn keys_on_their_way(&self, group: &Jid) -> Vec<KeyDelivery> {
        let entries = self.outbox.entries.values().filter(|entry| entry.to == *group);
        entries.filter_map(|entry| entry.key.clone()).collect()
    }

    /// The service knows nothing of a group.
    pub(in crate::account) fn group_refused<C>(
        &mut self,
        turn: &mut Turn<'_, C>,
        seq: u64,
    ) -> Result<(), AccountError> {
        let Some(id) = self.outbox.entries.get(&seq).map(|entry| entry.id.clone()) else { return Ok(()) };
        let (code, meaning) = NO_GROUP;
        self.fail(turn, seq, &id, code, meaning)
    }

    /// The service has told of a group.
    pub(in crate::account) async fn on_group<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        seq: u64,
        group: &Jid,
        iq: &Node,
    ) -> Result<(), AccountError> {
        let meta = GroupMeta::read(iq.require_child("group")?)?;
        let pairs = meta.pairs();
        let learned = turn.children.devices(move |devices| devices.learn_mappings(&pairs)).await??;
        self.file(turn, learned).await?;
        self.put_group(turn, group, meta);
        self.ask_again_for(seq);
        Ok(())
    }

    /// The service has acknowledged a message: who was sent our key with it has it.
    pub(in crate::account) async fn key_delivered<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        seq: u64,
    ) -> Result<(), AccountError> {
        let Some(entry) = self.outbox.entries.get_mut(&seq) else { return Ok(()) };
        let (group, Some(delivery)) = (entry.to.clone(), entry.key.take()) else { return Ok(()) };
        let writes = turn.children.sender_keys(move |keys| keys.mark(&group, &delivery)).await??;
        turn.absorb(writes);
        Ok(())
    }

    /// What we know of the group that this message is for may be old.
    pub(in crate::account) fn group_of_changed<C>(
        &mut self,
        turn: &mut Turn<'_, C>,
        seq: u64,
    ) -> Result<(), AccountError> {
        let Some(group) = self.outbox.entries.get(&seq).map(|entry| entry.to.clone()) else { return Ok(()) };
        if group.is_group() { self.group_changed(turn, &group) } else { Ok(()) }
    }
}

/// The group's devices but this one, as the group names them.
fn devices_of(meta: &GroupMeta, known: &[Option<KnownUser>], link: &Link) -> Vec<Jid> {
    let mut devices = BTreeSet::new();
    for (member, known) in meta.members.iter().zip(known) {
        let Some(known) = known else { continue };
        let named = [Some(&member.jid), member.other.as_ref(), known.lid.as_ref(), known.pn.as_ref()];
        let wanted = if meta.by_lid { Server::Lid } else { Server::Pn };
        let Some(user) = named.into_iter().flatten().find(|jid| jid.server() == wanted) else { continue };
        devices.extend(known.devices.iter().map(|device| user.with_device(*device)));
    }
    devices.into_iter().filter(|device| !device.is_hosted() && !link.is_this_device(device)).collect()
}

fn this_device(meta: &GroupMeta, link: &Link) -> Jid {
    let lid = link.lid.as_ref().filter(|_| meta.by_lid).map(|lid| lid.bare());
    lid.unwrap_or_else(|| link.jid.bare()).with_device(link.jid.device())
}
