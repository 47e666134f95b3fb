//! Images and containers: pull, import, unpack; sandboxes, containers, logs, exec, stats.
//!
//! It never knows the API server or a Pod object: its words are those of the Container Runtime Interface, so that the
//! kubelet can use our own runtime or any other through the same traits. Start reading at [`runtime`] (the traits),
//! then [`engine`] (our runtime), [`shim`] (the helper that holds one pod's processes) and [`images`].

pub mod cgroup;
pub mod engine;
pub mod images;
pub mod runtime;
pub mod shim;

pub use engine::{Runtime, RuntimeConfig, ShimCommand};
pub use images::ImageStore;
pub use runtime::{
    ContainerConfig, ContainerEvent, ContainerState, ContainerStats, ContainerStatus, Error, ExecIo, ExecRequest,
    Image, ImageService, Mount, MountPropagation, NamespaceMode, PullProgress, RegistryAuth, Resources, RuntimeService,
    SandboxConfig, SandboxStatus, SecurityContext, TerminalSize,
};
