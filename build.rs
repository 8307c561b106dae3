//! Tells the program which revision it was built from.

use std::path::Path;
use std::process::Command;

fn main() {
    let git = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output();
    let revision =
        git.ok().filter(|output| output.status.success()).and_then(|output| String::from_utf8(output.stdout).ok());
    println!("cargo::rustc-env=HEMOFLOW_REVISION={}", revision.as_deref().map_or("unknown", str::trim));
    let features: Vec<&str> = ["cpu", "cuda", "wgpu"]
        .into_iter()
        .filter(|name| std::env::var_os(format!("CARGO_FEATURE_{}", name.to_uppercase())).is_some())
        .collect();
    println!("cargo::rustc-env=HEMOFLOW_FEATURES={}", features.join(","));
    println!("cargo::rerun-if-changed=build.rs");
    if Path::new(".git/logs/HEAD").exists() {
        println!("cargo::rerun-if-changed=.git/logs/HEAD");
    }
}
