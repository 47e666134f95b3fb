//! Real images and containers. These tests need root and Debian's `busybox-static`; nothing leaves the machine.

mod cgroups;
mod images;
mod lifecycle;
mod node;
mod recovery;
mod registry;
mod sessions;
mod surroundings;
