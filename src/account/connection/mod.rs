//! The account's connection to the service: desired state, login, keep-alive, backlog, log-out (`wire-protocol.md` 1.7).
//!
//! Invariant: this room alone changes the [`LinkStatus`](crate::account::turn::context::LinkStatus) that others read, and it names no
//! capability: other features learn of the connection by notices.

mod backlog;
mod ending;
mod lifecycle;

use crate::account::error::{AccountError, Refusal};
use crate::account::turn::Turn;
use crate::account::turn::context::Context;
use crate::account::turn::counter::Counter;
use crate::account::turn::feature::{Ack, Feature, Route};
use crate::account::turn::notice::Notice;
use crate::account::turn::reply::ReplyTo;
use crate::account::turn::requests::{Requests, Response, iq};
use crate::account::view::{AccountState, AccountView};
use crate::base::time::Monotonic;
use crate::wire::{Jid, Node};
use backlog::{BATCH, Backlog};
use ending::{DisconnectReason, Ending};
use lifecycle::{Due, Lifecycle};

/// The device was logged out: the account needs a new one first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the device was logged out; start the account again to link a new one")]
pub struct LoggedOut;

impl Refusal for LoggedOut {
    fn problem(&self) -> (u16, &'static str) {
        (409, "logged_out")
    }
}

#[derive(Debug)]
pub enum Command {
    /// Restores the desired state that was stored before the restart.
    Resume {
        reply: ReplyTo<()>,
    },
    Start {
        reply: ReplyTo<(), LoggedOut>,
    },
    Stop {
        reply: ReplyTo<()>,
    },
    /// Asks the service to remove this device, if the account is online.
    LogOut {
        reply: ReplyTo<()>,
    },
}

#[derive(Debug)]
pub(in crate::account) enum Request {
    /// The last step of a login.
    Active,
    Ping,
    /// The removal of this device.
    RemoveDevice(ReplyTo<()>),
}

#[derive(Debug, Default)]
pub(in crate::account) struct Connection {
    requests: Requests<Request>,
    lifecycle: Lifecycle,
    backlog: Backlog,
    /// Stanzas that are written after this turn's notices have been delivered.
    deferred: Vec<Node>,
}

impl Feature for Connection {
    type Command = Command;
    type Request = Request;
    const ROUTES: &'static [Route] = &[
        Route::tag("success"),
        Route::tag("failure"),
        Route::tag("stream:error"),
        Route::child("ib", "", "offline"),
        Route::child("ib", "", "offline_preview"),
        Route::child("ib", "", "edge_routing"),
        Route::kind("iq", "get"),
    ];

    fn load(_: &Context) -> Result<Self, AccountError> {
        Ok(Self::default())
    }

    fn requests(&mut self) -> &mut Requests<Request> {
        &mut self.requests
    }

    async fn command(&mut self, turn: &mut Turn<'_>, command: Command) -> Result<(), AccountError> {
        match command {
            Command::Resume { reply } => {
                turn.announce(Notice::Resuming);
                self.lifecycle.resume(turn).await?;
                turn.reply(&reply, Ok(()));
            }
            Command::Start { reply } if self.lifecycle.is_logged_out() => turn.reply(&reply, Err(LoggedOut)),
            Command::Start { reply } => {
                self.lifecycle.start(turn).await?;
                turn.reply(&reply, Ok(()));
            }
            Command::Stop { reply } => {
                self.lifecycle.stop_by_request(turn);
                turn.reply(&reply, Ok(()));
            }
            Command::LogOut { reply } => self.log_out(turn, reply),
        }
        Ok(())
    }

    async fn response(
        &mut self,
        turn: &mut Turn<'_>,
        request: &Request,
        response: Response<'_>,
    ) -> Result<(), AccountError> {
        match request {
            // A login without a response to its last step is complete: messages flow.
            Request::Active => {
                self.lifecycle.come_online(turn);
                turn.announce(Notice::Online);
            }
            Request::Ping if matches!(response, Response::Result(_)) => turn.announce(Notice::Pong),
            Request::Ping => {}
            Request::RemoveDevice(reply) => self.logged_out(turn, reply),
        }
        Ok(())
    }

    fn arrived(&mut self, turn: &mut Turn<'_>, node: &Node) {
        self.lifecycle.on_traffic(turn);
        if node.has("offline") {
            self.backlog.progress(turn.steady);
            turn.ctx.link.backlog = self.backlog.is_arriving();
        }
        let is_ack = node.tag == "ack" && node.is("class", "message");
        if is_ack || matches!(node.tag.as_ref(), "message" | "receipt" | "notification" | "call") {
            self.lifecycle.on_stanza(turn);
        }
    }

    async fn stanza(&mut self, turn: &mut Turn<'_>, node: &Node) -> Result<Ack, AccountError> {
        match node.tag.as_ref() {
            "success" => self.on_success(turn, node),
            "failure" => {
                let ending = ending::of_failure(node)?;
                self.end(turn, ending).await?;
            }
            "stream:error" => self.end(turn, ending::of_stream_error(node)).await?,
            "ib" => self.on_ib(turn, node),
            _ => {
                let result = Node::new("iq").attr("to", Jid::service()).attr("type", "result");
                turn.write(result.maybe("id", node.get("id").cloned()));
            }
        }
        Ok(Ack::Own)
    }

    async fn notice(&mut self, turn: &mut Turn<'_>, notice: &Notice) -> Result<(), AccountError> {
        match notice {
            Notice::ConnectionWanted => self.lifecycle.start(turn).await?,
            Notice::HandshakeDone => self.lifecycle.handshake_done(turn),
            Notice::ConnectionLost { why } => self.lifecycle.reconnect(turn, DisconnectReason::Lost(why.clone())),
            Notice::PreKeysReady => self.activate(turn),
            Notice::LinkingFailed { reason } => self.lifecycle.stop(turn, AccountState::Stopped, Some(reason)),
            Notice::Unresponsive { reason } if self.lifecycle.is_open() => self.unresponsive(turn, reason),
            Notice::Disconnected => self.disconnected(turn),
            _ => {}
        }
        Ok(())
    }

    async fn tick(&mut self, turn: &mut Turn<'_>) -> Result<(), AccountError> {
        let Due::Watch { ping } = self.lifecycle.tick(turn).await? else { return Ok(()) };
        if ping {
            self.requests.send(turn, Request::Ping, iq("w:p", "get"));
        }
        if self.backlog.is_overdue(turn.steady) {
            self.unresponsive(turn, "the service holds messages that do not arrive");
        } else if self.backlog.take_complete(turn.steady) {
            turn.ctx.link.backlog = false;
            self.ask_for_batch(turn);
        }
        Ok(())
    }

    async fn settle(&mut self, turn: &mut Turn<'_>) -> Result<(), AccountError> {
        std::mem::take(&mut self.deferred).into_iter().for_each(|node| turn.write(node));
        Ok(())
    }

    fn deadline(&self, ctx: &Context) -> Option<Monotonic> {
        [self.lifecycle.deadline(ctx), self.backlog.deadline()].into_iter().flatten().min()
    }

    fn show(&self, _: &Context, view: &mut AccountView) {
        self.lifecycle.show(view);
    }
}

impl Connection {
    /// `<success>`: the service accepted the login. It is finished once the service has prekeys of ours.
    fn on_success(&mut self, turn: &mut Turn<'_>, node: &Node) {
        let lid = node.jid("lid");
        let device = &mut turn.ctx.device;
        device.login_counter = device.login_counter.saturating_add(1);
        if let (Some(own), Some(lid)) = (&mut device.linked, &lid) {
            own.lid = Some(lid.clone());
        }
        let name = device.linked.as_ref().map(|own| own.push_name.clone()).unwrap_or_default();
        turn.put_device();
        turn.announce(Notice::LoggedIn { lid });
        if !name.is_empty() {
            self.deferred.push(Node::new("presence").attr("type", "available").attr("name", name));
        }
    }

    /// The last step of a login, once the service has prekeys of ours for new sessions.
    fn activate(&mut self, turn: &mut Turn<'_>) {
        if !turn.is_online() && !self.requests.any(|request| matches!(request, Request::Active)) {
            self.requests.send(turn, Request::Active, iq("passive", "set").child(Node::new("active")));
        }
    }

    async fn end(&mut self, turn: &mut Turn<'_>, ending: Ending) -> Result<(), AccountError> {
        match ending {
            Ending::Reconnect(why) => self.lifecycle.reconnect(turn, why),
            Ending::ReconnectAtOnce => {
                self.lifecycle.reset_backoff();
                self.lifecycle.reconnect(turn, DisconnectReason::Expected);
                self.lifecycle.connect(turn).await?;
            }
            Ending::Stop(state, reason) => self.lifecycle.stop(turn, state, Some(&reason)),
            Ending::Banned { reason, lasts } => self.lifecycle.ban(turn, reason, lasts),
            Ending::MissingAck => {
                tracing::warn!(account = %turn.ctx.id, "service misses an acknowledgement");
            }
        }
        Ok(())
    }

    /// `<ib>`: information about the stream itself.
    fn on_ib(&mut self, turn: &mut Turn<'_>, node: &Node) {
        if node.find("offline").is_some() {
            self.backlog = Backlog::default();
            turn.ctx.link.backlog = false;
            turn.announce(Notice::BacklogEnded);
            self.lifecycle.on_stanza(turn);
        }
        // The service sends its backlog only in requested batches.
        if node.find("offline_preview").is_some() {
            self.backlog = Backlog::announced(turn.steady);
            turn.ctx.link.backlog = false;
            self.ask_for_batch(turn);
        }
        if let Some(info) = node.find("edge_routing").and_then(|edge| edge.find("routing_info")) {
            let info = info.content_bytes().to_vec();
            if turn.ctx.device.routing_info.as_ref() != Some(&info) {
                turn.ctx.device.routing_info = Some(info);
                turn.put_device();
            }
        }
    }

    /// The receipts of the last batch are written before the next one is requested.
    fn ask_for_batch(&mut self, turn: &mut Turn<'_>) {
        turn.announce(Notice::BacklogBatch);
        self.deferred.push(Node::new("ib").child(Node::new("offline_batch").attr("count", BATCH)));
    }

    fn unresponsive(&mut self, turn: &mut Turn<'_>, reason: &'static str) {
        tracing::warn!(account = %turn.ctx.id, reason, "service unresponsive, reconnecting");
        turn.count(Counter::Unresponsive);
        self.lifecycle.set_unresponsive();
        self.lifecycle.reconnect(turn, DisconnectReason::Unresponsive(reason));
    }

    fn disconnected(&mut self, turn: &mut Turn<'_>) {
        self.backlog = Backlog::default();
        turn.ctx.link.backlog = false;
        self.deferred.clear();
        for request in self.requests.drain() {
            if let Request::RemoveDevice(reply) = request {
                // Without a connection the device is removed on our side only.
                self.logged_out(turn, &reply);
            }
        }
    }

    /// Asks the service to remove this device. The command is answered by the response, or at once when there is no connection.
    fn log_out(&mut self, turn: &mut Turn<'_>, reply: ReplyTo<()>) {
        let own = turn.own().map(|own| own.jid.clone());
        match own.filter(|_| turn.is_online()) {
            Some(own) => {
                let remove = Node::new("remove-companion-device").attr("jid", own).attr("reason", "user_initiated");
                self.requests.send(turn, Request::RemoveDevice(reply), iq("md", "set").child(remove));
            }
            None => self.logged_out(turn, &reply),
        }
    }

    fn logged_out(&mut self, turn: &mut Turn<'_>, reply: &ReplyTo<()>) {
        self.lifecycle.stop(turn, AccountState::LoggedOut, Some("logged out by request"));
        turn.reply(reply, Ok(()));
    }
}
