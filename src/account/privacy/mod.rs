//! Privacy tokens: those that contacts give us, and those that we give to contacts (`linking-and-tokens.md` 3).

pub(in crate::account) mod tokens;

use crate::account::directory::{addresses, mapping};
use crate::account::error::AccountError;
use crate::account::turn::Turn;
use crate::account::turn::context::Context;
use crate::account::turn::feature::{Ack, Feature, Route};
use crate::account::turn::notice::Notice;
use crate::account::turn::requests::{Requests, Response, iq};
use crate::base::counts::Counts;
use crate::storage::kind;
use crate::wire::proto::HistorySync;
use crate::wire::{Jid, Node, Server, privacy_token};
use tokens::PrivacyToken;

/// This feature takes no commands.
#[derive(Debug)]
pub enum Command {}

#[derive(Debug)]
pub(in crate::account) enum Request {
    /// A token of ours for a contact, with its time in seconds.
    GiveToken { contact: Jid, at: u64 },
}

#[derive(Debug, Default)]
pub(in crate::account) struct Privacy {
    requests: Requests<Request>,
}

impl Feature for Privacy {
    type Command = Command;
    type Request = Request;
    const ROUTES: &'static [Route] = &[Route::kind("notification", "privacy_token")];

    fn load(_: &Context) -> Result<Self, AccountError> {
        Ok(Self::default())
    }

    fn requests(&mut self) -> &mut Requests<Request> {
        &mut self.requests
    }

    async fn command(&mut self, _: &mut Turn<'_>, command: Command) -> Result<(), AccountError> {
        match command {}
    }

    async fn response(
        &mut self,
        turn: &mut Turn<'_>,
        request: &Request,
        response: Response<'_>,
    ) -> Result<(), AccountError> {
        let Request::GiveToken { contact, at } = request;
        // Without a result the token is given again when the next message to this contact is sent.
        if let Response::Result(_) = response {
            let known = tokens::of(turn, contact)?;
            tokens::put(turn, contact, &PrivacyToken { ours_issued: Some(*at), ..known });
        }
        Ok(())
    }

    /// Stores a token that a contact gave us.
    async fn stanza(&mut self, turn: &mut Turn<'_>, node: &Node) -> Result<Ack, AccountError> {
        let from = node.require_jid("from")?;
        if let Some(lid) = node.jid("sender_lid").filter(|_| from.server() == Server::Pn) {
            mapping::learn(turn, vec![(from.clone(), lid)]).await?;
        }
        let contact = addresses::canonical(turn, &from.bare()).await?;
        if let Some((issued, bytes)) = privacy_token::read(node).into_iter().max_by_key(|(issued, _)| *issued) {
            let told = PrivacyToken { token: Some(bytes), issued: Some(issued), ours_issued: None };
            tokens::learn(turn, &contact, told)?;
        }
        Ok(Ack::Now)
    }

    async fn notice(&mut self, turn: &mut Turn<'_>, notice: &Notice) -> Result<(), AccountError> {
        match notice {
            Notice::Sent { to } => self.give(turn, to).await?,
            Notice::IdentityChanged { device } => self.give_again(turn, device).await?,
            Notice::HistoryPage(history) => take_history(turn, history).await?,
            Notice::Disconnected => drop(self.requests.drain()),
            _ => {}
        }
        Ok(())
    }

    async fn erase(&mut self, turn: &mut Turn<'_>, contact: &[Jid], counts: &mut Counts) -> Result<(), AccountError> {
        for address in contact {
            counts.add("privacy_tokens", u64::from(tokens::erase(turn, address)?));
        }
        Ok(())
    }
}

impl Privacy {
    /// Gives the contact of a sent message a token of ours, once a week.
    async fn give(&mut self, turn: &mut Turn<'_>, to: &Jid) -> Result<(), AccountError> {
        let contact = addresses::canonical(turn, &to.bare()).await?;
        let is_asked = self.requests.any(|Request::GiveToken { contact: asked, .. }| *asked == contact);
        if turn.is_own_user(to) || contact.server() != Server::Lid || is_asked {
            return Ok(());
        }
        let now = turn.now.secs();
        if privacy_token::is_due(tokens::of(turn, &contact)?.ours_issued, now) {
            self.issue(turn, contact, now);
        }
        Ok(())
    }

    /// Gives a reinstalled contact its token again, with the old time.
    async fn give_again(&mut self, turn: &mut Turn<'_>, device: &Jid) -> Result<(), AccountError> {
        let contact = addresses::canonical(turn, &device.bare()).await?;
        if let Some(issued) = tokens::of(turn, &contact)?.ours_issued.filter(|_| turn.is_online()) {
            self.issue(turn, contact, issued);
        }
        Ok(())
    }

    fn issue(&mut self, turn: &mut Turn<'_>, contact: Jid, at: u64) {
        let tokens = privacy_token::issue(&contact, at);
        self.requests.send(turn, Request::GiveToken { contact, at }, iq("privacy", "set").child(tokens));
    }
}

/// The salt and the tokens of a page of history.
async fn take_history(turn: &mut Turn<'_>, history: &HistorySync) -> Result<(), AccountError> {
    if let Some(salt) = history.nct_salt.as_ref().filter(|salt| (1..=64).contains(&salt.len())) {
        turn.put(kind::TOKEN_SALT, "", salt.clone());
    }
    for chat in &history.conversations {
        let Some(contact) = Jid::parse(&chat.id).ok().filter(Jid::is_user) else { continue };
        let contact = addresses::canonical(turn, &contact.bare()).await?;
        let told = PrivacyToken {
            token: chat.tc_token.clone(),
            issued: chat.tc_token_timestamp,
            ours_issued: chat.tc_token_sender_timestamp,
        };
        tokens::learn(turn, &contact, told)?;
    }
    Ok(())
}
