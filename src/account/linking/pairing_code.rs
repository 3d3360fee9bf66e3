//! Linking by an eight-character code that the person types into the phone (`wire-protocol.md` 1.6).

use crate::account::Children;
use crate::account::error::AccountError;
use crate::account::router::{Refusal, Reply, Router, Turn};
use crate::account::turn::requests::Purpose;
use crate::account::view::{AccountState, LinkCode};
use crate::base::time::Monotonic;
use crate::signal::{IdentityKey, KeyPair, PublicKey};
use crate::wire::pair_code::{PairCode, seal_bundle};
use crate::wire::{Jid, Node, WireError};
use std::time::Duration;

const VALID: Duration = Duration::from_secs(180);
/// How often a phone may answer one code.
const MAX_HELLOS: u32 = 3;
/// Phones accept real browsers only, and this is how they show us while the code is typed.
const PLATFORM_ID: &str = "1";
const PLATFORM: &str = "Chrome (Linux)";

/// Somebody wants a code for this phone; the command's token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::account) struct CodeRequest {
    phone: Jid,
    token: Option<u64>,
}

/// A code that is shown.
#[derive(Debug)]
pub(in crate::account) struct CodeLinking {
    phone: Jid,
    code: PairCode,
    ephemeral: KeyPair,
    /// Known once the service has taken the request.
    reference: Option<Vec<u8>>,
    until: Monotonic,
    hellos: u32,
}

impl CodeLinking {
    pub(in crate::account) fn deadline(&self) -> Monotonic {
        self.until
    }
}

impl Router {
    /// Asks for a code to type into this phone. The account is brought on the way to be linked first, where it is not.
    pub(in crate::account) async fn request_code<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        phone: Jid,
        token: u64,
    ) -> Result<(), AccountError> {
        if self.device.link.is_some() {
            turn.reply(token, Reply::Refused(Refusal::AlreadyLinked));
            return Ok(());
        }
        if let Some(CodeRequest { token: Some(earlier), .. }) = self.code_wanted.take() {
            turn.reply(earlier, Reply::Refused(Refusal::NoCode(0)));
        }
        self.code_wanted = Some(CodeRequest { phone, token: Some(token) });
        if !self.connection.is_wanted() {
            self.start(turn).await?;
        }
        self.begin_wanted_code(turn);
        Ok(())
    }

    /// Makes a code, where one is wanted and the service is ready for it.
    pub(in crate::account) fn begin_wanted_code<C>(&mut self, turn: &mut Turn<'_, C>) {
        let Some(linking) = self.linking.as_mut().filter(|it| it.passkey.is_none() && it.success_until.is_none())
        else {
            return;
        };
        let Some(request) = self.code_wanted.take() else { return };
        let (code, ephemeral) = (PairCode::generate(&mut self.rng), KeyPair::generate(&mut self.rng));
        let wrapped = code.wrap(ephemeral.public(), &mut self.rng);
        let phone = request.phone.clone();
        let until = turn.steady.plus(VALID);
        linking.code = Some(CodeLinking { phone: phone.clone(), code, ephemeral, reference: None, until, hellos: 0 });
        let hello = Node::new("link_code_companion_reg")
            .attr("jid", phone)
            .attr("stage", "companion_hello")
            .attr("should_show_push_notification", "true")
            .children([
                Node::new("link_code_pairing_wrapped_companion_ephemeral_pub").bytes(wrapped),
                Node::new("companion_server_auth_key_pub").bytes(*self.device.noise.public().as_bytes()),
                Node::new("companion_platform_id").bytes(PLATFORM_ID.as_bytes()),
                Node::new("companion_platform_display").bytes(PLATFORM.as_bytes()),
                Node::new("link_code_pairing_nonce").bytes([0]),
            ]);
        let iq = self.ask(turn, Purpose::CodeHello(request), "md", "set").child(hello);
        self.write(turn, iq);
    }

    /// The service has taken the request: the code can be typed.
    pub(in crate::account) fn code_taken<C>(
        &mut self,
        turn: &mut Turn<'_, C>,
        request: &CodeRequest,
        iq: &Node,
    ) -> Result<(), AccountError> {
        let answer = iq.require_child("link_code_companion_reg")?;
        let reference = answer.require_child("link_code_pairing_ref")?.content_bytes().to_vec();
        let Some(code) = self.linking.as_mut().and_then(|linking| linking.code.as_mut()) else { return Ok(()) };
        code.reference = Some(reference);
        let shown = LinkCode { text: code.code.to_string(), expires_at: turn.now.plus(VALID) };
        self.view.pairing_code = Some(shown.clone());
        if let Some(token) = request.token {
            turn.reply(token, Reply::LinkCode(shown));
        }
        Ok(())
    }

    /// The service gives no code for this phone.
    pub(in crate::account) fn code_refused<C>(&mut self, turn: &mut Turn<'_, C>, request: &CodeRequest, error: u64) {
        if let Some(linking) = &mut self.linking {
            linking.code = None;
        }
        self.view.pairing_code = None;
        if let Some(token) = request.token {
            turn.reply(token, Reply::Refused(Refusal::NoCode(error)));
        }
    }

    /// Who waits for a code that cannot come any more is told.
    pub(in crate::account) fn drop_code_request<C>(&mut self, turn: &mut Turn<'_, C>) {
        if let Some(request) = self.code_wanted.take() {
            self.code_refused(turn, &request, 0);
        }
        for purpose in self.pending.take_all(|purpose| matches!(purpose, Purpose::CodeHello(_))) {
            if let Purpose::CodeHello(request) = purpose {
                self.code_refused(turn, &request, 0);
            }
        }
        self.view.pairing_code = None;
    }

    /// A step of the phone.
    pub(in crate::account) fn on_code_step<C>(
        &mut self,
        turn: &mut Turn<'_, C>,
        notification: &Node,
    ) -> Result<(), AccountError> {
        let step = notification.require_child("link_code_companion_reg")?;
        match step.text("stage").as_deref() {
            Some("primary_hello") => self.primary_hello(turn, step),
            Some("refresh_code") => {
                let phone = self.linking.as_mut().and_then(|linking| linking.code.take()).map(|code| code.phone);
                self.code_wanted = phone.map(|phone| CodeRequest { phone, token: None });
                self.begin_wanted_code(turn);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The person has typed the code: the phone is shown that it was ours.
    fn primary_hello<C>(&mut self, turn: &mut Turn<'_, C>, step: &Node) -> Result<(), AccountError> {
        let Some(code) = self.linking.as_mut().and_then(|linking| linking.code.as_mut()) else { return Ok(()) };
        // Before a passkey is asked for the phone may say so without a key.
        let Some(wrapped) = step.find("link_code_pairing_wrapped_primary_ephemeral_pub") else { return Ok(()) };
        let reference = step.require_child("link_code_pairing_ref")?.content_bytes();
        if code.reference.as_deref() != Some(reference) {
            return Err(WireError::Malformed { what: "linking reference" }.into());
        }
        code.hellos += 1;
        if code.hellos > MAX_HELLOS {
            self.link_failed(turn, "link_code_wrong");
            return Ok(());
        }
        let theirs = code.code.unwrap(&wrapped.array("wrapped ephemeral key")?);
        let phone = PublicKey::parse(step.require_child("primary_identity_pub")?.content_bytes(), "identity key")?;
        let identity = &self.device.local.identity;
        let (bundle, adv_secret) = seal_bundle(&code.ephemeral, identity, &theirs, &IdentityKey(phone), &mut self.rng)?;
        let finish =
            Node::new("link_code_companion_reg").attr("jid", &code.phone).attr("stage", "companion_finish").children([
                Node::new("link_code_pairing_wrapped_key_bundle").bytes(bundle),
                Node::new("companion_identity_public").bytes(*identity.public().0.as_bytes()),
                Node::new("link_code_pairing_ref").bytes(reference),
            ]);
        self.hide_codes();
        self.await_success(turn, adv_secret);
        let iq = self.ask(turn, Purpose::CodeFinish, "md", "set").child(finish);
        self.write(turn, iq);
        Ok(())
    }

    /// The phone did not take the proof: most likely another code was typed. It may be typed again.
    pub(in crate::account) fn finish_refused<C>(&mut self, turn: &mut Turn<'_, C>) {
        let Some(linking) = &mut self.linking else { return };
        linking.success_until = None;
        if linking.code.as_ref().is_none_or(|code| code.hellos >= MAX_HELLOS) {
            self.link_failed(turn, "link_code_wrong");
        }
    }

    pub(in crate::account) fn tick_code<C>(&mut self, turn: &mut Turn<'_, C>) {
        let Some(linking) = &mut self.linking else { return };
        if linking.code.as_ref().is_some_and(|code| code.until <= turn.steady) {
            linking.code = None;
            self.view.pairing_code = None;
            let nothing_left = linking.shown.is_none() && linking.passkey.is_none() && linking.success_until.is_none();
            if nothing_left && self.view.state == AccountState::Linking {
                self.link_failed(turn, "link_expired");
            }
        }
    }
}
