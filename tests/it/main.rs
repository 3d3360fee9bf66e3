//! Wharf's integration tests, one binary.

mod conversations;
mod crash;
mod demo;
mod direct_messages;
mod layering;
mod logs;
mod net;
mod rest;
mod sealing;
mod served;
mod supervision;
mod webhooks;
