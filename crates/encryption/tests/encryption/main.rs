//! Values on their way to the disk and back, with keys of files and of a plugin.

mod at_rest;
mod plugin;
