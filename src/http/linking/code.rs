//! A linking code as a JSON body.

use crate::account::LinkCode;
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
#[schema(as = LinkCode)]
pub(super) struct CodeBody {
    code: String,
    #[schema(format = DateTime)]
    expires_at: String,
}

impl From<LinkCode> for CodeBody {
    fn from(code: LinkCode) -> Self {
        Self { expires_at: code.expires_at.rfc3339(), code: code.text }
    }
}
