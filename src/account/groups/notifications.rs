//! What changes in a group, told to the bot: `group.participants` and `group.updated` (`api.md`; `wire-protocol.md` 1.15).

use crate::account::Children;
use crate::account::error::AccountError;
use crate::account::router::{Router, Turn};
use crate::storage::{ChangeSet, kind, owner};
use crate::wire::{Jid, Node};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// An inbox record of something that was dealt with (`inbound.rs`).
const READ: u8 = 1;

impl Router {
    /// A `w:gp2` notification: each of its changes is one event, however often it is delivered.
    pub(in crate::account) async fn on_group_changes<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        node: &Node,
    ) -> Result<(), AccountError> {
        let group = node.require_jid("from")?;
        let id = node.require_text("id")?;
        self.group_changed(turn, &group)?;
        let digest = Sha256::digest(["w:gp2", &group.to_string(), &id].join("\0"));
        let inbox = digest[..16].to_vec();
        if self.store.get(kind::INBOX, &inbox)?.is_some() {
            return Ok(());
        }
        let mut writes = ChangeSet::<owner::Router>::default();
        writes.put(kind::INBOX, inbox, [&[READ, 0][..], &turn.now.0.to_be_bytes()].concat());
        turn.absorb(writes);
        let pairs = pairs_in(node);
        let learned = turn.children.devices(move |devices| devices.learn_mappings(&pairs)).await??;
        self.file(turn, learned).await?;
        let by = match node.jid("participant") {
            Some(by) => Some(self.shown(turn, &by.bare()).await?),
            None => None,
        };
        for change in node.nodes() {
            self.report_change(turn, &group, by.as_deref(), change).await?;
        }
        Ok(())
    }

    async fn report_change<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        group: &Jid,
        by: Option<&str>,
        change: &Node,
    ) -> Result<(), AccountError> {
        let chat = group.to_string();
        let mut data = json!({ "group": chat, "change": change.tag, "by": by });
        let kind = match change.tag.as_ref() {
            "add" | "remove" | "promote" | "demote" | "leave" => {
                let mut people = Vec::new();
                for participant in change.all("participant").filter_map(|it| it.jid("jid")) {
                    people.push(self.shown(turn, &participant.bare()).await?);
                }
                data["participants"] = json!(people);
                "group.participants"
            }
            "create" => {
                let subject = change.find("group").and_then(|group| group.text("subject"));
                data["subject"] = json!(subject.unwrap_or_default());
                "group.updated"
            }
            "subject" => {
                data["subject"] = json!(change.text("subject").unwrap_or_default());
                "group.updated"
            }
            "description" => {
                let body = change.find("body").map(|body| String::from_utf8_lossy(body.content_bytes()).into_owned());
                data["description"] = body.map_or(Value::Null, Value::String);
                "group.updated"
            }
            "ephemeral" => {
                data["seconds"] = json!(change.number("expiration"));
                "group.updated"
            }
            // The code would let anybody in who reads the log.
            "announcement" | "not_announcement" | "locked" | "unlocked" | "not_ephemeral" | "invite" => "group.updated",
            _ => return Ok(()),
        };
        self.event(turn, kind, &chat, &data);
        Ok(())
    }
}

/// The phone numbers and LIDs that it names together.
fn pairs_in(node: &Node) -> Vec<(Jid, Jid)> {
    let mut pairs = Vec::new();
    if let (Some(lid), Some(pn)) = (node.jid("participant"), node.jid("participant_pn")) {
        pairs.push((pn, lid));
    }
    let lists = node.nodes().iter().flat_map(|change| [Some(change), change.find("group")]).flatten();
    for participant in lists.flat_map(|list| list.all("participant")) {
        let named = (participant.jid("jid"), participant.jid("phone_number"), participant.jid("lid"));
        match named {
            (Some(lid), Some(pn), _) => pairs.push((pn, lid)),
            (Some(pn), None, Some(lid)) => pairs.push((pn, lid)),
            _ => {}
        }
    }
    pairs
}
