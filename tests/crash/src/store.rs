//! Kills a program that commits to a store while that is compacted, and checks that every commit it had told of is there.

use crate::beside;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::error::Error;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use wharf::config::Config;
use wharf::operate::open_engine;
use wharf_crash::commits::{has_exactly, last};

pub async fn run(kills: usize, seed: u64) -> Result<bool, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data").display().to_string();
    let config = Config { data: data.clone(), ..Config::default() };
    let mut rng = StdRng::seed_from_u64(seed);
    let mut found = 0;
    for kill in 0..kills {
        let mut command = Command::new(beside("compacting-store")?);
        let mut writer = command.arg(&data).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let patience = Duration::from_millis(rng.random_range(20..500));
        if let Ok(ended) = tokio::time::timeout(patience, writer.wait()).await {
            println!("VIOLATION: the writer ended by itself after kill {kill}: {}", ended?);
            return Ok(false);
        }
        writer.start_kill()?;
        let told = String::from_utf8(writer.wait_with_output().await?.stdout)?;
        // The last line may be torn.
        let told =
            told.rsplit_once('\n').and_then(|(whole, _)| whole.rsplit('\n').next()?.parse().ok()).unwrap_or(found);
        let store = open_engine(&config)?;
        found = last(&store)?;
        if found < told || !has_exactly(&store, found)? {
            println!("VIOLATION: commit {told} was told of before kill {kill}, and the store ends with {found}");
            return Ok(false);
        }
    }
    let generations = std::fs::read_to_string(folder.path().join("data/generation")).unwrap_or_default();
    println!("{kills} kills, {found} commits, {} compactions: nothing lost", generations.trim());
    Ok(true)
}
