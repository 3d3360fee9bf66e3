//! From `<success>` to online, and the prekeys that the service holds (`wire-protocol.md` 1.7, 1.10).

use crate::account::Children;
use crate::account::children::prekeys::Rotation;
use crate::account::error::AccountError;
use crate::account::linking::result_of;
use crate::account::router::{Router, Turn};
use crate::account::turn::requests::Purpose;
use crate::account::view::AccountState;
use crate::signal::SignedPreKeyId;
use crate::signal::limits::PREKEY_MINIMUM;
use crate::wire::prekeys::skey_node;
use crate::wire::{Jid, Node};
use std::time::Duration;

/// After a refused rotation (`wire-protocol.md` 1.10).
const ROTATION_BACKOFF: Duration = Duration::from_secs(24 * 60 * 60);

/// A refusal that is not for good: of the service's own trouble, or for too many questions.
const fn may_pass(code: u64) -> bool {
    code >= 500 || code == 429
}

impl Router {
    pub(in crate::account) async fn on_iq<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        iq: &Node,
    ) -> Result<(), AccountError> {
        let id = iq.text("id").unwrap_or_default();
        match iq.text("type").as_deref() {
            Some("set") if iq.find("pair-device").is_some() => self.on_pair_device(turn, iq)?,
            Some("set") if iq.find("pair-success").is_some() => self.on_pair_success(turn, iq).await?,
            Some("get") => self.write(turn, result_of(iq)),
            Some("result") => {
                if let Some(purpose) = self.pending.answered(&id) {
                    match self.answered(turn, purpose.clone(), iq).await {
                        // What waits for the answer must not wait for ever.
                        Err(AccountError::Wire(error)) => {
                            tracing::warn!(account = %self.id, ?purpose, %error, "an answer makes no sense");
                            self.unanswered(turn, purpose)?;
                        }
                        other => other?,
                    }
                }
            }
            Some("error") => {
                if let Some(purpose) = self.pending.answered(&id) {
                    let code = iq.find("error").and_then(|error| error.number("code")).unwrap_or(0);
                    tracing::warn!(account = %self.id, ?purpose, code, "the service refused a question");
                    self.refused(turn, purpose, code).await?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    async fn answered<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        purpose: Purpose,
        iq: &Node,
    ) -> Result<(), AccountError> {
        match purpose {
            Purpose::Usync { seq } => self.on_usync(turn, seq, iq).await,
            Purpose::Bundles { seq, devices } => self.on_bundles(turn, seq, devices, iq).await,
            Purpose::Group { seq, group } => self.on_group(turn, seq, &group, iq).await,
            Purpose::Refresh(_) => self.on_refresh(turn, iq).await,
            Purpose::Resend(resend) => self.on_resend_bundle(turn, resend, iq).await,
            Purpose::PreKeyCount => {
                let left = iq.find("count").and_then(|count| count.number("value")).unwrap_or(0);
                if left <= u64::from(PREKEY_MINIMUM) || self.uploads.wanted {
                    self.upload_prekeys(turn).await
                } else {
                    self.view.prekeys_due = false;
                    self.activate(turn);
                    Ok(())
                }
            }
            Purpose::Digest => self.replace_prekeys(turn, Some(iq.require_child("digest")?)).await,
            Purpose::DigestCheck => self.on_digest(turn, iq).await,
            Purpose::GiveToken { contact, at } => self.token_given(turn, &contact, at),
            Purpose::CodeHello(request) => self.code_taken(turn, &request, iq),
            Purpose::CodeFinish => Ok(()),
            Purpose::Passkey(question) => self.on_passkey_answer(turn, question, iq),
            Purpose::PreKeyUpload(offer) => self.uploaded(turn, offer).await,
            Purpose::Rotate(signed) => self.signed_prekey_taken(turn, signed).await,
            Purpose::Logout(token) => {
                self.logged_out(turn, token);
                Ok(())
            }
            Purpose::Active => {
                self.come_online();
                self.check_prekeys(turn);
                self.ask_for_unknown(turn);
                self.rotate_signed_prekey(turn).await
            }
            Purpose::Ping => self.rotate_signed_prekey(turn).await,
        }
    }

    pub(in crate::account) async fn signed_prekey_taken<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        id: SignedPreKeyId,
    ) -> Result<(), AccountError> {
        let now = turn.now;
        let writes = turn.children.prekeys(move |keys| keys.confirm_signed(id, now)).await??;
        turn.absorb(writes);
        Ok(())
    }

    /// Replaces the signed prekey when it is old: looked at with every login, and with the pings of a connection that lasts.
    async fn rotate_signed_prekey<C: Children>(&mut self, turn: &mut Turn<'_, C>) -> Result<(), AccountError> {
        if !self.connection.is_logged_in()
            || turn.now < self.rotate_after
            || self.pending.is_waiting(|purpose| matches!(purpose, Purpose::Rotate(_)))
        {
            return Ok(());
        }
        let (identity, now) = (self.device.local.identity.clone(), turn.now);
        match turn.children.prekeys(move |keys| keys.rotate_signed(&identity, now)).await?? {
            Rotation::NotBefore(due) => self.rotate_after = due,
            Rotation::Upload(signed, writes) => {
                turn.absorb(writes);
                let skey = skey_node(signed.id, signed.pair.public(), &signed.signature);
                let rotate = self.ask(turn, Purpose::Rotate(signed.id), "encrypt", "set");
                self.write(turn, rotate.child(Node::new("rotate").child(skey)));
            }
        }
        Ok(())
    }

    /// A refusal with a code.
    async fn refused<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        purpose: Purpose,
        code: u64,
    ) -> Result<(), AccountError> {
        match purpose {
            Purpose::PreKeyUpload(offer) => self.upload_refused(turn, offer).await,
            Purpose::DigestCheck => self.digest_refused(turn, code).await,
            Purpose::Group { seq, .. } if !may_pass(code) => self.group_refused(turn, seq),
            Purpose::Resend(resend) if !may_pass(code) => {
                self.resend_refused(turn, &resend);
                Ok(())
            }
            Purpose::CodeHello(request) => {
                self.code_refused(turn, &request, code);
                Ok(())
            }
            Purpose::Passkey(question) => {
                self.passkey_refused(turn, question, code);
                Ok(())
            }
            other => self.unanswered(turn, other),
        }
    }

    /// No answer, or a refusal.
    pub(in crate::account) fn unanswered<C>(
        &mut self,
        turn: &mut Turn<'_, C>,
        purpose: Purpose,
    ) -> Result<(), AccountError> {
        match purpose {
            Purpose::Usync { seq } | Purpose::Bundles { seq, .. } | Purpose::Group { seq, .. } => {
                self.retry_later(turn, seq)
            }
            // The request is not acknowledged, and comes again with the next login; the user's next message asks again.
            Purpose::Resend(_) | Purpose::Refresh(_) => Ok(()),
            // A login that the service does not finish is still a login: messages flow.
            Purpose::Active => {
                self.come_online();
                Ok(())
            }
            Purpose::PreKeyUpload(_) => {
                self.upload_failed(turn);
                Ok(())
            }
            Purpose::CodeHello(request) => {
                self.code_refused(turn, &request, 0);
                Ok(())
            }
            Purpose::CodeFinish => {
                self.finish_refused(turn);
                Ok(())
            }
            Purpose::Passkey(_) => {
                self.passkey_unanswered(turn);
                Ok(())
            }
            // Given with the next message.
            Purpose::DigestCheck | Purpose::GiveToken { .. } => Ok(()),
            // Asked again at the next login.
            Purpose::PreKeyCount | Purpose::Digest => {
                self.activate(turn);
                Ok(())
            }
            Purpose::Logout(token) => {
                self.logged_out(turn, token);
                Ok(())
            }
            Purpose::Rotate(_) => {
                self.rotate_after = turn.now.plus(ROTATION_BACKOFF);
                Ok(())
            }
            Purpose::Ping => Ok(()),
        }
    }

    pub(in crate::account) async fn on_success<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        node: &Node,
    ) -> Result<(), AccountError> {
        self.device.login_counter = self.device.login_counter.saturating_add(1);
        if let (Some(link), Some(lid)) = (&mut self.device.link, node.jid("lid")) {
            let pn = link.jid.clone();
            link.lid = Some(lid.clone());
            self.learn_mapping(turn, pn, lid).await?;
        }
        turn.absorb(self.device.to_writes());
        self.show_link();
        self.check_own_phone()?;

        if !self.ask_listed_prekeys(turn) {
            let count = self.ask(turn, Purpose::PreKeyCount, "encrypt", "get").child(Node::new("count"));
            self.write(turn, count);
        }
        let name = self.device.link.as_ref().map(|link| link.push_name.clone()).unwrap_or_default();
        if !name.is_empty() {
            self.write(turn, Node::new("presence").attr("type", "available").attr("name", name));
        }
        Ok(())
    }

    /// The login is finished. Who was deaf stays so until something is heard.
    fn come_online(&mut self) {
        self.connection.logged_in();
        if !self.deaf {
            self.view.state = AccountState::Online;
            self.view.reason = None;
        }
    }

    /// The last step of a login, once the service has prekeys to give to those who write to us.
    pub(in crate::account) fn activate<C>(&mut self, turn: &mut Turn<'_, C>) {
        if self.connection.is_logged_in() || self.pending.is_waiting(|purpose| *purpose == Purpose::Active) {
            return;
        }
        let active = self.ask(turn, Purpose::Active, "passive", "set").child(Node::new("active"));
        self.write(turn, active);
    }

    /// An `<iq>` to the service whose answer will be taken up.
    pub(in crate::account) fn ask<C>(
        &mut self,
        turn: &Turn<'_, C>,
        purpose: Purpose,
        xmlns: &'static str,
        kind: &'static str,
    ) -> Node {
        let id = self.pending.ask(purpose, turn.steady);
        Node::new("iq").attr("id", id).attr("xmlns", xmlns).attr("type", kind).attr("to", Jid::service())
    }

    /// `<ib>`: what the service tells about the stream itself.
    pub(in crate::account) fn on_ib<C>(&mut self, turn: &mut Turn<'_, C>, node: &Node) -> Result<(), AccountError> {
        if node.find("offline").is_some() {
            self.drained(turn);
            self.check_prekeys(turn);
            self.ask_for_unknown(turn);
        }
        if node.find("offline_preview").is_some() {
            self.begin_drain(turn);
        }
        if let Some(info) = node.find("edge_routing").and_then(|edge| edge.find("routing_info")) {
            let info = info.content_bytes().to_vec();
            if self.device.routing_info.as_ref() != Some(&info) {
                self.device.routing_info = Some(info);
                turn.absorb(self.device.to_writes());
            }
        }
        Ok(())
    }
}
