//! The house's own rules, and the command as its users run it.

mod arrows;
