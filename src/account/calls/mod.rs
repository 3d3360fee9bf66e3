//! Incoming calls (`features.md` 7): an offer becomes the event `call.offered`, and is rejected where the settings say so.

use crate::account::directory::addresses::{display_address, lid_of};
use crate::account::directory::mapping;
use crate::account::error::AccountError;
use crate::account::turn::Turn;
use crate::account::turn::context::Context;
use crate::account::turn::event::Event;
use crate::account::turn::feature::{Ack, Feature, Route};
use crate::account::turn::inbox::{Inbox, InboxKey};
use crate::account::turn::requests::Requests;
use crate::base::time::Timestamp;
use crate::wire::{Jid, Node, Server, WireError};
use serde::Serialize;
use std::convert::Infallible;

/// This feature takes no commands.
#[derive(Debug)]
pub enum Command {}

#[derive(Debug, Default)]
pub(in crate::account) struct Calls {
    requests: Requests<Infallible>,
}

/// The data of `call.offered`.
#[derive(Serialize)]
struct CallOffered {
    id: String,
    from: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_lid: Option<String>,
    /// The group of a group call.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    video: bool,
    /// It came while the account was offline, and is over.
    offline: bool,
    timestamp: String,
}

impl Event for CallOffered {
    const TYPE: &'static str = "call.offered";

    fn chat(&self) -> &str {
        &self.from
    }
}

/// A `<call>` with an `<offer>`, or with the `<offer_notice>` of one that was missed.
struct Offer<'a> {
    call_id: String,
    creator: Jid,
    from: Jid,
    /// The caller's phone number, where the service tells it.
    pn: Option<Jid>,
    group: Option<Jid>,
    video: bool,
    is_live: bool,
    node: &'a Node,
}

impl<'a> Offer<'a> {
    /// `None` for the other steps of a call.
    fn read(node: &'a Node) -> Result<Option<Self>, WireError> {
        let Some(offer) = node.find("offer").or_else(|| node.find("offer_notice")) else { return Ok(None) };
        let from = node.require_jid("from")?;
        Ok(Some(Self {
            call_id: offer.require_text("call-id")?.into_owned(),
            creator: offer.jid("call-creator").unwrap_or_else(|| from.clone()),
            pn: offer.jid("caller_pn").map(|pn| pn.bare()),
            group: offer.jid("group-jid"),
            video: offer.find("video").is_some() || offer.is("media", "video"),
            is_live: offer.tag == "offer" && !node.has("offline"),
            from,
            node,
        }))
    }
}

impl Feature for Calls {
    type Command = Command;
    type Request = Infallible;
    const ROUTES: &'static [Route] = &[Route::tag("call")];
    const EVENTS: &'static [&'static str] = &[CallOffered::TYPE];

    fn load(_: &Context) -> Result<Self, AccountError> {
        Ok(Self::default())
    }

    fn requests(&mut self) -> &mut Requests<Infallible> {
        &mut self.requests
    }

    async fn command(&mut self, _: &mut Turn<'_>, command: Command) -> Result<(), AccountError> {
        match command {}
    }

    async fn stanza(&mut self, turn: &mut Turn<'_>, node: &Node) -> Result<Ack, AccountError> {
        if let Some(offer) = Offer::read(node)? {
            offered(turn, offer).await?;
        }
        acknowledge(turn, node);
        Ok(Ack::Own)
    }
}

async fn offered(turn: &mut Turn<'_>, offer: Offer<'_>) -> Result<(), AccountError> {
    let caller = offer.from.bare();
    let inbox = InboxKey::of(&["call", &caller.to_string(), &offer.call_id]);
    if turn.inbox(&inbox)?.is_some() {
        return Ok(());
    }
    if let Some(pn) = offer.pn.clone().filter(|_| caller.server() == Server::Lid) {
        mapping::learn(turn, vec![(pn, caller.clone())]).await?;
    }
    turn.put_inbox(&inbox, Inbox::Read);
    let event = CallOffered {
        from: display_address(turn, &caller).await?,
        from_lid: lid_of(turn, &caller).await?,
        group: offer.group.as_ref().map(Jid::to_string),
        video: offer.video,
        offline: !offer.is_live,
        timestamp: Timestamp::from_secs(offer.node.number("t").unwrap_or_default()).rfc3339(),
        id: offer.call_id.clone(),
    };
    turn.event(&event);
    if turn.ctx.settings.reject_calls && offer.is_live {
        reject(turn, &offer);
    }
    Ok(())
}

fn reject(turn: &mut Turn<'_>, offer: &Offer<'_>) {
    let reject = Node::new("reject")
        .attr("call-id", offer.call_id.clone())
        .attr("call-creator", &offer.creator)
        .attr("count", "0");
    let own = turn.own().map(|own| own.jid.clone());
    let id = turn.next_iq_id();
    turn.write(Node::new("call").attr("to", &offer.from).maybe("from", own).attr("id", id).child(reject));
}

/// `<ack class=call>` names the step that it acknowledges.
fn acknowledge(turn: &mut Turn<'_>, node: &Node) {
    let step = node.nodes().first().map(|child| child.tag.clone());
    let ack = Node::new("ack")
        .attr("class", "call")
        .maybe("id", node.get("id").cloned())
        .maybe("to", node.get("from").cloned())
        .maybe("type", step);
    turn.write(ack);
}
