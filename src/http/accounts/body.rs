//! An account as a JSON body, and the limits of what a caller may write into it.

use crate::account::AccountState;
use crate::actors::{AccountHandle, AccountInfo, Proxy};
use crate::http::problem::Problem;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

const MAX_LABEL: usize = 200;
const MAX_METADATA: usize = 16 * 1024;

#[derive(Serialize, ToSchema)]
#[schema(as = Account)]
pub(in crate::http) struct AccountBody {
    #[schema(format = DateTime)]
    created_at: String,
    /// The name of the linked device, as the phone shows it; null where the server's default applies.
    device_name: Option<String>,
    #[schema(example = "support")]
    id: String,
    jid: Option<String>,
    label: Option<String>,
    lid: Option<String>,
    #[schema(format = DateTime)]
    linked_at: Option<String>,
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
    /// When the next attempt to connect is due.
    #[schema(format = DateTime)]
    next_attempt_at: Option<String>,
    /// The proxy's URL without its password.
    proxy: Option<String>,
    push_name: Option<String>,
    /// Why the account is in this state.
    reason: Option<String>,
    /// Restarts of the account's actors within the last minute.
    restarts: usize,
    #[schema(schema_with = state_schema)]
    state: AccountState,
}

fn state_schema() -> Object {
    let states = AccountState::ALL.map(AccountState::as_str);
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(states)).build()
}

impl From<AccountInfo> for AccountBody {
    fn from(info: AccountInfo) -> Self {
        let view = info.view;
        let proxy = info.options.proxy.and_then(|proxy| Proxy::parse(&proxy, true).ok());
        Self {
            created_at: info.created_at.rfc3339(),
            device_name: info.options.device_name,
            id: info.id.into(),
            jid: view.jid.map(|jid| jid.to_string()),
            label: info.label,
            lid: view.lid.map(|lid| lid.to_string()),
            linked_at: view.linked_at.map(|at| at.rfc3339()),
            metadata: info.metadata,
            next_attempt_at: view.next_attempt_at.map(|at| at.rfc3339()),
            proxy: proxy.map(|proxy| proxy.shown()),
            push_name: view.push_name,
            reason: view.reason,
            restarts: info.restarts,
            state: view.state,
        }
    }
}

impl AccountBody {
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The account as it is now.
    pub(in crate::http) async fn of(account: &AccountHandle) -> Result<Self, Problem> {
        Ok(account.info().await?.into())
    }
}

pub(super) fn check_description(label: Option<&str>, metadata: Option<&Map<String, Value>>) -> Result<(), Problem> {
    if label.is_some_and(|label| label.chars().count() > MAX_LABEL) {
        return Err(Problem::field("label", "must have 200 characters or fewer"));
    }
    let length = |metadata| serde_json::to_vec(metadata).map_or(0, |json| json.len());
    if metadata.is_some_and(|metadata| length(metadata) > MAX_METADATA) {
        return Err(Problem::field("metadata", "must be 16 KiB or smaller"));
    }
    Ok(())
}
