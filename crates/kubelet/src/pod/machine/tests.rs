//! Histories of pods: events in, actions out.
