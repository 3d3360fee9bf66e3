//! Privacy tokens: kept, shown with what is written to one person, and given to whom we write to (`linking-and-tokens.md` 3).

use crate::account::error::AccountError;
use crate::account::router::{Router, Turn};
use crate::account::turn::requests::Purpose;
use crate::account::{Children, codec, proto};
use crate::storage::{ChangeSet, kind, owner};
use crate::wire::message::History;
use crate::wire::{Jid, Node, Server, privacy_token};

impl Router {
    fn token_of(&self, contact: &Jid) -> Result<proto::PrivacyToken, AccountError> {
        let stored = self.store.get(kind::PRIVACY_TOKEN, contact.to_string().as_bytes())?;
        Ok(stored.map(|bytes| codec::decode(&bytes, "privacy token")).transpose()?.unwrap_or_default())
    }

    fn put_token<C>(&self, turn: &mut Turn<'_, C>, contact: &Jid, token: &proto::PrivacyToken) {
        let mut writes = ChangeSet::<owner::Router>::default();
        writes.put(kind::PRIVACY_TOKEN, contact.to_string(), codec::encode(token));
        turn.absorb(writes);
    }

    async fn canonical<C: Children>(&self, turn: &mut Turn<'_, C>, contact: &Jid) -> Result<Jid, AccountError> {
        let asked = contact.bare();
        turn.children.devices(move |devices| devices.canonical(&asked)).await?
    }

    /// A contact has given us a token.
    pub(in crate::account) async fn take_tokens<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        notification: &Node,
    ) -> Result<(), AccountError> {
        let from = notification.require_jid("from")?;
        if let Some(lid) = notification.jid("sender_lid").filter(|_| from.server() == Server::Pn) {
            self.learn_mapping(turn, from.clone(), lid).await?;
        }
        let contact = self.canonical(turn, &from).await?;
        if let Some((issued, bytes)) = privacy_token::read(notification).into_iter().max_by_key(|(issued, _)| *issued) {
            self.keep_token(turn, &contact, issued, bytes)?;
        }
        Ok(())
    }

    fn keep_token<C>(
        &mut self,
        turn: &mut Turn<'_, C>,
        contact: &Jid,
        issued: u64,
        bytes: Vec<u8>,
    ) -> Result<(), AccountError> {
        self.learn_token(
            turn,
            contact,
            proto::PrivacyToken { token: Some(bytes), issued: Some(issued), ours_issued: None },
        )
    }

    fn learn_token<C>(
        &mut self,
        turn: &mut Turn<'_, C>,
        contact: &Jid,
        told: proto::PrivacyToken,
    ) -> Result<(), AccountError> {
        let known = self.token_of(contact)?;
        let token = merged(known.clone(), told);
        if token != known {
            self.put_token(turn, contact, &token);
        }
        Ok(())
    }

    /// What a message to one person bears: their token, else one of ours from the salt, else nothing.
    pub(in crate::account) async fn token_for<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        to: &Jid,
    ) -> Result<Option<Node>, AccountError> {
        if !to.is_user() || self.device.link.as_ref().is_some_and(|link| link.is_own_user(to)) {
            return Ok(None);
        }
        let contact = self.canonical(turn, to).await?;
        let known = self.token_of(&contact)?;
        if let Some(token) = known.token.clone().filter(|_| privacy_token::is_valid(known.issued(), turn.now.secs())) {
            return Ok(Some(Node::new("tctoken").bytes(token)));
        }
        let salt = self.store.get(kind::TOKEN_SALT, b"")?.filter(|_| contact.server() == Server::Lid);
        Ok(salt.map(|salt| Node::new("cstoken").bytes(privacy_token::cold_token(&salt, &contact))))
    }

    /// Somebody was written to: they are given a token of ours, once a week.
    pub(in crate::account) async fn give_token<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        to: &Jid,
    ) -> Result<(), AccountError> {
        let is_own = self.device.link.as_ref().is_some_and(|link| link.is_own_user(to));
        let contact = self.canonical(turn, to).await?;
        let is_asked =
            |purpose: &Purpose| matches!(purpose, Purpose::GiveToken { contact: asked, .. } if *asked == contact);
        if is_own || contact.server() != Server::Lid || self.pending.is_waiting(is_asked) {
            return Ok(());
        }
        let now = turn.now.secs();
        if privacy_token::is_due(self.token_of(&contact)?.ours_issued, now) {
            self.issue(turn, contact, now);
        }
        Ok(())
    }

    /// A contact has registered anew: what we gave them is given again, with its old time.
    pub(in crate::account) async fn give_token_again<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        contact: &Jid,
    ) -> Result<(), AccountError> {
        let contact = self.canonical(turn, contact).await?;
        if let Some(issued) = self.token_of(&contact)?.ours_issued.filter(|_| self.connection.is_logged_in()) {
            self.issue(turn, contact, issued);
        }
        Ok(())
    }

    fn issue<C>(&mut self, turn: &mut Turn<'_, C>, contact: Jid, at: u64) {
        let tokens = privacy_token::issue(&contact, at);
        let iq = self.ask(turn, Purpose::GiveToken { contact, at }, "privacy", "set").child(tokens);
        self.write(turn, iq);
    }

    pub(in crate::account) fn token_given<C>(
        &mut self,
        turn: &mut Turn<'_, C>,
        contact: &Jid,
        at: u64,
    ) -> Result<(), AccountError> {
        let known = self.token_of(contact)?;
        self.put_token(turn, contact, &proto::PrivacyToken { ours_issued: Some(at), ..known });
        Ok(())
    }

    /// A piece of history from our own phone: the addresses of people, the salt, and tokens.
    pub(in crate::account) async fn take_history<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        history: &History,
    ) -> Result<(), AccountError> {
        let Some(history) = history.read()? else { return Ok(()) };
        let pair = |pn: &str, lid: &str| Some((Jid::parse(pn).ok()?, Jid::parse(lid).ok()?));
        let mappings = history.phone_number_to_lid_mappings.iter();
        let pairs: Vec<(Jid, Jid)> = mappings.filter_map(|it| pair(it.pn_jid(), it.lid_jid())).collect();
        let learned = turn.children.devices(move |devices| devices.learn_mappings(&pairs)).await??;
        self.file(turn, learned).await?;
        if let Some(salt) = history.nct_salt.as_ref().filter(|salt| (1..=64).contains(&salt.len())) {
            let mut writes = ChangeSet::<owner::Router>::default();
            writes.put(kind::TOKEN_SALT, "", salt.clone());
            turn.absorb(writes);
        }
        for chat in &history.conversations {
            let Some(contact) = Jid::parse(&chat.id).ok().filter(Jid::is_user) else { continue };
            let contact = self.canonical(turn, &contact).await?;
            let told = proto::PrivacyToken {
                token: chat.tc_token.clone(),
                issued: chat.tc_token_timestamp,
                ours_issued: chat.tc_token_sender_timestamp,
            };
            self.learn_token(turn, &contact, told)?;
        }
        Ok(())
    }
}

/// What is known with what was told. A token that is older than the known one is a late copy.
fn merged(known: proto::PrivacyToken, told: proto::PrivacyToken) -> proto::PrivacyToken {
    let ours_issued = known.ours_issued.max(told.ours_issued);
    let is_newer = told.token.is_some() && (known.token.is_none() || told.issued() >= known.issued());
    proto::PrivacyToken { ours_issued, ..if is_newer { told } else { known } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_tokens_the_one_that_was_issued_later_is_kept() {
        let token = |byte: u8, issued, ours_issued| proto::PrivacyToken {
            token: Some(vec![byte]),
            issued: Some(issued),
            ours_issued,
        };
        let nothing = proto::PrivacyToken { token: None, issued: Some(9), ours_issued: Some(7) };
        assert_eq!(merged(token(1, 5, Some(3)), token(2, 6, None)), token(2, 6, Some(3)));
        assert_eq!(merged(token(1, 5, None), token(2, 4, Some(2))), token(1, 5, Some(2)), "a late copy");
        assert_eq!(merged(token(1, 5, None), nothing), token(1, 5, Some(7)));
        assert_eq!(merged(proto::PrivacyToken::default(), token(1, 0, None)), token(1, 0, None));
    }

    #[test]
    fn a_privacy_token_has_the_golden_form() {
        let token = proto::PrivacyToken { token: Some(vec![1, 2]), issued: Some(3), ours_issued: Some(4) };
        crate::golden::check("privacy-token-v1.hex", &codec::encode(&token));
    }
}
