//! Accounts, from the outside: started and stopped, linked in each way there is, and set.

use crate::account::{AccountState, AccountView, Assertion, Command, LinkCode, Reply};
use crate::actors::error::ActorError as Error;
use crate::actors::fleet::calls::{Call, List, Watch};
use crate::actors::fleet::restart::{Change, Reprovision, Restart};
use crate::actors::service::state::Service;
use crate::actors::tree::options::AccountOptions;
use crate::base::ids::AccountId;
use crate::wire::Jid;
use serde_json::{Map, Value};
use std::time::Duration;
use subtle::ConstantTimeEq;

/// How long a code for a phone may take: connecting, and asking for it.
const CODE_WAIT: Duration = Duration::from_secs(60);
const LOGOUT_WAIT: Duration = Duration::from_secs(20);

/// An attempt to link with a passkey, as its one-time link names it.
#[derive(Debug)]
pub struct PasskeyLink {
    pub account: AccountId,
    pub view: AccountView,
}

impl Service {
    /// Starts an account; one that was logged out gets a new device, to be linked anew.
    pub async fn start_account(&self, id: &AccountId) -> Result<(), Error> {
        self.with_device(id, || Command::Start).await.map(|_| ())
    }

    /// Carries out a command; an account whose device was logged out gets a new one first.
    async fn with_device(&self, id: &AccountId, command: impl Fn() -> Command) -> Result<Reply, Error> {
        let reply = self.ask(Call(id.clone(), command())).await??;
        if reply != Reply::LoggedOut {
            return Ok(reply);
        }
        self.ask(Reprovision(id.clone())).await??;
        self.ask(Call(id.clone(), command())).await?
    }

    pub async fn stop_account(&self, id: &AccountId) -> Result<(), Error> {
        self.ask(Call(id.clone(), Command::Stop)).await?.map(|_| ())
    }

    /// Loads an account's tree anew, and releases a quarantine.
    pub async fn restart_account(&self, id: &AccountId) -> Result<(), Error> {
        self.ask(Restart(id.clone())).await?
    }

    /// Has the service remove this device. Without a connection only this side forgets.
    pub async fn log_out_account(&self, id: &AccountId) -> Result<(), Error> {
        let logged_out = self.ask(Call(id.clone(), Command::Logout));
        let reply = tokio::time::timeout(LOGOUT_WAIT, logged_out).await.map_err(|_| Error::Restarting)?;
        reply?.map(|_| ())
    }

    /// Changes what is set for an account. `None` leaves a field as it is; other options load its tree anew.
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

    /// The code to scan; waits until there is one, while the account is on its way to show one.
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

    /// A code to type into the phone with this number.
    pub async fn pairing_code(&self, id: &AccountId, phone: &str) -> Result<LinkCode, Error> {
        let bad = |why: String| Error::BadField { field: "phone", why };
        let phone = Jid::parse_recipient(phone).map_err(|error| bad(error.to_string()))?;
        if !phone.is_user() {
            return Err(bad("must be a phone number".to_owned()));
        }
        let asked = self.with_device(id, || Command::PairingCode(phone.clone()));
        let reply = tokio::time::timeout(CODE_WAIT, asked).await.map_err(|_| Error::Restarting)?;
        match reply? {
            Reply::LinkCode(code) => Ok(code),
            Reply::Refused(refusal) => Err(refusal.into()),
            _ => Err(Error::Restarting),
        }
    }

    /// Takes the assertion of a passkey.
    pub async fn prove_by_passkey(&self, id: &AccountId, assertion: Assertion) -> Result<(), Error> {
        self.carry_out(id, Command::Passkey(Box::new(assertion))).await
    }

    /// The person says that both sides show the same code.
    pub async fn confirm_passkey(&self, id: &AccountId) -> Result<(), Error> {
        self.carry_out(id, Command::ConfirmPasskey).await
    }

    async fn carry_out(&self, id: &AccountId, command: Command) -> Result<(), Error> {
        match self.ask(Call(id.clone(), command)).await?? {
            Reply::Refused(refusal) => Err(refusal.into()),
            _ => Ok(()),
        }
    }

    /// The attempt that a one-time link names; `None` when it is over.
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
