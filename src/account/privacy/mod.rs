//! Privacy tokens of contacts.

pub(in crate::account) mod tokens;
