//! Privacy tokens: given to trusted contacts, and demanded of strangers where a person wants that (`linking-and-tokens.md` 3).

use crate::sandbox::world::{DeviceId, World, WorldError};
use crate::wire::{Jid, Node};
use rand::Rng;

/// The service's code for a first message that it refuses.
const NO_TOKEN: u64 = 463;

impl World {
    /// The person wants to hear only from those who show a token of theirs.
    pub fn require_tokens(&mut self, number: &str, required: bool) -> Result<(), WorldError> {
        self.phone(number)?;
        if let Ok(settings) = self.settings_mut(number) {
            settings.token_required = required;
        }
        Ok(())
    }

    /// The people named become trusted contacts: each is sent a token to show in its messages.
    pub(in crate::sandbox::world) fn issue_tokens(&mut self, device: &DeviceId, tokens: &Node) {
        for token in tokens.all("token") {
            let Some(number) = token.jid("jid").and_then(|jid| self.number_of(&jid)) else { continue };
            let at = token.number("t").unwrap_or(self.now.secs());
            self.issue_token(&device.number, &number, at);
        }
    }

    fn issue_token(&mut self, from: &str, to: &str, at: u64) {
        let mut bytes = [0; 16];
        self.rng.fill_bytes(&mut bytes);
        let Ok(settings) = self.settings_mut(from) else { return };
        settings.tokens.insert(to.to_owned(), hex::encode(bytes));
        let Some(sender) = self.accounts.get(from) else { return };
        let (pn, lid) = (sender.pn.clone(), sender.lid.clone());
        for target in self.devices_of(to).into_iter().filter(|target| target.device != 0) {
            let Some(owner) = self.accounts.get(to) else { return };
            let minted = Node::new("token").attr("jid", &owner.lid).attr("t", at);
            let minted = minted.attr("type", "trusted_contact").bytes(bytes);
            let tokens = Node::new("tokens").child(minted);
            self.notify(&target, &pn, "privacy_token", |it| it.attr("sender_lid", &lid).child(tokens));
        }
    }

    /// A person who refuses strangers gives those a token that they write to.
    pub(in crate::sandbox::world) fn trust_recipient(&mut self, number: &str, recipient: &str) {
        let settings = self.accounts.get(number).map(|account| &account.settings);
        if settings.is_some_and(|it| it.token_required && !it.tokens.contains_key(recipient)) {
            let now = self.now.secs();
            self.issue_token(number, recipient, now);
        }
    }

    /// The error that a message to somebody has when they want a token and it shows none.
    pub(in crate::sandbox::world) fn stranger_error(&self, sender: &DeviceId, to: &Jid, node: &Node) -> Option<u64> {
        let recipient = self.number_of(to).filter(|recipient| *recipient != sender.number)?;
        let settings = &self.accounts.get(&recipient)?.settings;
        let shown = node.find("tctoken").map(|token| hex::encode(token.content_bytes()));
        let is_trusted = shown.is_some() && shown.as_ref() == settings.tokens.get(&sender.number);
        (settings.token_required && sender.device != 0 && !is_trusted).then_some(NO_TOKEN)
    }
}
