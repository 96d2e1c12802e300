//! Headgate: serves models from a bucket
