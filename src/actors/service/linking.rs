//! Life-cycle, linking and settings of an account.

use crate::account::commands::{Connection, Linking, LinkingError};
use crate::account::{AccountState, AccountView, Command, Contact, Input, LinkCode};
use crate::actors::error::ActorError as Error;
use crate::actors::fleet::calls::{List, Watch};
use crate::actors::fleet::restart::{Change, Reprovision, Restart};
use crate::actors::service::state::Service;
use crate::actors::tree::options::AccountOptions;
use crate::base::ids::AccountId;
use serde_json::{Map, Value};
use std::time::Duration;
use subtle::ConstantTimeEq;

/// Time for a pairing code: the connection and the request.
const CODE_WAIT: Duration = Duration::from_secs(60);
const LOGOUT_WAIT: Duration = Duration::from_secs(20);

/// A passkey ceremony, found by its one-time link.
#[derive(Debug)]
pub struct PasskeyLink {
    pub account: AccountId,
    pub view: AccountView,
}

impl Service {
    /// Starts an account. A logged-out account gets a new device, to be linked again.
    pub async fn start_account(&self, id: &AccountId) -> Result<(), Error> {
        let handle = self.account(id);
        let start = || handle.ask(|reply| input(Connection::Start { reply }.into()), true);
        if start().await?.is_err() {
            self.ask(Reprovision(id.clone())).await??;
            start().await?.map_err(Error::refused)?;
        }
        Ok(())
    }

    pub async fn stop_account(&self, id: &AccountId) -> Result<(), Error> {
        self.account(id).call(|reply| Connection::Stop { reply }.into()).await
    }

    /// Restarts an account's tree, and releases a quarantine.
    pub async fn restart_account(&self, id: &AccountId) -> Result<(), Error> {
        self.ask(Restart(id.clone())).await?
    }

    /// Logs the device out. Without a connection the service is not told.
    pub async fn log_out_account(&self, id: &AccountId) -> Result<(), Error> {
        let handle = self.account(id);
        let logged_out = handle.call(|reply| Connection::LogOut { reply }.into());
        tokio::time::timeout(LOGOUT_WAIT, logged_out).await.map_err(|_| Error::Restarting)?
    }

    /// Changes an account's settings. `None` leaves a field unchanged; changed options restart its tree.
    pub async fn change_account(
        &self,
        id: &AccountId,
        label: Option<Option<String>>,
        metadata: Option<Map<String, Value>>,
        options: Option<AccountOptions>,
    ) -> Result<(), Error> {
        if let Some(proxy) = options.as_ref().and_then(|options| options.proxy.as_ref()) {
            self.network.proxy(proxy)?;
        }
        self.ask(Change { id: id.clone(), label, metadata, options }).await?
    }

    /// The QR code; waits for one while the account is linking or reconnecting.
    pub async fn link_code(&self, id: &AccountId, wait: Duration) -> Result<Option<LinkCode>, Error> {
        let mut view = self.ask(Watch(id.clone())).await??;
        let shown = async {
            loop {
                {
                    let view = view.borrow_and_update();
                    let on_its_way = matches!(view.state, AccountState::Linking | AccountState::Reconnecting);
                    if view.code.is_some() || view.jid.is_some() || !on_its_way {
                        return view.code.clone();
                    }
                }
                if view.changed().await.is_err() {
                    return None;
                }
            }
        };
        Ok(tokio::time::timeout(wait, shown).await.unwrap_or(None))
    }

    /// A pairing code to type into this phone.
    pub async fn pairing_code(&self, id: &AccountId, phone: Contact) -> Result<LinkCode, Error> {
        tokio::time::timeout(CODE_WAIT, self.request_code(id, phone)).await.map_err(|_| Error::Restarting)?
    }

    async fn request_code(&self, id: &AccountId, phone: Contact) -> Result<LinkCode, Error> {
        let handle = self.account(id);
        let ask = || {
            let phone = phone.clone();
            handle.ask(|reply| input(Linking::PairingCode { phone, reply }.into()), false)
        };
        match ask().await? {
            // The device was logged out: a new one first.
            Err(LinkingError::LoggedOut) => {
                self.ask(Reprovision(id.clone())).await??;
                ask().await?.map_err(Error::refused)
            }
            answer => answer.map_err(Error::refused),
        }
    }

    /// The passkey ceremony of a one-time link; `None` when it is over.
    pub async fn passkey_link(&self, token: &str) -> Result<Option<PasskeyLink>, Error> {
        let accounts = self.ask(List(None)).await?;
        let is_named = |view: &AccountView| {
            let named = view.passkey.as_ref().map(|passkey| passkey.token.as_bytes().ct_eq(token.as_bytes()));
            named.is_some_and(bool::from)
        };
        let found = accounts.into_iter().find(|info| is_named(&info.view));
        Ok(found.map(|info| PasskeyLink { account: info.id, view: info.view }))
    }
}

fn input(command: Command) -> Input {
    Input::Command(Box::new(command), None)
}
