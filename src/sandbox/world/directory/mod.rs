//! Information about people that devices query and set.

mod app_state;
mod media;
mod prekeys;
mod settings;
mod tokens;
mod usync;
