//! Linking by an eight-character code that a person types into the phone (`wire-protocol.md` 1.6).

use crate::account::turn::Turn;
use crate::account::view::LinkCode;
use crate::base::secret::Secret;
use crate::base::time::Monotonic;
use crate::signal::{IdentityKey, KeyPair, PublicKey};
use crate::wire::pair_code::{PairCode, seal_bundle};
use crate::wire::{Jid, Node, WireError};
use std::time::Duration;

const VALID: Duration = Duration::from_secs(180);
/// Typing attempts for one code.
const MAX_HELLOS: u32 = 3;
/// The browser that phones show while the code is typed; they accept real ones only.
const PLATFORM_ID: &str = "1";
const PLATFORM: &str = "Chrome (Linux)";

/// A valid pairing code.
#[derive(Debug)]
pub(super) struct CodeLinking {
    pub(super) phone: Jid,
    code: PairCode,
    ephemeral: KeyPair,
    /// Known once the service has accepted the request.
    reference: Option<Vec<u8>>,
    until: Monotonic,
    hellos: u32,
    /// Shown once the service has accepted the request.
    pub(super) shown: Option<LinkCode>,
}

/// Outcome of the phone's hello.
pub(super) enum Hello {
    Ignored,
    /// A wrong code was typed too often.
    Wrong,
    /// The proof that our code was typed, and the secret that the phone will sign with.
    Finish {
        adv_secret: Secret<32>,
        finish: Node,
    },
}

impl CodeLinking {
    /// Makes a code for this phone. Returns the hello for the service.
    pub(super) fn begin(turn: &mut Turn<'_>, phone: Jid) -> (Self, Node) {
        let rng = &mut turn.ctx.rng;
        let (code, ephemeral) = (PairCode::generate(rng), KeyPair::generate(rng));
        let wrapped = code.wrap(ephemeral.public(), rng);
        let hello = Node::new("link_code_companion_reg")
            .attr("jid", &phone)
            .attr("stage", "companion_hello")
            .attr("should_show_push_notification", "true")
            .children([
                Node::new("link_code_pairing_wrapped_companion_ephemeral_pub").bytes(wrapped),
                Node::new("companion_server_auth_key_pub").bytes(*turn.ctx.device.noise.public().as_bytes()),
                Node::new("companion_platform_id").bytes(PLATFORM_ID.as_bytes()),
                Node::new("companion_platform_display").bytes(PLATFORM.as_bytes()),
                Node::new("link_code_pairing_nonce").bytes([0]),
            ]);
        let until = turn.steady.plus(VALID);
        (Self { phone, code, ephemeral, reference: None, until, hellos: 0, shown: None }, hello)
    }

    pub(super) fn deadline(&self) -> Monotonic {
        self.until
    }

    /// The service accepted the request: the code can be typed.
    pub(super) fn accepted(&mut self, turn: &Turn<'_>, reference: Vec<u8>) -> LinkCode {
        self.reference = Some(reference);
        let shown = LinkCode { text: self.code.to_string(), expires_at: turn.now.plus(VALID) };
        self.shown = Some(shown.clone());
        shown
    }

    pub(super) fn may_be_typed_again(&self) -> bool {
        self.hellos < MAX_HELLOS
    }

    /// `primary_hello`: the person has typed a code.
    pub(super) fn primary_hello(&mut self, turn: &mut Turn<'_>, step: &Node) -> Result<Hello, WireError> {
        // A phone that requires a passkey may send its hello without a key.
        let Some(wrapped) = step.find("link_code_pairing_wrapped_primary_ephemeral_pub") else {
            return Ok(Hello::Ignored);
        };
        let reference = step.require_child("link_code_pairing_ref")?.content_bytes();
        if self.reference.as_deref() != Some(reference) {
            return Err(WireError::Malformed { what: "linking reference" });
        }
        let wrapped = wrapped.array("wrapped ephemeral key")?;
        let identity = step.require_child("primary_identity_pub")?.content_bytes();
        let phone =
            PublicKey::parse(identity, "identity key").map_err(|_| WireError::Malformed { what: "identity key" })?;
        self.hellos += 1;
        if self.hellos > MAX_HELLOS {
            return Ok(Hello::Wrong);
        }
        let theirs = self.code.unwrap(&wrapped);
        let ours = &turn.ctx.device.local.identity;
        let (bundle, adv_secret) = seal_bundle(&self.ephemeral, ours, &theirs, &IdentityKey(phone), &mut turn.ctx.rng)?;
        let finish =
            Node::new("link_code_companion_reg").attr("jid", &self.phone).attr("stage", "companion_finish").children([
                Node::new("link_code_pairing_wrapped_key_bundle").bytes(bundle),
                Node::new("companion_identity_public").bytes(*ours.public().0.as_bytes()),
                Node::new("link_code_pairing_ref").bytes(reference),
            ]);
        Ok(Hello::Finish { adv_secret, finish })
    }
}
