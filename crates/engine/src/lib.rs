//! Scoring: columns in, scores out
