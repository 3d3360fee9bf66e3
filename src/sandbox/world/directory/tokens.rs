//! Privacy tokens: issued to trusted contacts, and required of strangers (`linking-and-tokens.md` 3).

use crate::sandbox::world::error::WorldError;
use crate::sandbox::world::ids::DeviceId;
use crate::sandbox::world::refusal::Answer;
use crate::sandbox::world::state::World;
use crate::wire::{Jid, Node};
use rand::Rng;

/// The error of a message that lacks a required token.
const NO_TOKEN: u64 = 463;

impl World {
    /// Sets whether messages to this person need one of the person's tokens.
    pub fn require_tokens(&mut self, number: &str, required: bool) -> Result<(), WorldError> {
        self.require_phone(number)?;
        if let Ok(settings) = self.settings_mut(number) {
            settings.token_required = required;
        }
        Ok(())
    }

    /// Issues a token to each named person, to be attached to messages.
    pub(in crate::sandbox::world) fn issue_tokens(&mut self, device: &DeviceId, tokens: &Node) -> Answer {
        for token in tokens.all("token") {
            let Some(number) = token.jid("jid").and_then(|jid| self.registry.number_of(&jid)) else { continue };
            let at = token.number("t").unwrap_or(self.now.secs());
            self.issue_token(&device.number, &number, at);
        }
        Ok(None)
    }

    fn issue_token(&mut self, from: &str, to: &str, at: u64) {
        let mut bytes = [0; 16];
        self.rng.fill_bytes(&mut bytes);
        let Ok(settings) = self.settings_mut(from) else { return };
        settings.tokens.insert(to.to_owned(), hex::encode(bytes));
        let Some(sender) = self.registry.account(from) else { return };
        let (pn, lid) = (sender.pn.clone(), sender.lid.clone());
        for target in self.registry.devices_of(to).into_iter().filter(|target| target.device != 0) {
            let Some(owner) = self.registry.account(to) else { return };
            let minted = Node::new("token").attr("jid", &owner.lid).attr("t", at);
            let minted = minted.attr("type", "trusted_contact").bytes(bytes);
            let tokens = Node::new("tokens").child(minted);
            self.notify(&target, &pn, "privacy_token", |it| it.attr("sender_lid", &lid).child(tokens));
        }
    }

    /// A person who requires tokens issues one to each recipient of a message.
    pub(in crate::sandbox::world) fn trust_recipient(&mut self, number: &str, recipient: &str) {
        let settings = self.registry.account(number).map(|account| &account.settings);
        if settings.is_some_and(|it| it.token_required && !it.tokens.contains_key(recipient)) {
            let now = self.now.secs();
            self.issue_token(number, recipient, now);
        }
    }

    /// The error of a message whose recipient requires a token that it lacks.
    pub(in crate::sandbox::world) fn stranger_error(&self, sender: &DeviceId, to: &Jid, node: &Node) -> Option<u64> {
        let recipient = self.registry.number_of(to).filter(|recipient| *recipient != sender.number)?;
        let settings = &self.registry.account(&recipient)?.settings;
        let shown = node.find("tctoken").map(|token| hex::encode(token.content_bytes()));
        let is_trusted = shown.is_some() && shown.as_ref() == settings.tokens.get(&sender.number);
        (settings.token_required && sender.device != 0 && !is_trusted).then_some(NO_TOKEN)
    }
}
