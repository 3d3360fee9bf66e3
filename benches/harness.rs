//! Two ways to do the same work, measured in one run: alternating, thread CPU time, medians.

use cpu_time::ThreadTime;

const ROUNDS: usize = 41;

/// The head of the table that [`compare`] continues.
pub fn heading(other: &str) {
    println!("| operation | Wharf, µs | {other}, µs | ratio |\n|---|---:|---:|---:|");
}

/// Prints the medians of both. Each closure does the work `runs` times and returns the seconds that took.
pub fn compare(what: &str, runs: usize, mut ours: impl FnMut() -> f64, mut theirs: impl FnMut() -> f64) {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        if round % 2 == 0 {
            a.push(ours());
            b.push(theirs());
        } else {
            b.push(theirs());
            a.push(ours());
        }
    }
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2] * 1e6 / runs as f64
    };
    let (a, b) = (median(&mut a), median(&mut b));
    println!("| {what} | {a:.2} | {b:.2} | {:.2} |", a / b);
}

/// The CPU seconds of this thread that `work` takes.
pub fn timed(work: impl FnOnce()) -> f64 {
    let start = ThreadTime::now();
    work();
    start.elapsed().as_secs_f64()
}

/// The same, of the work done `runs` times.
pub fn repeated(runs: usize, mut work: impl FnMut()) -> f64 {
    timed(|| (0..runs).for_each(|_| work()))
}
