//! Our prekeys at the service: uploaded when few are left, verified after each login, the signed one rotated
//! (`signal-protocol.txt`, "PreKey Management"; `wire-protocol.md` 1.10).
//!
//! One upload at a time. A refused batch is requeued and retried unchanged with back-off; one without a response is abandoned, since
//! the service may have accepted it: no id is ever uploaded with two keys.

mod digest;

use crate::account::children::prekeys::Rotation;
use crate::account::error::{AccountError, Refusal};
use crate::account::turn::Turn;
use crate::account::turn::context::Context;
use crate::account::turn::counter::Counter;
use crate::account::turn::feature::{Ack, Feature, Route};
use crate::account::turn::notice::Notice;
use crate::account::turn::reply::ReplyTo;
use crate::account::turn::requests::{Requests, Response, iq};
use crate::account::view::AccountView;
use crate::base::backoff::fibonacci;
use crate::base::time::{Monotonic, Timestamp};
use crate::signal::keys::KEY_TYPE;
use crate::signal::limits::PREKEY_MINIMUM;
use crate::signal::{PreKeyId, PublicKey, SignedPreKeyId, SignedPreKeyPair};
use crate::wire::Node;
use crate::wire::prekeys::{key_node, read_digest_ids, read_skey, skey_node};
use std::time::Duration;

const MAX_BACKOFF: Duration = Duration::from_secs(610);
/// Wait after a refused rotation (`wire-protocol.md` 1.10).
const ROTATION_BACKOFF: Duration = Duration::from_secs(24 * 60 * 60);

/// The account is not linked to a phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the account is not linked to a phone; start it and scan its QR code")]
pub struct NotLinked;

impl Refusal for NotLinked {
    fn problem(&self) -> (u16, &'static str) {
        (409, "not_linked")
    }
}

#[derive(Debug)]
pub enum Command {
    /// Uploads a fresh batch: now, or after the next login.
    Refresh { reply: ReplyTo<(), NotLinked> },
}

/// A batch on its way to the service: `count` ids from `first` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::account) struct UploadedBatch {
    signed: SignedPreKeyId,
    first: PreKeyId,
    count: u32,
}

#[derive(Debug)]
pub(in crate::account) enum Request {
    /// The number of our prekeys left at the service.
    Count,
    Upload(UploadedBatch),
    /// A new signed prekey.
    Rotate(SignedPreKeyId),
    /// The prekeys that the service lists, to replace them all.
    Listed,
    /// The digest of our keys, to verify it.
    Digest,
}

#[derive(Debug, Default)]
pub(in crate::account) struct PreKeyUploads {
    requests: Requests<Request>,
    failed: u32,
    retry_at: Option<Monotonic>,
    /// A fresh batch was requested by command.
    wanted: bool,
    /// The service runs out of our prekeys and has not accepted new ones yet.
    due: bool,
    /// The digest was requested since the login.
    verified: bool,
    backlog_ended: bool,
    /// All prekeys are from a backup and must be replaced.
    replace: bool,
    /// The signed prekey is not due for rotation before.
    rotate_after: Timestamp,
}

impl Feature for PreKeyUploads {
    type Command = Command;
    type Request = Request;
    const ROUTES: &'static [Route] =
        &[Route::child("notification", "encrypt", "count"), Route::child("notification", "encrypt", "digest")];

    fn load(_: &Context) -> Result<Self, AccountError> {
        Ok(Self::default())
    }

    fn requests(&mut self) -> &mut Requests<Request> {
        &mut self.requests
    }

    async fn command(&mut self, turn: &mut Turn<'_>, command: Command) -> Result<(), AccountError> {
        let Command::Refresh { reply } = command;
        if turn.own().is_none() {
            turn.reply(&reply, Err(NotLinked));
            return Ok(());
        }
        self.wanted = true;
        if turn.is_online() {
            self.upload(turn).await?;
        }
        turn.reply(&reply, Ok(()));
        Ok(())
    }

    async fn response(
        &mut self,
        turn: &mut Turn<'_>,
        request: &Request,
        response: Response<'_>,
    ) -> Result<(), AccountError> {
        match (request, response) {
            (Request::Count, Response::Result(iq)) => {
                let left = iq.find("count").and_then(|count| count.number("value")).unwrap_or(0);
                if left <= u64::from(PREKEY_MINIMUM) || self.wanted {
                    self.upload(turn).await?;
                } else {
                    self.due = false;
                    turn.announce(Notice::PreKeysReady);
                }
            }
            (Request::Listed, Response::Result(iq)) => self.replace_all(turn, iq.require_child("digest")?).await?,
            // Verified with the next login.
            (Request::Count | Request::Listed, _) => turn.announce(Notice::PreKeysReady),
            (Request::Upload(batch), Response::Result(_)) => self.uploaded(turn, *batch).await?,
            (Request::Upload(batch), Response::Refused(_)) => {
                let UploadedBatch { first, count, .. } = *batch;
                turn.prekeys(move |keys| keys.requeue_batch(first, count)).await?;
                self.upload_failed(turn);
            }
            (Request::Upload(_), Response::Missing) => self.upload_failed(turn),
            (Request::Rotate(signed), Response::Result(_)) => confirm_signed(turn, *signed).await?,
            (Request::Rotate(_), _) => self.rotate_after = turn.now.plus(ROTATION_BACKOFF),
            (Request::Digest, Response::Result(iq)) => verify_digest(turn, iq).await?,
            // The service holds no prekeys of ours.
            (Request::Digest, Response::Refused(404)) => self.upload(turn).await?,
            (Request::Digest, _) => {}
        }
        Ok(())
    }

    async fn stanza(&mut self, turn: &mut Turn<'_>, node: &Node) -> Result<Ack, AccountError> {
        if node.find("count").is_some() {
            self.upload(turn).await?;
        } else {
            self.ask_for_digest(turn);
        }
        Ok(Ack::Now)
    }

    async fn notice(&mut self, turn: &mut Turn<'_>, notice: &Notice) -> Result<(), AccountError> {
        match notice {
            Notice::Restored { .. } => self.replace = true,
            Notice::LoggedIn { .. } if self.replace => {
                self.requests.send(turn, Request::Listed, iq("encrypt", "get").child(Node::new("digest")));
            }
            Notice::LoggedIn { .. } => {
                self.requests.send(turn, Request::Count, iq("encrypt", "get").child(Node::new("count")));
            }
            Notice::Online => {
                self.verify_once(turn);
                self.rotate_signed(turn).await?;
            }
            Notice::Pong => self.rotate_signed(turn).await?,
            Notice::BacklogEnded => {
                self.backlog_ended = true;
                self.verify_once(turn);
            }
            Notice::Disconnected => {
                self.requests.drain();
                // The next login counts and uploads again.
                (self.retry_at, self.verified, self.backlog_ended) = (None, false, false);
            }
            _ => {}
        }
        Ok(())
    }

    async fn tick(&mut self, turn: &mut Turn<'_>) -> Result<(), AccountError> {
        if self.retry_at.is_some_and(|at| at <= turn.steady) {
            self.upload(turn).await?;
        }
        Ok(())
    }

    fn deadline(&self, _: &Context) -> Option<Monotonic> {
        self.retry_at
    }

    fn show(&self, ctx: &Context, view: &mut AccountView) {
        view.prekeys_due = self.due && ctx.own().is_some();
    }
}

impl PreKeyUploads {
    /// Uploads a batch once its commit is durable.
    async fn upload(&mut self, turn: &mut Turn<'_>) -> Result<(), AccountError> {
        self.retry_at = None;
        if self.requests.any(|request| matches!(request, Request::Upload(_))) {
            return Ok(());
        }
        self.wanted = false;
        self.due = true;
        let batch = turn.ctx.settings.prekey_batch;
        let (signed, keys) = turn.prekeys(move |keys| Ok((keys.current_signed()?, keys.batch(batch)?))).await?;
        self.write_upload(turn, &signed, &keys);
        Ok(())
    }

    /// After a restore: new prekeys, with ids above all that the service lists.
    async fn replace_all(&mut self, turn: &mut Turn<'_>, digest: &Node) -> Result<(), AccountError> {
        let listed = read_digest_ids(digest)?;
        let signed = digest.find("skey").map(read_skey).transpose()?.map(|(id, ..)| id);
        let (identity, count) = (turn.ctx.device.local.identity.clone(), turn.ctx.settings.prekey_batch);
        let (signed, keys) = turn.prekeys(move |keys| keys.replace(&listed, signed, &identity, count)).await?;
        self.write_upload(turn, &signed, &keys);
        Ok(())
    }

    fn write_upload(&mut self, turn: &mut Turn<'_>, signed: &SignedPreKeyPair, keys: &[(PreKeyId, PublicKey)]) {
        let local = &turn.ctx.device.local;
        let (registration_id, identity) = (local.registration_id, local.identity.public());
        let first = keys.first().map_or(PreKeyId::FIRST, |(id, _)| *id);
        let count = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        let upload = iq("encrypt", "set").children([
            Node::new("registration").bytes(registration_id.to_be_bytes()),
            Node::new("type").bytes([KEY_TYPE]),
            Node::new("identity").bytes(*identity.0.as_bytes()),
            Node::new("list").children(keys.iter().map(|(id, public)| key_node(*id, public))),
            skey_node(signed.id, signed.pair.public(), &signed.signature),
        ]);
        self.requests.send(turn, Request::Upload(UploadedBatch { signed: signed.id, first, count }), upload);
    }

    async fn uploaded(&mut self, turn: &mut Turn<'_>, batch: UploadedBatch) -> Result<(), AccountError> {
        self.failed = 0;
        self.due = false;
        confirm_signed(turn, batch.signed).await?;
        if std::mem::take(&mut self.replace) {
            turn.announce(Notice::PreKeysReplaced);
        }
        turn.announce(Notice::PreKeysReady);
        Ok(())
    }

    /// Schedules a retry with back-off. Without one-time prekeys peers use the signed one alone.
    fn upload_failed(&mut self, turn: &mut Turn<'_>) {
        turn.count(Counter::PreKeysRefused);
        self.failed = self.failed.saturating_add(1);
        let wait = fibonacci(self.failed, MAX_BACKOFF);
        tracing::warn!(account = %turn.ctx.id, seconds = wait.as_secs(), "prekey upload failed, retrying");
        self.retry_at = Some(turn.steady.plus(wait));
        turn.announce(Notice::PreKeysReady);
    }

    /// Requests the digest once for each login, after the login and the backlog.
    fn verify_once(&mut self, turn: &mut Turn<'_>) {
        if turn.is_online() && self.backlog_ended && !std::mem::replace(&mut self.verified, true) {
            self.ask_for_digest(turn);
        }
    }

    fn ask_for_digest(&mut self, turn: &mut Turn<'_>) {
        if !self.requests.any(|request| matches!(request, Request::Digest)) {
            self.requests.send(turn, Request::Digest, iq("encrypt", "get").child(Node::new("digest")));
        }
    }

    /// Rotates the signed prekey when it is due: checked after every login and with each ping.
    async fn rotate_signed(&mut self, turn: &mut Turn<'_>) -> Result<(), AccountError> {
        let is_asked = self.requests.any(|request| matches!(request, Request::Rotate(_)));
        if !turn.is_online() || turn.now < self.rotate_after || is_asked {
            return Ok(());
        }
        let (identity, now) = (turn.ctx.device.local.identity.clone(), turn.now);
        match turn.prekeys(move |keys| keys.rotate_signed(&identity, now)).await? {
            Rotation::NotBefore(due) => self.rotate_after = due,
            Rotation::Upload(signed) => {
                let skey = skey_node(signed.id, signed.pair.public(), &signed.signature);
                let rotate = iq("encrypt", "set").child(Node::new("rotate").child(skey));
                self.requests.send(turn, Request::Rotate(signed.id), rotate);
            }
        }
        Ok(())
    }
}

async fn confirm_signed(turn: &mut Turn<'_>, id: SignedPreKeyId) -> Result<(), AccountError> {
    let now = turn.now;
    turn.prekeys(move |keys| keys.confirm_signed(id, now)).await
}

/// Reports differences. Keys that are missing here are replaced as they are consumed.
async fn verify_digest(turn: &mut Turn<'_>, iq: &Node) -> Result<(), AccountError> {
    let digest = iq.require_child("digest")?;
    let hash = digest.require_child("hash")?.content_bytes().to_vec();
    let ids = read_digest_ids(digest)?;
    let known = hash.clone();
    let ours = turn
        .prekeys(move |keys| {
            if keys.is_checked(&known)? {
                return Ok(None);
            }
            let listed = ids.iter().map(|id| keys.public(*id)).collect::<Result<Vec<_>, _>>()?;
            Ok(Some((keys.current_signed()?, listed)))
        })
        .await?;
    let Some((signed, listed)) = ours else { return Ok(()) };
    let found = digest::compare(digest, &turn.ctx.device.local, &signed, &listed)?;
    if found.is_empty() {
        return turn.prekeys(move |keys| keys.checked(&hash)).await;
    }
    turn.count(Counter::PreKeysDiffer);
    tracing::warn!(account = %turn.ctx.id, ?found, "service holds other keys of ours");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_uploads_back_off_in_fibonacci_seconds_up_to_610() {
        let waits: Vec<u64> = (1..=6).map(|failed| fibonacci(failed, MAX_BACKOFF).as_secs()).collect();
        assert_eq!(waits, [1, 2, 3, 5, 8, 13]);
        assert_eq!(fibonacci(14, MAX_BACKOFF).as_secs(), 610);
        assert_eq!(fibonacci(1000, MAX_BACKOFF).as_secs(), 610);
    }
}
