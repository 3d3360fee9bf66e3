//! Named points where a test can make things fail. An argument like the clock: production passes [`NoHooks`].

/// Something to be told when a point is reached. It may panic, stop the process, or just count.
pub trait Hooks: Send + Sync {
    /// `point` names the place, `subject` whom it concerns (an account's id, or nothing).
    fn reach(&self, point: &'static str, subject: &str);
}

/// Nothing happens.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHooks;

impl Hooks for NoHooks {
    fn reach(&self, _: &'static str, _: &str) {}
}
