//! Train and publish model versions
