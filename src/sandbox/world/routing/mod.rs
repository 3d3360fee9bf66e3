pub(super) mod backlog;
pub(super) mod messages;
pub(super) mod presence;
pub(super) mod receipts;
