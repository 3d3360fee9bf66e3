//! The result of each step.

use std::time::Instant;

/// The reason why a client cannot do a step.
pub struct Lacks(pub &'static str);

pub enum Trouble {
    Failed(String),
    Lacks(Lacks),
}

impl<E: Into<String>> From<E> for Trouble {
    fn from(why: E) -> Self {
        Self::Failed(why.into())
    }
}

impl From<Lacks> for Trouble {
    fn from(lacks: Lacks) -> Self {
        Self::Lacks(lacks)
    }
}

#[derive(Default)]
pub struct Report {
    passed: usize,
    failed: Vec<String>,
    lacking: usize,
}

impl Report {
    /// Does one step and prints its result.
    pub fn step<T, E: Into<Trouble>>(
        &mut self,
        what: &str,
        who: &str,
        act: impl FnOnce() -> Result<T, E>,
    ) -> Option<T> {
        let started = Instant::now();
        match act().map_err(Into::into) {
            Ok(done) => {
                self.passed += 1;
                println!("ok      {what:32} {who:32} {:>6} ms", started.elapsed().as_millis());
                Some(done)
            }
            Err(Trouble::Lacks(Lacks(why))) => {
                self.lacking += 1;
                println!("–       {what:32} {who:32} {why}");
                None
            }
            Err(Trouble::Failed(why)) => {
                println!("FAILED  {what:32} {who:32} {why}");
                self.failed.push(format!("{what}, {who}"));
                None
            }
        }
    }

    pub fn end(self) {
        println!("{} passed, {} failed, {} not possible yet", self.passed, self.failed.len(), self.lacking);
        if !self.failed.is_empty() {
            std::process::exit(1);
        }
    }
}
