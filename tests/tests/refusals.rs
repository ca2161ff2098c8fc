//! What `#[reduceable]` refuses: one mistake a file, named for it, beside the words that the user sees.
//!
//! Half of the words are the compiler's own and change with it. They are compared under the compiler they
//! were written down with, and nowhere else.

use std::process::Command;

const WRITTEN_WITH: &str = "rustc 1.95.";

#[test]
fn refusals_name_the_token_and_the_way_out() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version =
        Command::new(rustc).arg("--version").output().expect("cargo runs where rustc does");
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    if !version.starts_with(WRITTEN_WITH) {
        eprintln!("not compared: the words are those of {WRITTEN_WITH}*, this is {version}");
        return;
    }
    let cases = trybuild::TestCases::new();
    cases.compile_fail("ui/*.rs");
}
