//! Opening what comes in: in the sender's session, with a sender key, or both (`wire-protocol.md` 1.13); and asking for it again.

use crate::account::children::session_cipher::{Opening, Sealed};
use crate::account::error::AccountError;
use crate::account::messages::inbound::Envelope;
use crate::account::router::{Router, Turn};
use crate::account::{Children, Incident};
use crate::signal::keys::KEY_TYPE;
use crate::signal::{PreKeySignalMessage, SenderKeyMessage, SignalError, SignalMessage};
use crate::wire::message::{CarriedSenderKey, Decoded, decode};
use crate::wire::prekeys::{key_node, skey_node};
use crate::wire::{Jid, Node, WireError, adv};

/// Why a message cannot be read.
pub(in crate::account) enum Unreadable {
    Signal(SignalError),
    Wire(WireError),
    NoCiphertext,
    /// The sender key of a device that its user's list lacks.
    UnknownDevice,
}

impl Unreadable {
    pub(in crate::account) fn reason(&self) -> String {
        match self {
            Self::Signal(error) => error.to_string(),
            Self::Wire(error) => error.to_string(),
            Self::UnknownDevice => "its sender's device and that device's key are not known yet".to_owned(),
            Self::NoCiphertext => "it holds no ciphertext for this device that is understood".to_owned(),
        }
    }

    /// Whether its sender has to begin a new session.
    fn needs_keys(&self) -> bool {
        use SignalError::{NoSession, UnknownPreKey, UnknownSignedPreKey};
        matches!(self, Self::Signal(NoSession | UnknownPreKey { .. } | UnknownSignedPreKey { .. }))
    }

    /// The reason codes of retry receipts (`wire-protocol.md` 1.14).
    fn retry_code(&self) -> u64 {
        match self {
            Self::Signal(SignalError::NoSession | SignalError::UnknownSenderKey { .. }) => 1,
            Self::Signal(SignalError::InvalidKey { .. }) => 2,
            Self::Signal(SignalError::UnknownPreKey { .. } | SignalError::UnknownSignedPreKey { .. }) => 3,
            Self::Signal(SignalError::TooFarInFuture { .. }) => 6,
            Self::Signal(SignalError::BadMac { .. }) => 7,
            Self::Signal(_) | Self::Wire(_) => 4,
            Self::UnknownDevice => 11,
            Self::NoCiphertext => 0,
        }
    }
}

impl Router {
    /// Opens a message. What is for this device alone comes first: it may bring the key for what is for all.
    pub(in crate::account) async fn open<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        node: &Node,
        envelope: &Envelope,
    ) -> Result<Result<Decoded, Unreadable>, AccountError> {
        let mut opened = Err(Unreadable::NoCiphertext);
        if let Some(sealed) = node.all("enc").find_map(parse_enc) {
            opened = self.open_pairwise(turn, node, envelope, sealed).await?;
            let lost =
                matches!(opened, Err(Unreadable::Signal(SignalError::NoSession | SignalError::UnknownPreKey { .. })));
            // The session may still be where it was before the sender's LID was known.
            if lost
                && self.migrate_session(turn, &envelope.from).await?
                && let Some(sealed) = node.all("enc").find_map(parse_enc)
            {
                opened = self.open_pairwise(turn, node, envelope, sealed).await?;
            }
            match &opened {
                Ok(decoded) => {
                    if let Some(key) = decoded.sender_key.clone() {
                        self.take_sender_key(turn, envelope, key).await?;
                    }
                }
                // The key came with an earlier copy.
                Err(Unreadable::Signal(SignalError::Duplicate { .. })) => {}
                Err(_) => return Ok(opened),
            }
        }
        match node.all("enc").find(|enc| enc.is("type", "skmsg")) {
            Some(shared) if envelope.is_shared() => self.open_shared(turn, envelope, shared).await,
            _ => Ok(opened),
        }
    }

    async fn open_shared<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        envelope: &Envelope,
        shared: &Node,
    ) -> Result<Result<Decoded, Unreadable>, AccountError> {
        let message = match SenderKeyMessage::parse(shared.content_bytes()) {
            Ok(message) => message,
            Err(error) => return Ok(Err(Unreadable::Signal(error))),
        };
        let author = envelope.from.clone();
        let author = turn.children.devices(move |devices| devices.canonical(&author)).await??;
        let name = author.sender_key_name(&envelope.chat);
        let limit = if envelope.own { self.settings.jump_limit_own } else { self.settings.jump_limit };
        let opened = turn.children.sender_keys(move |keys| keys.open(&name, &message, limit)).await??;
        let (plaintext, writes) = match opened {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(Unreadable::Signal(error))),
        };
        turn.absorb(writes);
        Ok(decode(&plaintext).map_err(Unreadable::Wire))
    }

    /// Files a member's key. One that makes no sense is reported by the messages that it was for.
    async fn take_sender_key<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        envelope: &Envelope,
        key: CarriedSenderKey,
    ) -> Result<(), AccountError> {
        let Ok(group) = Jid::parse(&key.group) else { return Ok(()) };
        let author = envelope.from.clone();
        let author = turn.children.devices(move |devices| devices.canonical(&author)).await??;
        let name = author.sender_key_name(&group);
        let taken = turn.children.sender_keys(move |keys| keys.take(&name, &key.distribution)).await??;
        match taken {
            Ok(writes) => turn.absorb(writes),
            Err(error) => {
                tracing::warn!(account = %self.id, from = %author.redacted(), %error, "a sender key is refused")
            }
        }
        Ok(())
    }

    /// Decrypts, and gathers what that changed.
    async fn open_pairwise<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        node: &Node,
        envelope: &Envelope,
        sealed: Result<Sealed, SignalError>,
    ) -> Result<Result<Decoded, Unreadable>, AccountError> {
        let sealed = match sealed {
            Ok(sealed) => sealed,
            Err(error) => return Ok(Err(Unreadable::Signal(error))),
        };
        let from = envelope.from.clone();
        let device = turn.children.devices(move |devices| devices.canonical(&from)).await??;
        if let Err(error) = self.check_device_identity(turn, node, &device, &sealed).await? {
            return Ok(Err(Unreadable::Wire(error)));
        }
        let address = device.protocol_address();
        let needed = match &sealed {
            Sealed::PreKey(message) => Some((message.signed_pre_key_id, message.pre_key_id)),
            Sealed::Signal(_) => None,
        };
        let at = address.clone();
        let (sealed, needs) =
            turn.children.sessions(move |sessions| sessions.needs_prekeys(&at, &sealed).map(|n| (sealed, n))).await??;
        let prekeys = match needed.filter(|_| needs) {
            None => None,
            Some((signed, one_time)) => {
                match turn.children.prekeys(move |keys| keys.lookup(signed, one_time)).await?? {
                    Ok(found) => Some(found),
                    Err(error) => return Ok(Err(Unreadable::Signal(error))),
                }
            }
        };
        let limit = if envelope.own { self.settings.jump_limit_own } else { self.settings.jump_limit };
        let now = turn.now;
        let (opened, tried) = turn
            .children
            .sessions(move |sessions| {
                let opened = sessions.open(&address, &sealed, &Opening { prekeys, limit, now })?;
                let failed = opened.as_ref().is_err_and(|error| !matches!(error, SignalError::Duplicate { .. }));
                let tried = if failed { Some(sessions.explain(&address, &sealed)?) } else { None };
                Ok::<_, AccountError>((opened, tried))
            })
            .await??;
        if let Some(tried) = tried {
            tracing::warn!(account = %self.id, tried, "no state of the session fits a message");
        }
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(Unreadable::Signal(error))),
        };
        turn.absorb(opened.writes);
        if let Some(id) = opened.used_prekey {
            let writes = turn.children.prekeys(move |keys| keys.consume(id)).await??;
            turn.absorb(writes);
        }
        if opened.identity_changed {
            self.identity_changed(turn, &envelope.from).await?;
        }
        Ok(decode(&opened.plaintext).map_err(Unreadable::Wire))
    }

    /// A companion's first message must bear its phone's signature, by the identity that we know the phone by.
    async fn check_device_identity<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        node: &Node,
        device: &Jid,
        sealed: &Sealed,
    ) -> Result<Result<(), WireError>, AccountError> {
        let (Sealed::PreKey(message), Some(blob)) = (sealed, node.find("device-identity")) else {
            return Ok(Ok(()));
        };
        if device.device() == 0 {
            return Ok(Ok(()));
        }
        let phone = device.bare().protocol_address();
        let known = turn.children.sessions(move |sessions| sessions.identity(&phone)).await??;
        let verified = adv::verify_companion(blob.content_bytes(), &message.identity_key, known.as_ref());
        Ok(verified.map(|_| ()))
    }

    /// Asks the sender to encrypt the message anew; from the second time on with keys for a new session.
    pub(in crate::account) async fn ask_again<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        node: &Node,
        envelope: &Envelope,
        why: &Unreadable,
        count: u8,
    ) -> Result<(), AccountError> {
        let t = node.text("t").unwrap_or_default().into_owned();
        let retry = Node::new("retry")
            .attr("v", "1")
            .attr("count", u64::from(count))
            .attr("id", envelope.id.as_str().to_owned())
            .attr("t", t)
            .attr("error", why.retry_code());
        turn.count(Incident::RetryAsked);
        // A session that is lost cannot be repaired without them.
        let keys = if count > 1 || why.needs_keys() { Some(self.keys_for_retry(turn).await?) } else { None };
        let receipt = Node::new("receipt")
            .attr("id", envelope.id.as_str().to_owned())
            .attr("to", node.get("from").cloned().unwrap_or(Jid::service().into()))
            .attr("type", "retry")
            .maybe("participant", node.get("participant").cloned())
            .maybe("recipient", node.get("recipient").cloned())
            .child(retry)
            .child(Node::new("registration").bytes(self.device.local.registration_id.to_be_bytes()))
            .children(keys);
        self.write(turn, receipt);
        Ok(())
    }

    /// A bundle of our own, with a prekey that nobody else is given.
    async fn keys_for_retry<C: Children>(&mut self, turn: &mut Turn<'_, C>) -> Result<Node, AccountError> {
        let signed = turn.children.prekeys(|keys| keys.current_signed()).await??;
        let (fresh, writes) = turn.children.prekeys(|keys| keys.generate(1)).await??;
        turn.absorb(writes);
        let link = self.device.link.as_ref();
        let identity = link.map(|link| Node::new("device-identity").bytes(link.device_identity.clone()));
        let mut keys = vec![
            Node::new("type").bytes([KEY_TYPE]),
            Node::new("identity").bytes(*self.device.local.identity.public().0.as_bytes()),
        ];
        keys.extend(fresh.first().map(|(id, public)| key_node(*id, public)));
        keys.push(skey_node(signed.id, signed.pair.public(), &signed.signature));
        Ok(Node::new("keys").children(keys).children(identity))
    }
}

fn parse_enc(enc: &Node) -> Option<Result<Sealed, SignalError>> {
    let bytes = enc.content_bytes();
    match enc.text("type").as_deref() {
        Some("msg") => Some(SignalMessage::parse(bytes).map(Sealed::Signal)),
        Some("pkmsg") => Some(PreKeySignalMessage::parse(bytes).map(|message| Sealed::PreKey(Box::new(message)))),
        _ => None,
    }
}
