//! Changes of a group as events: `group.participants` and `group.updated` (`api.md`; `wire-protocol.md` 1.15).

use super::metadata;
use crate::account::directory::addresses::display_address;
use crate::account::directory::mapping;
use crate::account::error::AccountError;
use crate::account::turn::Turn;
use crate::account::turn::event::Event;
use crate::account::turn::inbox::{Inbox, InboxKey};
use crate::wire::{Jid, Node};
use serde::Serialize;

pub(super) const EVENTS: [&str; 2] = [ParticipantsChanged::TYPE, GroupUpdated::TYPE];

#[derive(Serialize)]
struct ParticipantsChanged {
    group: String,
    change: String,
    by: Option<String>,
    participants: Vec<String>,
}

impl Event for ParticipantsChanged {
    const TYPE: &'static str = "group.participants";

    fn chat(&self) -> &str {
        &self.group
    }
}

/// A change of the group itself. `change` names the field that is set.
#[derive(Default, Serialize)]
struct GroupUpdated {
    group: String,
    change: String,
    by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// `null` when the description was removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<Option<u64>>,
}

impl Event for GroupUpdated {
    const TYPE: &'static str = "group.updated";

    fn chat(&self) -> &str {
        &self.group
    }
}

/// A `w:gp2` notification: each of its changes is one event, however often it is delivered.
pub(super) async fn on_changes(turn: &mut Turn<'_>, node: &Node) -> Result<(), AccountError> {
    let group = node.require_jid("from")?;
    let id = node.require_text("id")?;
    metadata::mark_changed(turn, &group)?;
    let inbox = InboxKey::of(&["w:gp2", &group.to_string(), &id]);
    if turn.inbox(&inbox)?.is_some() {
        return Ok(());
    }
    turn.put_inbox(&inbox, Inbox::Read);
    mapping::learn(turn, pairs_in(node)).await?;
    let by = match node.jid("participant") {
        Some(by) => Some(display_address(turn, &by.bare()).await?),
        None => None,
    };
    for change in node.nodes() {
        report(turn, &group, by.clone(), change).await?;
    }
    Ok(())
}

async fn report(turn: &mut Turn<'_>, group: &Jid, by: Option<String>, node: &Node) -> Result<(), AccountError> {
    let (group, change) = (group.to_string(), node.tag.clone().into_owned());
    let update = GroupUpdated { group, change, by, ..GroupUpdated::default() };
    let update = match node.tag.as_ref() {
        "add" | "remove" | "promote" | "demote" | "leave" => {
            let mut participants = Vec::new();
            for participant in node.all("participant").filter_map(|it| it.jid("jid")) {
                participants.push(display_address(turn, &participant.bare()).await?);
            }
            let GroupUpdated { group, change, by, .. } = update;
            turn.event(&ParticipantsChanged { group, change, by, participants });
            return Ok(());
        }
        "create" => {
            let subject = node.find("group").and_then(|group| group.text("subject")).unwrap_or_default().into_owned();
            GroupUpdated { subject: Some(subject), ..update }
        }
        "subject" => {
            let subject = node.text("subject").unwrap_or_default().into_owned();
            GroupUpdated { subject: Some(subject), ..update }
        }
        "description" => {
            let body = node.find("body").map(|body| String::from_utf8_lossy(body.content_bytes()).into_owned());
            GroupUpdated { description: Some(body), ..update }
        }
        "ephemeral" => GroupUpdated { seconds: Some(node.number("expiration")), ..update },
        // The code of an invite would admit every reader of the log.
        "announcement" | "not_announcement" | "locked" | "unlocked" | "not_ephemeral" | "invite" => update,
        _ => return Ok(()),
    };
    turn.event(&update);
    Ok(())
}

/// The pairs of phone number and LID in a notification.
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
