//! Groups: metadata, queried when a message needs it, and events of changes (`wire-protocol.md` 1.15).

pub(in crate::account) mod metadata;
mod notifications;

use crate::account::address::GroupOrStatus;
use crate::account::directory::mapping;
use crate::account::error::AccountError;
use crate::account::turn::Turn;
use crate::account::turn::context::Context;
use crate::account::turn::feature::{Ack, Feature, Route};
use crate::account::turn::notice::{Lookup, Notice};
use crate::account::turn::reply::ReplyTo;
use crate::account::turn::requests::{Requests, Response, may_pass};
use crate::wire::{Jid, Node};
use metadata::GroupMeta;

#[derive(Debug)]
pub enum Command {
    /// Drops our sender key for a group, or for status: the next message distributes a new one.
    RotateSenderKey { group: GroupOrStatus, reply: ReplyTo<()> },
}

#[derive(Debug)]
pub(in crate::account) enum Request {
    Metadata(Jid),
}

#[derive(Debug, Default)]
pub(in crate::account) struct Groups {
    requests: Requests<Request>,
}

impl Feature for Groups {
    type Command = Command;
    type Request = Request;
    const ROUTES: &'static [Route] = &[Route::kind("notification", "w:gp2")];
    const EVENTS: &'static [&'static str] = &notifications::EVENTS;

    fn load(_: &Context) -> Result<Self, AccountError> {
        Ok(Self::default())
    }

    fn requests(&mut self) -> &mut Requests<Request> {
        &mut self.requests
    }

    async fn command(&mut self, turn: &mut Turn<'_>, command: Command) -> Result<(), AccountError> {
        let Command::RotateSenderKey { group, reply } = command;
        turn.sender_keys(move |keys| {
            keys.forget_ours(&group.0);
            Ok(())
        })
        .await?;
        turn.reply(&reply, Ok(()));
        Ok(())
    }

    async fn response(
        &mut self,
        turn: &mut Turn<'_>,
        request: &Request,
        response: Response<'_>,
    ) -> Result<(), AccountError> {
        let Request::Metadata(group) = request;
        let lookup = match response {
            Response::Result(iq) => {
                let meta = GroupMeta::read(iq.require_child("group")?);
                mapping::learn(turn, meta.pairs()).await?;
                metadata::put(turn, group, &meta);
                Lookup::Known
            }
            Response::Refused(code) if !may_pass(code) => Lookup::Refused,
            Response::Refused(_) | Response::Missing => Lookup::Unanswered,
        };
        turn.announce(Notice::Group { group: group.clone(), lookup });
        Ok(())
    }

    async fn stanza(&mut self, turn: &mut Turn<'_>, node: &Node) -> Result<Ack, AccountError> {
        notifications::on_changes(turn, node).await?;
        Ok(Ack::Now)
    }

    async fn notice(&mut self, turn: &mut Turn<'_>, notice: &Notice) -> Result<(), AccountError> {
        match notice {
            Notice::Group { group, lookup: Lookup::Wanted } => self.look_up(turn, group),
            Notice::Disconnected => drop(self.requests.drain()),
            _ => {}
        }
        Ok(())
    }
}

impl Groups {
    /// Queries the metadata of a group, unless a query is under way.
    fn look_up(&mut self, turn: &mut Turn<'_>, group: &Jid) {
        if self.requests.any(|Request::Metadata(asked)| asked == group) {
            return;
        }
        let query = Node::new("query").attr("request", "interactive");
        let iq = Node::new("iq").attr("xmlns", "w:g2").attr("type", "get").attr("to", group).child(query);
        self.requests.send(turn, Request::Metadata(group.clone()), iq);
    }
}
