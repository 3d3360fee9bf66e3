//! Sending to a group, and a status to its recipients (`wire-protocol.md` 1.12): one ciphertext for all, and our sender key for the
//! devices that lack it.

use super::bundles;
use super::direct::look_up;
use super::fanout::{FanOut, device_identity, encrypt_each, secret_of};
use super::queue::{Outbox, Outgoing, Wait};
use super::step::{NO_DEVICES, NO_GROUP, NOT_ENCRYPTED, Step};
use crate::account::children::device_sync::KnownUser;
use crate::account::children::sender_keys::KeyDelivery;
use crate::account::content::stanza_type;
use crate::account::error::AccountError;
use crate::account::groups::metadata::{self, GroupMeta, Member};
use crate::account::messages::requests::Request;
use crate::account::messages::sent;
use crate::account::own_device::Linked;
use crate::account::turn::Turn;
use crate::account::turn::notice::{Lookup, Notice};
use crate::account::turn::requests::Requests;
use crate::signal::ChainId;
use crate::wire::message::{pad, sender_key_message};
use crate::wire::phash::participant_hash;
use crate::wire::proto::Message;
use crate::wire::{Jid, Node, Server, reporting};
use prost::Message as _;
use std::collections::{BTreeSet, HashSet};

pub(super) async fn prepare(
    turn: &mut Turn<'_>,
    requests: &mut Requests<Request>,
    outbox: &Outbox,
    own: &Linked,
    seq: u64,
    entry: &mut Outgoing,
) -> Result<Step, AccountError> {
    let group = entry.to.clone();
    let audience =
        if group.is_group() { metadata::fresh(turn, &group)? } else { Some(readers(turn, own, entry).await?) };
    let Some(meta) = audience else {
        turn.announce(Notice::Group { group, lookup: Lookup::Wanted });
        return Ok(Step::Waiting(Wait::Group));
    };
    if !meta.members.iter().any(|member| own.is_own_user(&member.jid)) {
        return Ok(Step::Failed(NO_GROUP));
    }
    let users: Vec<Jid> = meta.members.iter().map(|member| member.jid.clone()).collect();
    let known = turn
        .devices(move |devices| users.iter().map(|user| devices.known(user)).collect::<Result<Vec<_>, _>>())
        .await?;
    let members = meta.members.iter().zip(&known);
    let missing: Vec<Jid> =
        members.filter(|(_, known)| known.is_none()).map(|(member, _)| member.jid.clone()).collect();
    if !missing.is_empty() && !entry.looked_up {
        return Ok(look_up(turn, missing));
    }
    let devices = devices_of(&meta, &known, own);
    let on_their_way = outbox.keys_on_their_way(&group);
    let (asked, targets) = (group.clone(), devices.clone());
    let prepared = turn.sender_keys(move |keys| keys.prepare(&asked, &targets, &on_their_way)).await?;
    let lacking: HashSet<Jid> = prepared.fresh.iter().cloned().collect();
    let fresh: Vec<Jid> = prepared.fresh.into_iter().filter(|device| !entry.unreachable.contains(device)).collect();
    if bundles::fetch(turn, requests, seq, &fresh).await? {
        return Ok(Step::Waiting(Wait::Bundles));
    }
    let carrier = sender_key_message(&group.to_string(), prepared.distribution).encode_to_vec();
    let keys = encrypt_each(turn, fresh.into_iter().map(|device| (device, carrier.clone())).collect()).await?;
    let can_read = |device: &&Jid| !lacking.contains(*device) || keys.reached.contains(device);
    let mut others = devices.iter().filter(|device| !own.is_own_user(device));
    if meta.members.len() > 1 && !others.any(|device| can_read(&device)) {
        return Ok(Step::Failed(NO_DEVICES));
    }
    encrypt(turn, own, entry, (&meta, devices), (prepared.chain, keys)).await
}

async fn encrypt(
    turn: &mut Turn<'_>,
    own: &Linked,
    entry: &mut Outgoing,
    (meta, mut devices): (&GroupMeta, Vec<Jid>),
    (chain, keys): (ChainId, FanOut),
) -> Result<Step, AccountError> {
    let group = entry.to.clone();
    let (kind, encoded) = entry.encoded(turn);
    let message = Message::decode(&*encoded).map_err(|_| AccountError::Record { what: "outgoing message" })?;
    let secret = secret_of(&message);
    let plaintext = pad(encoded.clone(), &mut turn.ctx.rng);
    let asked = group.clone();
    let encrypted = match turn.sender_keys(move |keys| keys.encrypt(&asked, &plaintext)).await? {
        Ok(encrypted) => encrypted,
        Err(error) => {
            tracing::warn!(account = %turn.ctx.id, %error, "message to a group could not be encrypted");
            return Ok(Step::Failed(NOT_ENCRYPTED));
        }
    };
    let this = this_device(meta, own);
    let reporting = if group.is_group() { reporting::token(&encoded, &secret, &entry.id, &this, &group) } else { None };
    sent::put(turn, &entry.id, &group, &entry.recipients, encoded);
    devices.push(this);
    let mut stanza =
        Node::new("message").attr("to", &group).attr("id", entry.id.to_string()).attr("type", stanza_type(&kind));
    let mut participants = keys.participants;
    if !keys.reached.is_empty() {
        entry.key = Some(KeyDelivery { chain, devices: keys.reached });
    }
    if group.is_group() {
        stanza = stanza
            .attr("addressing_mode", if meta.by_lid { "lid" } else { "pn" })
            .attr("phash", participant_hash(&devices));
    } else {
        // The service does not know the recipients of a status: all are named, with or without the sender key.
        let readers = meta.members.iter().filter(|member| !own.is_own_user(&member.jid));
        participants.extend(readers.map(|reader| Node::new("to").attr("jid", &reader.jid)));
        stanza = stanza.child(Node::new("meta").attr("status_setting", "allowlist"));
    }
    if !participants.is_empty() {
        stanza = stanza.child(Node::new("participants").children(participants));
    }
    let stanza = stanza.children(keys.begins.then(|| device_identity(own)));
    let shared = Node::new("enc").attr("v", "2").attr("type", "skmsg").bytes(encrypted);
    Ok(Step::Encrypted(Box::new(stanza.child(shared).children(reporting.map(reporting::node)))))
}

/// The recipients of a status, in the form of a group: by LID when every LID is known.
async fn readers(turn: &mut Turn<'_>, own: &Linked, entry: &Outgoing) -> Result<GroupMeta, AccountError> {
    let readers: Vec<Jid> = entry.recipients.iter().filter(|reader| !own.is_own_user(reader)).cloned().collect();
    let named = turn
        .devices(move |devices| {
            let both = |reader: &Jid| Ok((devices.canonical(reader)?, devices.pn_of(reader)?));
            readers.iter().map(both).collect::<Result<Vec<_>, AccountError>>()
        })
        .await?;
    let own_lid = own.lid.as_ref().filter(|_| own.lid_migrated);
    let by_lid = own_lid.is_some() && named.iter().all(|(canonical, _)| canonical.server() == Server::Lid);
    let ourselves = own_lid.filter(|_| by_lid).unwrap_or(&own.jid).bare();
    let mut jids = BTreeSet::from([ourselves]);
    jids.extend(named.into_iter().map(|(canonical, pn)| if by_lid { canonical } else { pn.unwrap_or(canonical) }));
    let members = jids.into_iter().map(|jid| Member { jid, other: None, admin: false }).collect();
    Ok(GroupMeta { subject: String::new(), by_lid, members, stale: false })
}

/// The group's devices without this one, addressed as the group is.
fn devices_of(meta: &GroupMeta, known: &[Option<KnownUser>], own: &Linked) -> Vec<Jid> {
    let mut devices = BTreeSet::new();
    for (member, known) in meta.members.iter().zip(known) {
        let Some(known) = known else { continue };
        let named = [Some(&member.jid), member.other.as_ref(), known.lid.as_ref(), known.pn.as_ref()];
        let wanted = if meta.by_lid { Server::Lid } else { Server::Pn };
        let Some(user) = named.into_iter().flatten().find(|jid| jid.server() == wanted) else { continue };
        devices.extend(known.devices.iter().map(|device| user.with_device(*device)));
    }
    devices.into_iter().filter(|device| !device.is_hosted() && !own.is_this_device(device)).collect()
}

fn this_device(meta: &GroupMeta, own: &Linked) -> Jid {
    let lid = own.lid.as_ref().filter(|_| meta.by_lid).map(Jid::bare);
    lid.unwrap_or_else(|| own.jid.bare()).with_device(own.jid.device())
}
