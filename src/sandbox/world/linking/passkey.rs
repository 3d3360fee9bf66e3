//! Linking with a passkey, the service's and the phone's side (`linking-and-tokens.md` 1.2, 1.9).

use super::authenticator::{Credential, options};
use super::policy::{PasskeyFault, PasskeyPolicy, PasskeyStep};
use super::request::PasskeyLink;
use crate::base::secret::Secret;
use crate::sandbox::world::error::WorldError;
use crate::sandbox::world::ids::ConnectionId;
use crate::sandbox::world::net::schedule::{Action, FIRST_FRAME_DELAY};
use crate::sandbox::world::refusal::{Answer, BAD_REQUEST, NOT_FOUND, Refusal};
use crate::sandbox::world::state::World;
use crate::signal::KeyPair;
use crate::wire::pair_code::PairCode;
use crate::wire::passkey::{PhoneIdentity, Prologue, handoff_proof};
use crate::wire::{Jid, Node};
use rand::Rng;
use serde_json::Value;
use std::time::Duration;

const CHALLENGE: Duration = Duration::from_secs(600);

impl World {
    /// Sets whether linking this account needs its passkey. The person gets a passkey with the first policy.
    pub fn set_passkey(&mut self, number: &str, policy: PasskeyPolicy) -> Result<(), WorldError> {
        self.require_phone(number)?;
        let (mut id, mut handle) = ([0; 16], [0; 16]);
        self.rng.fill_bytes(&mut id);
        self.rng.fill_bytes(&mut handle);
        if let Ok(settings) = self.settings_mut(number) {
            if settings.passkey.credential.is_none() {
                settings.passkey.credential = Credential::generate(id, handle);
            }
            settings.passkey.policy = policy;
        }
        Ok(())
    }

    /// The person signs request options with the passkey.
    pub fn sign_with_passkey(&mut self, number: &str, options: &Value) -> Result<Value, WorldError> {
        self.require_phone(number)?;
        let settings = self.settings_mut(number).map_err(|(_, why)| WorldError::Refused(why))?;
        let credential =
            settings.passkey.credential.as_mut().ok_or(WorldError::Refused("the person has no passkey"))?;
        credential.sign(options).ok_or(WorldError::Refused("the options cannot be read"))
    }

    fn passkey_link_mut(&mut self, id: ConnectionId) -> Option<&mut PasskeyLink> {
        self.connections.link_request_mut(id)?.passkey.as_mut()
    }

    fn policy_of(&self, number: &str) -> PasskeyPolicy {
        self.registry.account(number).map(|account| account.settings.passkey.policy.clone()).unwrap_or_default()
    }

    fn fault_of(&self, id: ConnectionId) -> Option<PasskeyFault> {
        let link = self.connections.link_request(id)?.passkey.as_ref()?;
        self.policy_of(&link.number).fault
    }

    /// Whether linking this account needs its passkey.
    pub(in crate::sandbox::world) fn demands_passkey(&self, number: &str) -> bool {
        self.policy_of(number).required
    }

    /// Demands the passkey from the client whose QR code was scanned, or whose code was entered.
    pub(in crate::sandbox::world) fn demand_passkey(
        &mut self,
        number: &str,
        id: ConnectionId,
        adv_secret: &Secret<32>,
        by_code: bool,
    ) {
        let mut challenge = [0; 32];
        self.rng.fill_bytes(&mut challenge);
        let expires_at = self.now.plus(CHALLENGE);
        let Some(request) = self.connections.link_request_mut(id) else { return };
        request.passkey = Some(PasskeyLink {
            number: number.to_owned(),
            challenge,
            expires_at,
            adv_secret: adv_secret.clone(),
            reference: None,
            prologue: None,
            code: None,
            accepted: None,
            requested: None,
        });
        let policy = self.policy_of(number);
        if policy.hello_first && by_code {
            let hello = Node::new("link_code_companion_reg").attr("stage", "primary_hello");
            let notification = self.notification(&Jid::service(), "link_code_companion_reg").child(hello);
            self.send(id, &notification);
        }
        let demand = Node::new("passkey_request_options").bytes(options(&challenge));
        let demand = (!policy.ask_for_options).then_some(demand);
        let notification = self.notification(&Jid::service(), "passkey_prologue_request").children(demand);
        self.send(id, &notification);
    }

    /// Answers a request of a client in a ceremony; `None` when it is not part of one.
    pub(in crate::sandbox::world) fn passkey_iq(&mut self, id: ConnectionId, iq: &Node) -> Option<Answer> {
        let step = match iq.nodes().first()?.tag.as_ref() {
            "passkey_request_options" => PasskeyStep::Options,
            "ref" if iq.is("type", "get") => PasskeyStep::Reference,
            "passkey_prologue" => PasskeyStep::Assertion,
            "companion_nonce" => PasskeyStep::Nonce,
            "encrypted_pairing_request" => PasskeyStep::Confirmation,
            _ => return None,
        };
        if let Some(PasskeyFault::Refuse { step: refused, code }) = self.fault_of(id)
            && refused == step
        {
            return Some(Err((u64::from(code), "refused")));
        }
        Some(self.passkey_step(id, step, iq))
    }

    fn passkey_step(&mut self, id: ConnectionId, step: PasskeyStep, iq: &Node) -> Answer {
        let mut reference = [0; 12];
        self.rng.fill_bytes(&mut reference);
        let fault = self.fault_of(id);
        let link = self.passkey_link_mut(id).ok_or(NOT_FOUND)?;
        match step {
            PasskeyStep::Options => Ok(Some(Node::new("passkey_request_options").bytes(options(&link.challenge)))),
            PasskeyStep::Reference => {
                let reference = format!("2@{}", hex::encode(reference));
                link.reference = Some(reference.clone());
                Ok(Some(Node::new("ref").bytes(reference.into_bytes())))
            }
            PasskeyStep::Assertion => self.take_prologue(id, iq.find("passkey_prologue").ok_or(BAD_REQUEST)?),
            PasskeyStep::Nonce => {
                let nonce = iq.find("companion_nonce").ok_or(BAD_REQUEST)?;
                let nonce = Secret::new(nonce.array("nonce").map_err(|_| BAD_REQUEST)?);
                let (prologue, _, phone) = link.prologue.as_ref().ok_or(BAD_REQUEST)?;
                let code = prologue.open(&nonce, phone).ok_or((401, "wrong-nonce"))?;
                let wrong = PairCode::parse("1111-1111").map_err(|_| BAD_REQUEST)?;
                link.code = Some(if fault == Some(PasskeyFault::Mismatch) { wrong } else { code });
                Ok(None)
            }
            PasskeyStep::Confirmation => {
                let sealed = iq.find("encrypted_pairing_request").ok_or(BAD_REQUEST)?.content_bytes();
                let (prologue, ephemeral, _) = link.prologue.as_ref().ok_or(BAD_REQUEST)?;
                let requested = prologue.open_request(ephemeral, sealed).map_err(|_| (401, "not-authorized"))?;
                if link.accepted == Some(false) {
                    return Err((403, "declined"));
                }
                link.requested = Some(requested);
                self.vouch_after_passkey(id)?;
                Ok(None)
            }
        }
    }

    fn take_prologue(&mut self, id: ConnectionId, prologue: &Node) -> Answer {
        let (now, fault) = (self.now, self.fault_of(id));
        let link = self.passkey_link_mut(id).ok_or(NOT_FOUND)?;
        let bytes = |name| prologue.find(name).map(Node::content_bytes).ok_or(BAD_REQUEST);
        let (credential_id, assertion) = (bytes("credential_id")?, bytes("webauthn_assertion")?);
        let payload = bytes("prologue_payload")?;
        if now >= link.expires_at || fault == Some(PasskeyFault::Expired) {
            return Err((410, "expired"));
        }
        let read = Prologue::read(payload).map_err(|_| BAD_REQUEST)?;
        if Some(&read.reference) != link.reference.take().as_ref() {
            return Err((401, "wrong-reference"));
        }
        let proof = prologue.find("pairing_handoff_proof").map(Node::content_bytes);
        if proof.is_some_and(|proof| proof != handoff_proof(&link.adv_secret, payload)) {
            return Err((401, "wrong-proof"));
        }
        link.accepted = proof.map(|_| true);
        // A challenge is valid once.
        link.expires_at = now;
        let (number, challenge) = (link.number.clone(), link.challenge);
        let account = self.registry.account(&number);
        let credential = account.and_then(|account| account.settings.passkey.credential.as_ref());
        credential.ok_or((404, "unknown-credential"))?.verify(credential_id, assertion, &challenge)?;
        let ephemeral = KeyPair::generate(&mut self.rng);
        let mut nonce = [0; 32];
        self.rng.fill_bytes(&mut nonce);
        let phone = PhoneIdentity { key: *ephemeral.public(), nonce };
        let continuation = Node::new("primary_ephemeral_identity").bytes(phone.to_bytes());
        let notification = self.notification(&Jid::service(), "crsc_continuation").child(continuation);
        if let Some(link) = self.passkey_link_mut(id) {
            link.prologue = Some((read, ephemeral, phone));
        }
        match fault {
            Some(PasskeyFault::Silence) => {}
            Some(PasskeyFault::Disconnect) => self.after(FIRST_FRAME_DELAY, Action::Close(id)),
            _ => self.after(FIRST_FRAME_DELAY, Action::Send(id, Box::new(notification))),
        }
        Ok(None)
    }

    /// The code that the phone shows.
    pub fn passkey_code(&self, number: &str) -> Result<String, WorldError> {
        let (_, link) = self.shown_ceremony(number)?;
        let code = link.code.as_ref().ok_or(WorldError::Refused("the phone shows no code yet"))?;
        Ok(code.to_string())
    }

    /// The person confirms on the phone that the codes are equal, or denies it.
    pub fn decide_passkey(&mut self, number: &str, accept: bool) -> Result<(), WorldError> {
        let (id, _) = self.shown_ceremony(number)?;
        if let Some(link) = self.passkey_link_mut(id) {
            link.accepted = Some(accept);
        }
        if !accept {
            self.close(id);
            return Ok(());
        }
        self.vouch_after_passkey(id).map_err(|(_, why)| WorldError::Refused(why))
    }

    fn shown_ceremony(&self, number: &str) -> Result<(ConnectionId, &PasskeyLink), WorldError> {
        self.require_phone(number)?;
        let requests = self.connections.link_requests();
        let links = requests.filter_map(|(id, request)| Some((id, request.passkey.as_ref()?)));
        let newest = links.filter(|(_, link)| link.number == number).max_by_key(|(id, _)| *id);
        newest.ok_or(WorldError::Refused("no client is being linked with this person's passkey"))
    }

    /// Vouches for the client once the person has accepted and the client has confirmed.
    fn vouch_after_passkey(&mut self, id: ConnectionId) -> Result<(), Refusal> {
        let request = self.connections.link_request_mut(id).ok_or(NOT_FOUND)?;
        let (noise, identity) = (request.noise, request.identity);
        let Some(link) = request.passkey.as_mut().filter(|link| link.accepted == Some(true)) else { return Ok(()) };
        let Some(requested) = link.requested.take() else { return Ok(()) };
        if requested.noise != noise || requested.identity != identity {
            return Err((401, "other-keys"));
        }
        let (number, adv_secret) = (link.number.clone(), requested.adv_secret);
        self.after(FIRST_FRAME_DELAY, Action::Vouch { client: id, number, adv_secret });
        Ok(())
    }
}
