pub(super) mod faults;
pub(super) mod iq;
pub(super) mod login;
