//! Servers that are none of ours as backends: real ones, and one that can be told to lie.

mod doors;
mod lies;
mod port;
mod real;
mod scripted;
mod servers;
mod versions;
