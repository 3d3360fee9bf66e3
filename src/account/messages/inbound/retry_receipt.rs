//! Retry receipts that we send: the sender is asked to encrypt a message again (`wire-protocol.md` 1.14). Those that we receive:
//! `resend.rs`.

use super::envelope::Envelope;
use super::unreadable::Unreadable;
use crate::account::error::AccountError;
use crate::account::turn::Turn;
use crate::account::turn::counter::Counter;
use crate::signal::keys::KEY_TYPE;
use crate::wire::prekeys::{key_node, skey_node};
use crate::wire::{Jid, Node};

/// Sends a retry receipt, where asked with keys for a new session.
pub(super) async fn send(
    turn: &mut Turn<'_>,
    node: &Node,
    envelope: &Envelope,
    why: &Unreadable,
    count: u8,
    with_keys: bool,
) -> Result<(), AccountError> {
    let retry = Node::new("retry")
        .attr("v", "1")
        .attr("count", u64::from(count))
        .attr("id", envelope.id.as_str().to_owned())
        .attr("t", node.text("t").unwrap_or_default().into_owned())
        .attr("error", why.retry_code());
    turn.count(Counter::RetrySent);
    let keys = if with_keys { Some(fresh_keys(turn).await?) } else { None };
    let registration_id = turn.ctx.device.local.registration_id;
    let receipt = Node::new("receipt")
        .attr("id", envelope.id.as_str().to_owned())
        .attr("to", node.get("from").cloned().unwrap_or(Jid::service().into()))
        .attr("type", "retry")
        .maybe("participant", node.get("participant").cloned())
        .maybe("recipient", node.get("recipient").cloned())
        .child(retry)
        .child(Node::new("registration").bytes(registration_id.to_be_bytes()))
        .children(keys);
    turn.write(receipt);
    Ok(())
}

/// A bundle of ours, with a one-time prekey for this sender alone.
async fn fresh_keys(turn: &mut Turn<'_>) -> Result<Node, AccountError> {
    let (signed, fresh) = turn.prekeys(|keys| Ok((keys.current_signed()?, keys.generate(1)?))).await?;
    let identity = turn.own().map(|own| Node::new("device-identity").bytes(own.device_identity.clone()));
    let mut keys = vec![
        Node::new("type").bytes([KEY_TYPE]),
        Node::new("identity").bytes(*turn.ctx.device.local.identity.public().0.as_bytes()),
    ];
    keys.extend(fresh.first().map(|(id, public)| key_node(*id, public)));
    keys.push(skey_node(signed.id, signed.pair.public(), &signed.signature));
    Ok(Node::new("keys").children(keys).children(identity))
}
