//! Scores: how predictions compare with the truth.
