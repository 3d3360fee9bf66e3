//! Linking to a phone by QR code (`wire-protocol.md` 1.6); by an eight-character code in `code`, with a passkey in `passkey`.
//!
//! Invariant: the link is stored before the service hears that we accept it.

mod pairing_code;
mod passkey;

pub(in crate::account) use pairing_code::CodeRequest;
pub(in crate::account) use passkey::Question;
pub use passkey::{Assertion, BadAssertion};

use crate::account::Children;
use crate::account::error::AccountError;
use crate::account::own_device::Link;
use crate::account::router::{Router, Turn};
use crate::account::view::{AccountState, LinkCode};
use crate::base::secret::Secret;
use crate::base::time::Monotonic;
use crate::wire::proto::ClientPairingProps;
use crate::wire::qr::QrCode;
use crate::wire::{Jid, Node, WireError, adv};
use pairing_code::CodeLinking;
use passkey::Ceremony;
use prost::Message;
use std::collections::VecDeque;
use std::time::Duration;

const FIRST_CODE: Duration = Duration::from_secs(60);
const NEXT_CODE: Duration = Duration::from_secs(20);
/// How long the phone may take to vouch for us once it has all it needs.
const SUCCESS_TIMEOUT: Duration = Duration::from_secs(60);

/// A connection of a device that wants to be linked.
#[derive(Debug, Default)]
pub(in crate::account) struct Linking {
    /// References that are left.
    left: VecDeque<String>,
    /// The one that is shown.
    shown: Option<String>,
    /// When the next one is.
    next_at: Option<Monotonic>,
    code: Option<CodeLinking>,
    passkey: Option<Ceremony>,
    /// Until when the phone, which has our secret by now, may vouch for us.
    success_until: Option<Monotonic>,
}

impl Linking {
    pub(in crate::account) fn deadline(&self) -> Option<Monotonic> {
        let code = self.code.as_ref().map(CodeLinking::deadline);
        let passkey = self.passkey.as_ref().and_then(Ceremony::deadline);
        [self.next_at, code, passkey, self.success_until].into_iter().flatten().min()
    }
}

impl Router {
    /// `<pair-device>`: references for QR codes.
    pub(in crate::account) fn on_pair_device<C>(
        &mut self,
        turn: &mut Turn<'_, C>,
        iq: &Node,
    ) -> Result<(), AccountError> {
        let pair_device = iq.require_child("pair-device")?;
        let left = pair_device
            .all("ref")
            .map(|node| String::from_utf8(node.content_bytes().to_vec()))
            .collect::<Result<VecDeque<_>, _>>()
            .map_err(|_| WireError::Malformed { what: "linking reference" })?;
        self.write(turn, result_of(iq));
        self.linking = Some(Linking { left, ..Linking::default() });
        self.show_next_code(turn, FIRST_CODE);
        self.begin_wanted_code(turn);
        Ok(())
    }

    pub(in crate::account) fn tick_linking<C>(&mut self, turn: &mut Turn<'_, C>) {
        let Some(linking) = &self.linking else { return };
        if linking.success_until.is_some_and(|until| until <= turn.steady) {
            return self.link_failed(turn, "link_no_answer");
        }
        if linking.next_at.is_some_and(|at| at <= turn.steady) {
            self.show_next_code(turn, NEXT_CODE);
        }
        self.tick_code(turn);
        self.tick_passkey(turn);
    }

    fn show_next_code<C>(&mut self, turn: &mut Turn<'_, C>, lifetime: Duration) {
        let Some(linking) = &mut self.linking else { return };
        linking.shown = linking.left.pop_front();
        if linking.shown.is_some() {
            linking.next_at = Some(turn.steady.plus(lifetime));
        } else if linking.code.is_some() {
            // The code may still be typed.
            linking.next_at = None;
        } else {
            return self.link_failed(turn, "link_expired");
        }
        self.draw_code(turn, lifetime);
    }

    /// Shows the reference with the secret as it is now.
    fn draw_code<C>(&mut self, turn: &Turn<'_, C>, lifetime: Duration) {
        let shown = self.linking.as_ref().and_then(|linking| linking.shown.clone());
        self.view.code = shown.map(|reference| {
            let code = QrCode {
                reference,
                noise: *self.device.noise.public(),
                identity: self.device.local.identity.public(),
                adv_secret: self.device.adv_secret.clone(),
            };
            LinkCode { text: code.to_text(), expires_at: turn.now.plus(lifetime) }
        });
    }

    /// No QR code is shown any more: something else is under way.
    fn hide_codes(&mut self) {
        if let Some(linking) = &mut self.linking {
            (linking.next_at, linking.shown) = (None, None);
            linking.left.clear();
        }
        self.view.code = None;
    }

    /// The phone has all it needs, keyed by this secret.
    fn await_success<C>(&mut self, turn: &mut Turn<'_, C>, adv_secret: Secret<32>) {
        self.device.adv_secret = adv_secret;
        turn.absorb(self.device.to_writes());
        if let Some(linking) = &mut self.linking {
            linking.success_until = Some(turn.steady.plus(SUCCESS_TIMEOUT));
        }
    }

    /// Linking has come to nothing; somebody has to start it again.
    fn link_failed<C>(&mut self, turn: &mut Turn<'_, C>, reason: &str) {
        self.stop(turn, AccountState::Stopped, Some(reason));
    }

    /// The service wants another secret on the screen (`linking-and-tokens.md` 5); not while a phone is vouching for this one.
    pub(in crate::account) fn on_refresh_request<C>(&mut self, turn: &mut Turn<'_, C>, notification: &Node) {
        let is_asked =
            ["companion_reg_refresh", "pair-device-rotate-qr"].iter().any(|it| notification.find(it).is_some());
        let Some(linking) = self.linking.as_ref().filter(|linking| is_asked && linking.success_until.is_none()) else {
            return;
        };
        let left = linking.next_at.map_or(NEXT_CODE, |at| at.after(turn.steady));
        self.device.adv_secret = Secret::generate(&mut self.rng);
        turn.absorb(self.device.to_writes());
        self.draw_code(turn, left);
    }

    /// `<pair-success>`: a phone vouches for us. Checked, stored, signed by us, and answered.
    pub(in crate::account) async fn on_pair_success<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        iq: &Node,
    ) -> Result<(), AccountError> {
        match self.accept_link(turn, iq).await {
            Err(AccountError::Wire(error)) => {
                tracing::warn!(account = %self.id, %error, "linking was refused");
                let text = if error == adv::HMAC_MISMATCH { "hmac-mismatch" } else { "signature-mismatch" };
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
        self.view.pairing_code = None;
        self.view.passkey = None;
        self.show_link();
        let identity = Node::new("device-identity").attr("key-index", u64::from(key_index)).bytes(signed);
        self.write(turn, result_of(iq).child(Node::new("pair-device-sign").child(identity)));
        Ok(())
    }
}

/// `<iq type=result>` to one of the service's own questions.
pub(in crate::account) fn result_of(iq: &Node) -> Node {
    Node::new("iq").attr("to", Jid::service()).attr("type", "result").maybe("id", iq.get("id").cloned())
}
