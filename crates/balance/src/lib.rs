//! Choosing a backend, retrying, admitting: pure functions of time and chance
