//! Linking with a passkey (`linking-and-tokens.md` 1): a person's passkey proves that the account is theirs.
//!
//! The challenge is passed to a browser, whose assertion is passed to the service; both are secrets of the ceremony. One ceremony at a
//! time; it ends with its connection.

use crate::account::turn::Turn;
use crate::account::view::{AccountState, AccountView, PasskeyView};
use crate::base::ids::random_hex;
use crate::base::secret::Secret;
use crate::base::time::{Monotonic, Timestamp};
use crate::signal::KeyPair;
use crate::wire::passkey::{Attempt, PhoneIdentity, handoff_proof};
use crate::wire::{Node, WireError};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng;
use serde_json::Value;
use std::fmt;
use std::time::Duration;

/// Lifetime of a challenge.
const CHALLENGE: Duration = Duration::from_secs(600);
/// How long a scanned or typed code proves that the phone is at this screen.
const HANDOFF: Duration = Duration::from_secs(300);
/// How long the phone may take to continue.
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

/// The fault of an assertion.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadAssertion(&'static str);

impl Assertion {
    /// Validates an assertion, which is passed on unchanged.
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

/// A request of the ceremony to the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PasskeyRequest {
    Options,
    Reference,
    Prologue,
    Nonce,
    Request,
}

impl PasskeyRequest {
    /// The step's name in the reason of a failure.
    pub(super) const fn step(self) -> &'static str {
        match self {
            Self::Options => "options",
            Self::Reference => "reference",
            Self::Prologue => "assertion",
            Self::Nonce => "nonce",
            Self::Request => "confirmation",
        }
    }
}

/// An outgoing request: its kind, the `type` of its `<iq>`, its content.
pub(super) type Outgoing = (PasskeyRequest, &'static str, Node);

enum Stage {
    Options,
    /// Waiting for a person's assertion.
    Person(PasskeyView),
    /// Waiting for a reference of the service.
    Reference(Assertion, PasskeyView),
    /// Waiting for the phone to continue.
    Phone {
        attempt: Attempt,
        proven: bool,
        until: Monotonic,
        view: PasskeyView,
    },
    /// Waiting for the person to compare the two codes.
    Comparison {
        attempt: Attempt,
        phone: PhoneIdentity,
        view: PasskeyView,
    },
    /// Waiting for pair-success.
    Done,
}

/// A ceremony under way.
pub(super) struct Ceremony {
    stage: Stage,
    until: Monotonic,
    expires_at: Timestamp,
    /// The secret that was on the screen, and until when it counts as proof.
    handoff: Option<(Secret<32>, Monotonic)>,
}

/// The encrypted pairing request, and the secret that the phone will sign with.
pub(super) struct EncryptedRequest {
    pub(super) adv_secret: Secret<32>,
    pub(super) request: Outgoing,
}

/// The phone continued: the nonce is sent, and the pairing request too when no comparison is needed.
pub(super) struct Continued {
    pub(super) nonce: Outgoing,
    pub(super) pairing: Option<EncryptedRequest>,
}

/// The refusal of a step of the ceremony.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OtherStep;

impl fmt::Debug for Ceremony {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ceremony(…)")
    }
}

impl Ceremony {
    /// `passkey_prologue_request`: a passkey is required. Returns the request for its options where the notification has none.
    pub(super) fn begin(turn: &mut Turn<'_>, notification: &Node) -> (Self, Option<Outgoing>) {
        let adv_secret = turn.ctx.device.adv_secret.clone();
        let mut ceremony = Self {
            stage: Stage::Options,
            until: turn.steady.plus(CHALLENGE),
            expires_at: turn.now.plus(CHALLENGE),
            handoff: Some((adv_secret, turn.steady.plus(HANDOFF))),
        };
        let options = notification.find("passkey_request_options").map(Node::content_bytes).and_then(read_options);
        let request = match options {
            Some(options) => {
                ceremony.show_challenge(turn, options);
                None
            }
            None => Some((PasskeyRequest::Options, "get", Node::new("passkey_request_options"))),
        };
        (ceremony, request)
    }

    pub(super) fn deadline(&self) -> Option<Monotonic> {
        match &self.stage {
            Stage::Phone { until, .. } => Some(*until),
            Stage::Done => None,
            _ => Some(self.until),
        }
    }

    /// The reason of the failure when the current step has timed out.
    pub(super) fn expired(&self, now: Monotonic) -> Option<&'static str> {
        self.deadline().filter(|until| *until <= now)?;
        Some(match self.stage {
            Stage::Phone { .. } => "passkey_no_answer",
            _ => "passkey_expired",
        })
    }

    pub(super) fn show(&self, view: &mut AccountView) {
        let (state, reason, passkey) = match &self.stage {
            Stage::Options | Stage::Done => return,
            Stage::Person(passkey) => (AccountState::PasskeyRequired, None, passkey),
            Stage::Reference(_, passkey) | Stage::Phone { view: passkey, .. } => {
                (AccountState::Linking, Some("waiting for the phone: keep WhatsApp open on it"), passkey)
            }
            Stage::Comparison { view: passkey, .. } => (AccountState::PasskeyConfirmation, None, passkey),
        };
        view.state = state;
        view.reason = reason.map(str::to_owned);
        view.passkey = Some(passkey.clone());
    }

    fn show_challenge(&mut self, turn: &mut Turn<'_>, options: Value) {
        let token = random_hex::<16>(&mut turn.ctx.rng);
        self.stage =
            Stage::Person(PasskeyView { options: Some(options), code: None, expires_at: self.expires_at, token });
    }

    /// Accepts a person's assertion.
    pub(super) fn take_assertion(&mut self, assertion: Assertion) -> Result<Outgoing, OtherStep> {
        let Stage::Person(view) = &self.stage else { return Err(OtherStep) };
        self.stage = Stage::Reference(assertion, PasskeyView { options: None, ..view.clone() });
        Ok((PasskeyRequest::Reference, "get", Node::new("ref")))
    }

    /// The service's response to a step.
    pub(super) fn result(
        &mut self,
        turn: &mut Turn<'_>,
        request: PasskeyRequest,
        iq: &Node,
    ) -> Result<Option<Outgoing>, WireError> {
        match request {
            PasskeyRequest::Options => {
                let options = iq.require_child("passkey_request_options")?.content_bytes();
                let options = read_options(options).ok_or(WireError::Malformed { what: "passkey options" })?;
                self.show_challenge(turn, options);
                Ok(None)
            }
            PasskeyRequest::Reference => self.prologue(turn, iq.require_child("ref")?.content_bytes()),
            PasskeyRequest::Prologue | PasskeyRequest::Nonce | PasskeyRequest::Request => Ok(None),
        }
    }

    fn prologue(&mut self, turn: &mut Turn<'_>, reference: &[u8]) -> Result<Option<Outgoing>, WireError> {
        let malformed = |_| WireError::Malformed { what: "passkey reference" };
        let reference = String::from_utf8(reference.to_vec()).map_err(malformed)?;
        let Stage::Reference(assertion, view) = &self.stage else { return Ok(None) };
        let rng = &mut turn.ctx.rng;
        let (ephemeral, nonce) = (KeyPair::generate(rng), Secret::generate(rng));
        let attempt = Attempt::new(ephemeral, nonce, reference);
        let handoff = self.handoff.take().filter(|(_, until)| turn.steady < *until);
        let proof = handoff.map(|(secret, _)| handoff_proof(&secret, attempt.payload()));
        let prologue = Node::new("passkey_prologue")
            .children([
                Node::new("credential_id").bytes(assertion.credential_id.clone()),
                Node::new("webauthn_assertion").bytes(assertion.json.as_bytes()),
                Node::new("prologue_payload").bytes(attempt.payload()),
            ])
            .children(proof.map(|proof| Node::new("pairing_handoff_proof").bytes(proof)));
        // The phone may continue before the response arrives.
        let until = turn.steady.plus(CONTINUATION);
        self.stage = Stage::Phone { attempt, proven: proof.is_some(), until, view: view.clone() };
        Ok(Some((PasskeyRequest::Prologue, "set", prologue)))
    }

    /// `crsc_continuation`: the phone continues, with its own key. `None` when no assertion waits for it.
    pub(super) fn continuation(
        &mut self,
        turn: &mut Turn<'_>,
        phone: PhoneIdentity,
    ) -> Result<Option<Continued>, WireError> {
        let (attempt, proven, view) = match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Phone { attempt, proven, view, .. } => (attempt, proven, view),
            other => {
                self.stage = other;
                return Ok(None);
            }
        };
        let (nonce, code) = (*attempt.nonce(), attempt.code(&phone).to_string());
        let nonce = (PasskeyRequest::Nonce, "set", Node::new("companion_nonce").bytes(nonce));
        let pairing = if proven {
            Some(self.encrypt_request(turn, &attempt, &phone)?)
        } else {
            self.stage = Stage::Comparison { attempt, phone, view: PasskeyView { code: Some(code), ..view } };
            None
        };
        Ok(Some(Continued { nonce, pairing }))
    }

    /// The person confirms that the codes are equal. Ignored before they can be compared.
    pub(super) fn confirm(&mut self, turn: &mut Turn<'_>) -> Result<Result<EncryptedRequest, OtherStep>, WireError> {
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Comparison { attempt, phone, .. } => Ok(Ok(self.encrypt_request(turn, &attempt, &phone)?)),
            other => {
                self.stage = other;
                Ok(Err(OtherStep))
            }
        }
    }

    fn encrypt_request(
        &mut self,
        turn: &mut Turn<'_>,
        attempt: &Attempt,
        phone: &PhoneIdentity,
    ) -> Result<EncryptedRequest, WireError> {
        let adv_secret = Secret::generate(&mut turn.ctx.rng);
        let mut iv = [0; 12];
        turn.ctx.rng.fill_bytes(&mut iv);
        let (noise, identity) = (turn.ctx.device.noise.public(), turn.ctx.device.local.identity.public());
        let bytes = attempt.seal(phone, noise, &identity, &adv_secret, iv)?;
        let request = (PasskeyRequest::Request, "set", Node::new("encrypted_pairing_request").bytes(bytes));
        Ok(EncryptedRequest { adv_secret, request })
    }
}

/// Validates the options, which are passed on unchanged: a JSON object of a bounded size.
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
