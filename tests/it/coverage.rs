//! Every test named in `docs/coverage.md` and `SECURITY.md` exists in the named module and runs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let nested = entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    nested.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// The names of all tests that are not ignored.
fn tests(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        match line {
            "#[test]" | "#[actix_web::test]" | "#[tokio::test]" => is_test = true,
            _ if line.starts_with("#[ignore") => is_test = false,
            _ if line.starts_with('#') => {}
            _ => {
                let name =
                    line.trim_start_matches("async ").strip_prefix("fn ").and_then(|rest| rest.split('(').next());
                found.extend(name.filter(|_| is_test).map(str::to_owned));
                is_test = false;
            }
        }
    }
    found
}

/// The module of a test: its file, or the folder of a `mod.rs`. `x_tests.rs` holds tests of `x.rs`.
fn module(path: &Path) -> &str {
    let file = if path.ends_with("mod.rs") { path.parent().unwrap() } else { path };
    file.file_stem().unwrap().to_str().unwrap().trim_end_matches("_tests")
}

#[test]
fn every_test_named_in_the_documents_exists_and_is_not_ignored() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["src", "tests/it", "tests/hostile"].map(|folder| sources(&root.join(folder))).concat();
    let known: BTreeSet<String> = files
        .iter()
        .flat_map(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            tests(&text).into_iter().map(move |name| format!("{}::{name}", module(path)))
        })
        .collect();
    for (document, least) in [("docs/coverage.md", 80), ("SECURITY.md", 50)] {
        let text = std::fs::read_to_string(root.join(document)).unwrap();
        let named: Vec<&str> = text.split('`').skip(1).step_by(2).filter(|text| text.contains("::")).collect();
        assert!(named.len() >= least, "{document}: {} tests were read", named.len());
        let gone: Vec<_> = named.iter().filter(|name| !known.contains(**name)).collect();
        assert!(gone.is_empty(), "{document} names tests that do not exist: {gone:?}");
    }
}
