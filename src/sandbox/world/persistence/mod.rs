//! The network as rows (`docs/decisions/0010-sandbox-state.md`): changed rows are rendered, and a network is restored from them.

mod accounts;
mod fields;
mod phones;
mod proto;
mod rows;
mod service;
