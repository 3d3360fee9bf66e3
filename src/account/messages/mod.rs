//! Messages in both directions: receiving, sending, receipts, retry receipts and resends (`wire-protocol.md` 1.8, 1.11–1.14).

mod inbound;
mod outbound;
mod receipts;
mod recipients;
mod record;
mod requests;
mod resend;
mod resend_budget;
mod sent;
mod status;

pub use outbound::{BadReaders, SendError, SendRequest};
pub use record::{MessageRecord, MessageStatus, RecipientStatus, stored_message};

use crate::account::error::AccountError;
use crate::account::settings::Retention;
use crate::account::turn::Turn;
use crate::account::turn::context::Context;
use crate::account::turn::feature::{Ack, AgingKind, Feature, Route};
use crate::account::turn::notice::{Lookup, Notice};
use crate::account::turn::reply::ReplyTo;
use crate::account::turn::requests::{Requests, Response};
use crate::base::counts::Counts;
use crate::base::time::{Monotonic, Timestamp};
use crate::storage::kind;
use crate::wire::{Jid, Node};
use inbound::{Inbound, authors};
use outbound::ack_watch::AckWatch;
use outbound::queue::{Outbox, Stage, Wait};
use outbound::step::{LOGGED_OUT, NO_GROUP, RESTORED};
use outbound::{bundles, outcome};
use requests::Request;
use resend::{Resends, Tables};

#[derive(Debug)]
pub enum Command {
    Send {
        request: Box<SendRequest>,
        reply: ReplyTo<MessageRecord, SendError>,
    },
    /// Fails every queued message: the device is gone.
    FailQueue {
        reply: ReplyTo<()>,
    },
}

#[derive(Debug)]
pub(in crate::account) struct Messages {
    requests: Requests<Request>,
    outbox: Outbox,
    ack_watch: AckWatch,
    inbound: Inbound,
    resends: Resends,
}

impl Feature for Messages {
    type Command = Command;
    type Request = Request;
    const ROUTES: &'static [Route] = &[Route::tag("message"), Route::tag("receipt"), Route::tag("ack")];
    const EVENTS: &'static [&'static str] =
        &[inbound::RECEIVED, inbound::SENT, inbound::UNDECRYPTABLE, status::CHANGED];
    const AGING: &'static [AgingKind] = &[kind::MESSAGE.aging(), kind::SENT.aging(), kind::AUTHOR.aging()];

    fn load(ctx: &Context) -> Result<Self, AccountError> {
        Ok(Self {
            requests: Requests::default(),
            outbox: Outbox::load(&ctx.store)?,
            ack_watch: AckWatch::default(),
            inbound: Inbound::default(),
            resends: Resends::default(),
        })
    }

    fn requests(&mut self) -> &mut Requests<Request> {
        &mut self.requests
    }

    async fn command(&mut self, turn: &mut Turn<'_>, command: Command) -> Result<(), AccountError> {
        match command {
            Command::Send { request, reply } => {
                let chat = request.to.to_string();
                let accepted = outbound::accept(turn, &mut self.outbox, *request).await?;
                turn.reply_about(&reply, Some(&chat), accepted);
            }
            Command::FailQueue { reply } => {
                outcome::fail_all(turn, &mut self.outbox, LOGGED_OUT)?;
                turn.reply(&reply, Ok(()));
            }
        }
        Ok(())
    }

    async fn response(
        &mut self,
        turn: &mut Turn<'_>,
        request: &Request,
        response: Response<'_>,
    ) -> Result<(), AccountError> {
        match (request, response) {
            (Request::Bundles { seq, devices }, Response::Result(iq)) => {
                bundles::on_fetched(turn, &mut self.outbox, *seq, devices, iq).await
            }
            (Request::Bundles { seq, .. }, _) => outbound::unanswered(turn, &mut self.outbox, |at, entry| {
                at == *seq && matches!(entry.stage, Stage::Waiting(Wait::Bundles))
            }),
            (Request::Resend(resend), response) => resend::on_bundle(turn, &mut self.outbox, resend, response).await,
        }
    }

    async fn stanza(&mut self, turn: &mut Turn<'_>, node: &Node) -> Result<Ack, AccountError> {
        match node.tag.as_ref() {
            "message" => inbound::receive(turn, &mut self.inbound, node).await?,
            "receipt" if node.is("type", "retry") => {
                let mut tables = Tables { outbox: &mut self.outbox, requests: &mut self.requests };
                self.resends.on_retry(turn, &mut tables, node).await?;
            }
            "receipt" => {
                receipts::on_receipt(turn, node).await?;
                return Ok(Ack::Now);
            }
            _ if node.is("class", "message") => {
                self.ack_watch.acknowledged(turn.steady);
                outcome::on_ack(turn, &mut self.outbox, node).await?;
            }
            _ => {}
        }
        Ok(Ack::Own)
    }

    async fn notice(&mut self, turn: &mut Turn<'_>, notice: &Notice) -> Result<(), AccountError> {
        let outbox = &mut self.outbox;
        match notice {
            Notice::Resuming => set_lanes(turn, outbox).await?,
            Notice::Restored { first: true } => {
                tracing::warn!(account = %turn.ctx.id, queued = outbox.len(), "account restored from a backup");
                outcome::fail_all(turn, outbox, RESTORED)?;
            }
            Notice::Mapped { pn, lid } => outbox.merge_lanes(pn, lid),
            Notice::Devices { users, lookup: Lookup::Known } => outbound::devices_known(outbox, users),
            Notice::Devices { users, lookup: Lookup::Unanswered | Lookup::Refused } => {
                outbound::unanswered(turn, outbox, |_, entry| entry.stage.waits_for_any(users))?;
            }
            Notice::DeviceListForgotten => outbound::devices_forgotten(outbox),
            Notice::Group { group, lookup: Lookup::Known } => outbound::group_known(outbox, group),
            Notice::Group { group, lookup: Lookup::Refused } => {
                outbound::group_refused(turn, outbox, group, NO_GROUP)?;
            }
            Notice::Group { group, lookup: Lookup::Unanswered } => {
                outbound::unanswered(turn, outbox, |_, entry| entry.to == *group && entry.stage.waits_for_group())?
            }
            Notice::GroupChanged { group } => outbound::group_changed(outbox, group),
            Notice::BacklogBatch | Notice::BacklogEnded => self.inbound.receipts.flush(turn),
            Notice::Poison(node) if node.tag == "message" => inbound::skip_poison(turn, node)?,
            Notice::Disconnected => {
                self.requests.drain();
                self.inbound.receipts.disconnected();
                self.resends.disconnected();
                outbox.disconnected();
            }
            _ => {}
        }
        Ok(())
    }

    async fn tick(&mut self, turn: &mut Turn<'_>) -> Result<(), AccountError> {
        self.ack_watch.tick(turn, &mut self.outbox)
    }

    async fn settle(&mut self, turn: &mut Turn<'_>) -> Result<(), AccountError> {
        let mut tables = Tables { outbox: &mut self.outbox, requests: &mut self.requests };
        self.resends.settle(turn, &mut tables).await?;
        outbound::flush(turn, &mut self.outbox, &mut self.requests).await
    }

    fn deadline(&self, _: &Context) -> Option<Monotonic> {
        AckWatch::deadline(&self.outbox)
    }

    fn expires(&self, kind: AgingKind, value: &[u8], limits: &Retention) -> Result<Option<Timestamp>, AccountError> {
        if kind == kind::MESSAGE.aging() {
            let record = record::read(value)?;
            let is_queued = self.outbox.entries.values().any(|entry| entry.id == record.id);
            return Ok((!is_queued).then(|| record.created_at.plus(limits.messages)));
        }
        if kind == kind::SENT.aging() {
            return Ok(Some(sent::read(value)?.at.plus(limits.sent)));
        }
        Ok(authors::read(value).map(|(_, at)| at.plus(limits.inbox)))
    }

    fn concerns(&self, kind: AgingKind, value: &[u8], names: &[String]) -> Result<Option<&'static str>, AccountError> {
        if kind == kind::MESSAGE.aging() {
            return Ok(names.contains(&record::read(value)?.to).then_some("messages"));
        }
        if kind == kind::SENT.aging() {
            return Ok(names.contains(&sent::read(value)?.to.to_string()).then_some("sent_messages"));
        }
        Ok(authors::read(value).is_some_and(|(author, _)| names.contains(&author)).then_some("authors"))
    }

    async fn erase(&mut self, turn: &mut Turn<'_>, contact: &[Jid], counts: &mut Counts) -> Result<(), AccountError> {
        for (seq, entry) in self.outbox.entries.extract_if(.., |_, entry| contact.contains(&entry.to)) {
            counts.add("queued_messages", 1);
            turn.delete(kind::OUTBOX, seq.to_be_bytes());
            // A message that was accepted behind the pages that were walked.
            if record::of(turn, &entry.id)?.is_some() {
                counts.add("messages", 1);
                turn.delete(kind::MESSAGE, entry.id.as_str());
            }
        }
        Ok(())
    }
}

/// The lanes of loaded entries: by the LID of their recipient where it is known.
async fn set_lanes(turn: &mut Turn<'_>, outbox: &mut Outbox) -> Result<(), AccountError> {
    let users = outbox.users();
    if users.is_empty() {
        return Ok(());
    }
    let lanes = turn
        .devices(move |devices| users.iter().map(|user| devices.canonical(user)).collect::<Result<Vec<_>, _>>())
        .await?;
    outbox.set_lanes(lanes);
    Ok(())
}
