//! A pod's volumes below `<data_dir>/kubelet/pods/<uid>/volumes` (upstream: pkg/volume, pkg/kubelet/volumemanager).
//!
//! [`payload`] computes files purely, [`atomic_writer`] puts them on disk so that a reader sees all of one version,
//! [`manager`] sets volumes up, refreshes them and takes them down.

pub mod atomic_writer;
pub mod host_path;
pub mod manager;
pub mod mount;
pub mod payload;
pub mod token;

pub use manager::{PodVolumes, VolumeError};
