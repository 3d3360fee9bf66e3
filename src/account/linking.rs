//! Linking by QR code (`wire-protocol.md` 1.6).
//!
//! Invariant: the link is stored before the service hears that we accept it.

use super::Children;
use super::device::Link;
use super::error::AccountError;
use super::router::{Router, Turn};
use super::view::{AccountState, LinkCode};
use crate::base::time::Monotonic;
use crate::wire::proto::ClientPairingProps;
use crate::wire::qr::QrCode;
use crate::wire::{Jid, Node, WireError, adv};
use prost::Message;
use std::collections::VecDeque;
use std::time::Duration;

const FIRST_CODE: Duration = Duration::from_secs(60);
const NEXT_CODE: Duration = Duration::from_secs(20);

/// The references that are left, and until when the shown one holds.
#[derive(Debug)]
pub(super) struct Linking {
    left: VecDeque<String>,
    expires_at: Monotonic,
}

impl Linking {
    pub(super) fn deadline(&self) -> Monotonic {
        self.expires_at
    }
}

impl Router {
    /// `<pair-device>`: references for QR codes.
    pub(super) fn on_pair_device<C>(&mut self, turn: &mut Turn<'_, C>, iq: &Node) -> Result<(), AccountError> {
        let pair_device = iq.require_child("pair-device")?;
        let left = pair_device
            .all("ref")
            .map(|node| String::from_utf8(node.content_bytes().to_vec()))
            .collect::<Result<VecDeque<_>, _>>()
            .map_err(|_| WireError::Malformed { what: "linking reference" })?;
        self.write(turn, result_of(iq));
        self.linking = Some(Linking { left, expires_at: turn.steady });
        self.show_next_code(turn, FIRST_CODE);
        Ok(())
    }

    pub(super) fn tick_linking<C>(&mut self, turn: &mut Turn<'_, C>) {
        if self.linking.as_ref().is_some_and(|linking| linking.expires_at <= turn.steady) {
            self.show_next_code(turn, NEXT_CODE);
        }
    }

    fn show_next_code<C>(&mut self, turn: &mut Turn<'_, C>, lifetime: Duration) {
        let Some(linking) = &mut self.linking else { return };
        let Some(reference) = linking.left.pop_front() else {
            self.stop(turn, AccountState::Stopped, Some("link_expired"));
            return;
        };
        linking.expires_at = turn.steady.plus(lifetime);
        let code = QrCode {
            reference,
            noise: *self.device.noise.public(),
            identity: self.device.local.identity.public(),
            adv_secret: self.device.adv_secret.clone(),
        };
        self.view.code = Some(LinkCode { text: code.to_text(), expires_at: turn.now.plus(lifetime) });
    }

    /// `<pair-success>`: a phone vouches for us. Checked, stored, signed by us, and answered.
    pub(super) async fn on_pair_success<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        iq: &Node,
    ) -> Result<(), AccountError> {
        match self.accept_link(turn, iq).await {
            Err(AccountError::Wire(error)) => {
                tracing::warn!(account = %self.id, %error, "linking was refused");
                let text = if error.to_string().contains("hmac") { "hmac-mismatch" } else { "signature-mismatch" };
                let refusal = Node::new("iq")
                    .attr("to", Jid::service())
                    .attr("type", "error")
                    .maybe("id", iq.get("id").cloned())
                    .child(Node::new("error").attr("code", "401").attr("text", text));
                self.write(turn, refusal);
                self.stop(turn, AccountState::Stopped, Some(&format!("linking was refused: {error}")));
                Ok(())
            }
            other => other,
        }
    }

    async fn accept_link<C: Children>(&mut self, turn: &mut Turn<'_, C>, iq: &Node) -> Result<(), AccountError> {
        let success = iq.require_child("pair-success")?;
        let container = success.require_child("device-identity")?.content_bytes();
        let ours = &self.device.local.identity;
        let verified = adv::verify_pairing(container, &self.device.adv_secret, &ours.public())?;
        let device = success.require_child("device")?;
        let (jid, lid) = (device.require_jid("jid")?, device.jid("lid"));
        let props = success.find("client-props").map(|node| ClientPairingProps::decode(node.content_bytes()));
        let lid_migrated = match props {
            Some(Ok(props)) => props.is_chat_db_lid_migrated(),
            Some(Err(_)) => return Err(WireError::Malformed { what: "client props" }.into()),
            None => false,
        };
        let (account_key, key_index) = (verified.account_key, verified.key_index);
        let signed = verified.self_sign(ours, &mut self.rng)?;

        if let Some(lid) = lid.clone() {
            self.learn_mapping(turn, jid.clone(), lid).await?;
        }
        let phone = lid.as_ref().unwrap_or(&jid).bare().protocol_address();
        let writes = turn.children.sessions(move |sessions| sessions.trust(&phone, account_key)).await??;
        turn.absorb(writes);

        self.device.link = Some(Link {
            jid,
            lid,
            device_identity: signed.clone(),
            push_name: success.find("biz").and_then(|biz| biz.text("name")).unwrap_or_default().into_owned(),
            linked_at: turn.now,
            lid_migrated,
        });
        turn.absorb(self.device.to_writes());
        self.linking = None;
        self.view.code = None;
        self.show_link();
        let identity = Node::new("device-identity").attr("key-index", u64::from(key_index)).bytes(signed);
        self.write(turn, result_of(iq).child(Node::new("pair-device-sign").child(identity)));
        Ok(())
    }
}

/// `<iq type=result>` to one of the service's own questions.
pub(super) fn result_of(iq: &Node) -> Node {
    Node::new("iq").attr("to", Jid::service()).attr("type", "result").maybe("id", iq.get("id").cloned())
}
