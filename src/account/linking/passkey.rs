//! Linking with a passkey (`linking-and-tokens.md` 1): the service has a person prove with a passkey that the account is theirs.
//!
//! The challenge goes to a browser as it is and its assertion comes back; both are secrets of the ceremony. One attempt at a time;
//! a connection that ends, ends it.

use crate::account::error::AccountError;
use crate::account::router::{Refusal, Reply, Router, Turn};
use crate::account::turn::requests::Purpose;
use crate::account::view::{AccountState, PasskeyView};
use crate::base::ids::random_hex;
use crate::base::secret::Secret;
use crate::base::time::{Monotonic, Timestamp};
use crate::signal::KeyPair;
use crate::wire::passkey::{Attempt, PhoneIdentity, handoff_proof};
use crate::wire::{Jid, Node, WireError};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng;
use serde_json::Value;
use std::fmt;
use std::time::Duration;

/// How long a challenge lives.
const CHALLENGE: Duration = Duration::from_secs(600);
/// How long the proof that the phone has scanned this very screen is good.
const HANDOFF: Duration = Duration::from_secs(300);
/// The phone goes on within this time or not at all.
const CONTINUATION: Duration = Duration::from_secs(45);
const MAX_OPTIONS: usize = 4096;
/// The largest assertion, in bytes of JSON.
const MAX_ASSERTION: usize = 16 * 1024;

/// A browser's `PublicKeyCredential.toJSON()`.
#[derive(Clone, PartialEq, Eq)]
pub struct Assertion {
    credential_id: Vec<u8>,
    json: String,
}

/// What is wrong with an assertion.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadAssertion(&'static str);

impl Assertion {
    /// Reads it; it is passed on as it is.
    pub fn parse(json: String) -> Result<Self, BadAssertion> {
        if json.len() > MAX_ASSERTION {
            return Err(BadAssertion("the assertion is too large"));
        }
        let value: Value = serde_json::from_str(&json).map_err(|_| BadAssertion("the assertion is not JSON"))?;
        let binary = |value: &Value| value.as_str().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        if value["type"] != "public-key" {
            return Err(BadAssertion("type must be public-key"));
        }
        let credential_id = binary(&value["rawId"]).filter(|id| !id.is_empty());
        let credential_id = credential_id.ok_or(BadAssertion("rawId must be base64url without padding"))?;
        if !value["id"].is_string() {
            return Err(BadAssertion("id is missing"));
        }
        let response = &value["response"];
        if ["clientDataJSON", "authenticatorData", "signature"].iter().any(|name| binary(&response[name]).is_none()) {
            let why = "response must have clientDataJSON, authenticatorData and signature in base64url without padding";
            return Err(BadAssertion(why));
        }
        Ok(Self { credential_id, json })
    }
}

impl fmt::Debug for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Assertion(…)")
    }
}

/// What the service was asked in a ceremony.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::account) enum Question {
    Options,
    Reference,
    Prologue,
    Nonce,
    Request,
}

enum Stage {
    Options,
    /// A person has to prove themselves.
    Person,
    /// They have; the service is asked for a reference.
    Reference(Assertion),
    /// The phone has to go on.
    Phone {
        attempt: Attempt,
        proven: bool,
        until: Monotonic,
    },
    /// The two codes have to be compared.
    Comparison {
        attempt: Attempt,
        phone: PhoneIdentity,
    },
    /// All is said.
    Done,
}

/// A ceremony under way.
pub(in crate::account) struct Ceremony {
    stage: Stage,
    until: Monotonic,
    expires_at: Timestamp,
    /// The secret that was on the screen, while it proves something.
    handoff: Option<(Secret<32>, Monotonic)>,
}

impl Ceremony {
    pub(in crate::account) fn deadline(&self) -> Option<Monotonic> {
        match &self.stage {
            Stage::Phone { until, .. } => Some(*until),
            Stage::Done => None,
            _ => Some(self.until),
        }
    }
}

impl fmt::Debug for Ceremony {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ceremony(…)")
    }
}

impl Router {
    fn ceremony(&mut self) -> Option<&mut Ceremony> {
        self.linking.as_mut()?.passkey.as_mut()
    }

    fn ask_for<C>(&mut self, turn: &mut Turn<'_, C>, question: Question, kind: &'static str, content: Node) {
        let iq = self.ask(turn, Purpose::Passkey(question), "md", kind).child(content);
        self.write(turn, iq);
    }

    /// `passkey_prologue_request`: a passkey is demanded.
    pub(in crate::account) fn on_passkey_demand<C>(&mut self, turn: &mut Turn<'_, C>, notification: &Node) {
        let from_service = notification.jid("from") == Some(Jid::service());
        let adv_secret = self.device.adv_secret.clone();
        let Some(linking) = self.linking.as_mut().filter(|it| from_service && it.passkey.is_none()) else { return };
        // The phone has seen the secret on the QR code, or was told it by the code that was typed.
        linking.success_until = None;
        linking.code = None;
        linking.passkey = Some(Ceremony {
            stage: Stage::Options,
            until: turn.steady.plus(CHALLENGE),
            expires_at: turn.now.plus(CHALLENGE),
            handoff: Some((adv_secret, turn.steady.plus(HANDOFF))),
        });
        self.hide_codes();
        self.view.pairing_code = None;
        let options = notification.find("passkey_request_options").map(Node::content_bytes).and_then(read_options);
        match options {
            Some(options) => self.show_challenge(options),
            None => self.ask_for(turn, Question::Options, "get", Node::new("passkey_request_options")),
        }
    }

    fn show_challenge(&mut self, options: Value) {
        let token = random_hex::<16>(&mut self.rng);
        let Some(ceremony) = self.ceremony() else { return };
        ceremony.stage = Stage::Person;
        let expires_at = ceremony.expires_at;
        self.view.state = AccountState::PasskeyRequired;
        self.view.reason = None;
        self.view.passkey = Some(PasskeyView { options: Some(options), code: None, expires_at, token });
    }

    /// A person has proved themselves.
    pub(in crate::account) fn take_assertion<C>(&mut self, turn: &mut Turn<'_, C>, assertion: Assertion) -> Reply {
        let Some(ceremony) = self.ceremony() else { return Reply::Refused(Refusal::NoPasskey) };
        if !matches!(ceremony.stage, Stage::Person) {
            return Reply::Refused(Refusal::PasskeyUnderWay);
        }
        ceremony.stage = Stage::Reference(assertion);
        if let Some(view) = &mut self.view.passkey {
            view.options = None;
        }
        self.view.state = AccountState::Linking;
        self.view.reason = Some("the phone has to go on: keep WhatsApp open on it".to_owned());
        self.ask_for(turn, Question::Reference, "get", Node::new("ref"));
        Reply::Done
    }

    /// The service has answered a question of the ceremony.
    pub(in crate::account) fn on_passkey_answer<C>(
        &mut self,
        turn: &mut Turn<'_, C>,
        question: Question,
        iq: &Node,
    ) -> Result<(), AccountError> {
        match question {
            Question::Options => {
                let options = iq.require_child("passkey_request_options")?.content_bytes();
                let options = read_options(options).ok_or(WireError::Malformed { what: "passkey options" })?;
                self.show_challenge(options);
                Ok(())
            }
            Question::Reference => self.send_prologue(turn, iq.require_child("ref")?.content_bytes()),
            Question::Prologue | Question::Nonce | Question::Request => Ok(()),
        }
    }

    fn send_prologue<C>(&mut self, turn: &mut Turn<'_, C>, reference: &[u8]) -> Result<(), AccountError> {
        let malformed = || WireError::Malformed { what: "passkey reference" };
        let reference = String::from_utf8(reference.to_vec()).map_err(|_| malformed())?;
        let (ephemeral, nonce) = (KeyPair::generate(&mut self.rng), Secret::generate(&mut self.rng));
        let attempt = Attempt::new(ephemeral, nonce, reference);
        let Some(ceremony) = self.ceremony() else { return Ok(()) };
        let Stage::Reference(assertion) = &ceremony.stage else { return Ok(()) };
        let handoff = ceremony.handoff.take().filter(|(_, until)| turn.steady < *until);
        let proof = handoff.map(|(secret, _)| handoff_proof(&secret, attempt.payload()));
        let prologue = Node::new("passkey_prologue")
            .children([
                Node::new("credential_id").bytes(assertion.credential_id.clone()),
                Node::new("webauthn_assertion").bytes(assertion.json.as_bytes()),
                Node::new("prologue_payload").bytes(attempt.payload()),
            ])
            .children(proof.map(|proof| Node::new("pairing_handoff_proof").bytes(proof)));
        // The phone may go on before the service has answered.
        let until = turn.steady.plus(CONTINUATION);
        ceremony.stage = Stage::Phone { attempt, proven: proof.is_some(), until };
        self.ask_for(turn, Question::Prologue, "set", prologue);
        Ok(())
    }

    /// `crsc_continuation`: the phone goes on, with its own key.
    pub(in crate::account) fn on_passkey_continuation<C>(
        &mut self,
        turn: &mut Turn<'_, C>,
        notification: &Node,
    ) -> Result<(), AccountError> {
        let Some(identity) = notification.find("primary_ephemeral_identity") else { return Ok(()) };
        let phone = PhoneIdentity::read(identity.content_bytes())?;
        let Some(ceremony) = self.ceremony() else { return Ok(()) };
        let (attempt, proven) = match std::mem::replace(&mut ceremony.stage, Stage::Done) {
            Stage::Phone { attempt, proven, .. } => (attempt, proven),
            other => {
                ceremony.stage = other;
                tracing::warn!(account = %self.id, "the phone goes on with nothing");
                return Ok(());
            }
        };
        let (nonce, code) = (*attempt.nonce(), attempt.code(&phone).to_string());
        self.ask_for(turn, Question::Nonce, "set", Node::new("companion_nonce").bytes(nonce));
        if proven {
            return self.send_request(turn, &attempt, &phone);
        }
        if let Some(ceremony) = self.ceremony() {
            ceremony.stage = Stage::Comparison { attempt, phone };
        }
        self.view.state = AccountState::PasskeyConfirmation;
        self.view.reason = None;
        if let Some(view) = &mut self.view.passkey {
            view.code = Some(code);
        }
        Ok(())
    }

    /// The person says that the codes are the same. Said too early, it changes nothing.
    pub(in crate::account) fn confirm_passkey<C>(&mut self, turn: &mut Turn<'_, C>) -> Result<Reply, AccountError> {
        let Some(ceremony) = self.ceremony() else { return Ok(Reply::Refused(Refusal::NoPasskey)) };
        match std::mem::replace(&mut ceremony.stage, Stage::Done) {
            Stage::Comparison { attempt, phone } => {
                self.send_request(turn, &attempt, &phone)?;
                Ok(Reply::Done)
            }
            other => {
                ceremony.stage = other;
                Ok(Reply::Refused(Refusal::PasskeyUnderWay))
            }
        }
    }

    fn send_request<C>(
        &mut self,
        turn: &mut Turn<'_, C>,
        attempt: &Attempt,
        phone: &PhoneIdentity,
    ) -> Result<(), AccountError> {
        let adv_secret = Secret::generate(&mut self.rng);
        let mut iv = [0; 12];
        self.rng.fill_bytes(&mut iv);
        let (noise, identity) = (self.device.noise.public(), self.device.local.identity.public());
        let sealed = attempt.seal(phone, noise, &identity, &adv_secret, iv)?;
        self.view.state = AccountState::Linking;
        self.view.passkey = None;
        // The phone may vouch for us, by the new secret, before the service has answered.
        self.await_success(turn, adv_secret);
        self.ask_for(turn, Question::Request, "set", Node::new("encrypted_pairing_request").bytes(sealed));
        Ok(())
    }

    /// The service has refused a step: the attempt has come to nothing.
    pub(in crate::account) fn passkey_refused<C>(&mut self, turn: &mut Turn<'_, C>, question: Question, code: u64) {
        let step = match question {
            Question::Options => "options",
            Question::Reference => "reference",
            Question::Prologue => "assertion",
            Question::Nonce => "nonce",
            Question::Request => "confirmation",
        };
        self.link_failed(turn, &format!("passkey_refused: {step} ({code})"));
    }

    pub(in crate::account) fn passkey_unanswered<C>(&mut self, turn: &mut Turn<'_, C>) {
        self.link_failed(turn, "passkey_no_answer");
    }

    pub(in crate::account) fn tick_passkey<C>(&mut self, turn: &mut Turn<'_, C>) {
        let Some(ceremony) = self.ceremony() else { return };
        if ceremony.deadline().is_none_or(|until| until > turn.steady) {
            return;
        }
        let reason = match ceremony.stage {
            Stage::Phone { .. } => "passkey_no_answer",
            _ => "passkey_expired",
        };
        self.link_failed(turn, reason);
    }
}

/// The options are passed on as they are; only that they are JSON is looked at.
fn read_options(bytes: &[u8]) -> Option<Value> {
    let options = (1..=MAX_OPTIONS).contains(&bytes.len()).then(|| serde_json::from_slice::<Value>(bytes).ok());
    options.flatten().filter(Value::is_object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn assertion() -> Value {
        let response =
            json!({ "clientDataJSON": "e30", "authenticatorData": "AA", "signature": "AA", "userHandle": null });
        json!({ "id": "AQI", "rawId": "AQI", "type": "public-key", "response": response, "extra": {} })
    }

    #[test]
    fn an_assertion_is_passed_on_as_it_is() {
        let text = assertion().to_string();
        let read = Assertion::parse(text.clone()).unwrap();
        assert_eq!((read.credential_id.as_slice(), &read.json), (&[1u8, 2][..], &text));
        assert_eq!(format!("{read:?}"), "Assertion(…)");
    }

    #[test]
    fn an_assertion_without_its_parts_is_refused() {
        for (pointer, value) in [
            ("/type", json!("password")),
            ("/rawId", json!("AQI=")),
            ("/rawId", json!("")),
            ("/id", json!(null)),
            ("/response/signature", json!(null)),
            ("/response/clientDataJSON", json!("+")),
        ] {
            let mut wrong = assertion();
            *wrong.pointer_mut(pointer).unwrap() = value;
            assert!(Assertion::parse(wrong.to_string()).is_err(), "{pointer}");
        }
        assert!(Assertion::parse("[".into()).is_err());
        assert!(Assertion::parse(" ".repeat(MAX_ASSERTION + 1)).is_err());
    }

    #[test]
    fn options_are_a_json_object_of_a_bounded_size() {
        assert_eq!(read_options(b"{\"a\":1}"), Some(json!({ "a": 1 })));
        for wrong in [&b""[..], b"[]", b"{", &[b' '; MAX_OPTIONS + 1]] {
            assert_eq!(read_options(wrong), None);
        }
    }
}
