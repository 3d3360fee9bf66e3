pub(super) mod iq;
pub(super) mod membership;
