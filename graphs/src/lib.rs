//! Hemoflow.
