//! The `hemoflow` program.
fn main() {}
