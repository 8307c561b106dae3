#![no_main]

hemoflow_fuzz::target!();
