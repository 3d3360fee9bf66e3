//! Writes numbered commits to the store of a folder, which is compacted all the while, and prints the number of each once it is durable.
#![forbid(unsafe_code)]

use std::error::Error;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use wharf::config::Config;
use wharf::operate::open_engine;
use wharf::storage::{Batch, Compactor, Engine, Schedule};
use wharf_crash::commits::{last, writes};

fn main() -> Result<(), Box<dyn Error>> {
    let data = std::env::args().nth(1).ok_or("name the folder of the store")?;
    let store = open_engine(&Config { data, ..Config::default() })?;
    let always = Schedule { every: Duration::ZERO, from: 0 };
    let _compactor = Compactor::start(Arc::clone(store.store().store()), always, Arc::new(|| None))?;
    let mut out = std::io::stdout().lock();
    for number in last(&store)? + 1.. {
        store.apply(Batch { writes: writes(number), ..Batch::default() })?;
        store.sync()?;
        writeln!(out, "{number}")?;
        out.flush()?;
    }
    Ok(())
}
