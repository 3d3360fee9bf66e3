pub(super) mod authenticator;
pub(super) mod code;
pub(super) mod passkey;
pub(super) mod scan;
