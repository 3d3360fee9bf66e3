pub(super) mod app_state;
pub(super) mod media;
pub(super) mod prekeys;
pub(super) mod settings;
pub(super) mod tokens;
pub(super) mod usync;
