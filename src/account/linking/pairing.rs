//! `<pair-success>`: the phone's signature of our identity is verified, stored, signed by us, and answered.

use crate::account::directory::mapping;
use crate::account::error::AccountError;
use crate::account::own_device::Linked;
use crate::account::turn::Turn;
use crate::wire::proto::ClientPairingProps;
use crate::wire::{Jid, Node, WireError, adv};
use prost::Message;

/// The `<iq type=result>` for a request of the service.
pub(super) fn result_of(iq: &Node) -> Node {
    Node::new("iq").attr("to", Jid::service()).attr("type", "result").maybe("id", iq.get("id").cloned())
}

/// The refusal of a signature that does not verify.
pub(super) fn refusal_of(iq: &Node, error: &WireError) -> Node {
    let text = if *error == adv::HMAC_MISMATCH { "hmac-mismatch" } else { "signature-mismatch" };
    Node::new("iq")
        .attr("to", Jid::service())
        .attr("type", "error")
        .maybe("id", iq.get("id").cloned())
        .child(Node::new("error").attr("code", "401").attr("text", text))
}

/// Links the device.
pub(super) async fn accept(turn: &mut Turn<'_>, iq: &Node) -> Result<(), AccountError> {
    let success = iq.require_child("pair-success")?;
    let container = success.require_child("device-identity")?.content_bytes();
    let ours = turn.ctx.device.local.identity.clone();
    let verified = adv::verify_pairing(container, &turn.ctx.device.adv_secret, &ours.public())?;
    let device = success.require_child("device")?;
    let (jid, lid) = (device.require_jid("jid")?, device.jid("lid"));
    let props = success.find("client-props").map(|node| ClientPairingProps::decode(node.content_bytes()));
    let lid_migrated = match props {
        Some(Ok(props)) => props.is_chat_db_lid_migrated(),
        Some(Err(_)) => return Err(WireError::Malformed { what: "client props" }.into()),
        None => false,
    };
    let (account_key, key_index) = (verified.account_key, verified.key_index);
    let signed = verified.self_sign(&ours, &mut turn.ctx.rng)?;

    if let Some(lid) = lid.clone() {
        mapping::learn(turn, vec![(jid.clone(), lid)]).await?;
    }
    let phone = lid.as_ref().unwrap_or(&jid).bare().protocol_address();
    turn.sessions(move |sessions| sessions.trust(&phone, account_key)).await?;

    turn.ctx.device.linked = Some(Linked {
        jid,
        lid,
        device_identity: signed.clone(),
        push_name: success.find("biz").and_then(|biz| biz.text("name")).unwrap_or_default().into_owned(),
        linked_at: turn.now,
        lid_migrated,
    });
    turn.put_device();
    let identity = Node::new("device-identity").attr("key-index", u64::from(key_index)).bytes(signed);
    turn.write(result_of(iq).child(Node::new("pair-device-sign").child(identity)));
    Ok(())
}
