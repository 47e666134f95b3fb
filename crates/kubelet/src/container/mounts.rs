//! What a container sees of the node: volumes, `/etc/hosts`, `/etc/resolv.conf`, `/etc/hostname`, the termination log.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cri::{Mount, MountPropagation};
use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};

use super::expansion::expand;
use crate::pod::spec::spec;
use crate::volumes::{PodVolumes, mount};

/// Where a container's termination message goes unless it says otherwise.
pub const TERMINATION_LOG: &str = "/dev/termination-log";

/// Files of a pod that every container gets.
#[derive(Clone, Debug)]
pub struct PodFiles {
    /// The pod's directory.
    pub pod_dir: PathBuf,
    /// `/etc/hosts`.
    pub hosts: String,
    /// `/etc/resolv.conf`.
    pub resolv_conf: String,
    /// `/etc/hostname`; none in the node's network.
    pub hostname: Option<String>,
}

impl PodFiles {
    /// Writes the files. Blocks.
    pub fn write(&self) -> io::Result<()> {
        fs::create_dir_all(&self.pod_dir)?;
        let put = |name: &str, text: &str| {
            let path = self.pod_dir.join(name);
            fs::write(&path, text)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644))
        };
        put("etc-hosts", &self.hosts)?;
        put("etc-resolv.conf", &self.resolv_conf)?;
        match &self.hostname {
            Some(name) => put("etc-hostname", &format!("{name}\n")),
            None => Ok(()),
        }
    }
}

/// Makes what has to be on disk and answers the mounts of `container`. Blocks. Errors are messages for people.
pub fn prepare(
    pod: &Pod,
    container: &Container,
    attempt: u32,
    env: &[(String, String)],
    volumes: &PodVolumes,
    files: &PodFiles,
) -> Result<Vec<Mount>, String> {
    let mut mounts = Vec::new();
    for (index, wanted) in container.volume_mounts.iter().flatten().enumerate() {
        mounts.push(volume_mount(pod, container, index, wanted, env, volumes, files)?);
    }
    let taken = |path: &str, mounts: &[Mount]| mounts.iter().any(|mount| mount.container_path == Path::new(path));
    let mut of_pod = vec![("/etc/hosts", "etc-hosts"), ("/etc/resolv.conf", "etc-resolv.conf")];
    if files.hostname.is_some() {
        of_pod.push(("/etc/hostname", "etc-hostname"));
    }
    for (path, name) in of_pod {
        if !taken(path, &mounts) {
            mounts.push(bind(Path::new(path), files.pod_dir.join(name), false));
        }
    }
    let path = termination_path(container);
    let log = termination_log(&files.pod_dir, &container.name, attempt);
    make_termination_log(&log).map_err(|err| format!("making the termination log: {err}"))?;
    mounts.push(bind(Path::new(path), log, false));
    Ok(mounts)
}

/// Path of the termination message inside the container.
pub fn termination_path(container: &Container) -> &str {
    container.termination_message_path.as_deref().filter(|path| !path.is_empty()).unwrap_or(TERMINATION_LOG)
}

/// Path of the termination message on the node.
pub fn termination_log(pod_dir: &Path, container: &str, attempt: u32) -> PathBuf {
    pod_dir.join("containers").join(container).join(format!("{attempt}.termination-log"))
}

fn make_termination_log(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::File::create(path)?;
    // Whoever the container runs as may write it, whatever the umask.
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))
}

fn bind(container_path: &Path, host_path: PathBuf, readonly: bool) -> Mount {
    Mount { container_path: container_path.to_owned(), host_path, readonly, propagation: MountPropagation::Private }
}

fn volume_mount(
    pod: &Pod,
    container: &Container,
    index: usize,
    wanted: &VolumeMount,
    env: &[(String, String)],
    volumes: &PodVolumes,
    files: &PodFiles,
) -> Result<Mount, String> {
    let volume = spec(pod).volumes.iter().flatten().find(|volume| volume.name == wanted.name);
    let Some(volume) = volume else {
        return Err(format!("cannot find volume {:?} to mount into container {:?}", wanted.name, container.name));
    };
    let Some(path) = volumes.path(volume) else { return Err(format!("volume {:?} is not mounted", wanted.name)) };
    let sub_path = sub_path(wanted, env)?;
    let host_path = if sub_path.is_empty() {
        path
    } else {
        let relative = Path::new(&sub_path);
        let plain = |part| matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir);
        if !relative.components().all(plain) {
            return Err(format!("error SubPath {sub_path:?} must not be an absolute path or contain '..'"));
        }
        let target = files.pod_dir.join("volume-subpaths").join(&volume.name).join(&container.name);
        let target = target.join(index.to_string());
        mount::bind_sub_path(&path, relative, &target)
            .map_err(|err| format!("failed to prepare subPath for volumeMount {:?}: {err}", wanted.name))?;
        target
    };
    let propagation = match wanted.mount_propagation.as_deref() {
        Some("HostToContainer") => MountPropagation::HostToContainer,
        Some("Bidirectional") => MountPropagation::Bidirectional,
        _ => MountPropagation::Private,
    };
    // ConfigMaps, Secrets and their like are never written by containers (upstream: mounter attributes ReadOnly).
    let managed = volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.downward_api.is_some()
        || volume.projected.is_some();
    Ok(Mount {
        container_path: absolute(&wanted.mount_path),
        host_path,
        readonly: managed || wanted.read_only == Some(true),
        propagation,
    })
}

/// A mount path that is not absolute is taken from the root (upstream: volumeutil.MakeAbsolutePath).
fn absolute(path: &str) -> PathBuf {
    Path::new("/").join(path)
}

fn sub_path(wanted: &VolumeMount, env: &[(String, String)]) -> Result<String, String> {
    let Some(expression) = wanted.sub_path_expr.as_deref().filter(|text| !text.is_empty()) else {
        return Ok(wanted.sub_path.clone().unwrap_or_default());
    };
    let missing = std::cell::RefCell::new(None);
    let text = expand(expression, |name| {
        let value = env.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        if value.is_none() {
            missing.replace(Some(name.to_owned()));
        }
        value
    });
    match missing.into_inner() {
        Some(name) => Err(format!("missing value for {name:?}")),
        None => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_container_gets_volumes_and_the_pods_files() {
        let dir = tempfile::tempdir().expect("a directory");
        let pod: Pod = serde_json::from_value(json!({"spec": {
            "volumes": [{"name": "e", "emptyDir": {}}, {"name": "c", "configMap": {"name": "x"}}],
            "containers": [{"name": "a", "volumeMounts": [
                {"name": "e", "mountPath": "data", "mountPropagation": "Bidirectional"},
                {"name": "c", "mountPath": "/etc/hosts"}]}]}}))
        .expect("a pod");
        let volumes = PodVolumes::new(dir.path().to_owned());
        let files = PodFiles {
            pod_dir: dir.path().to_owned(),
            hosts: "h".into(),
            resolv_conf: "r".into(),
            hostname: Some("n".into()),
        };
        files.write().expect("the files are written");
        let mounts = prepare(&pod, &spec(&pod).containers[0], 2, &[], &volumes, &files).expect("mounts");
        let shown: Vec<String> = mounts
            .iter()
            .map(|m| {
                let host = m.host_path.strip_prefix(dir.path()).expect("below the pod's directory").display();
                format!("{} <- {host} ro={} {:?}", m.container_path.display(), m.readonly, m.propagation)
            })
            .collect();
        assert_eq!(
            shown,
            [
                "/data <- volumes/kubernetes.io~empty-dir/e ro=false Bidirectional",
                "/etc/hosts <- volumes/kubernetes.io~configmap/c ro=true Private",
                "/etc/resolv.conf <- etc-resolv.conf ro=false Private",
                "/etc/hostname <- etc-hostname ro=false Private",
                "/dev/termination-log <- containers/a/2.termination-log ro=false Private",
            ]
        );
        let log = dir.path().join("containers/a/2.termination-log");
        assert_eq!(fs::metadata(log).expect("the log").permissions().mode() & 0o777, 0o666);
    }

    #[test]
    fn sub_paths_from_variables() {
        let env = [("A".to_owned(), "x".to_owned())];
        let mount = |text: &str| VolumeMount { sub_path_expr: Some(text.into()), ..VolumeMount::default() };
        assert_eq!(sub_path(&mount("$(A)/y"), &env), Ok("x/y".to_owned()));
        assert_eq!(sub_path(&mount("$(B)"), &env), Err("missing value for \"B\"".to_owned()));
    }
}
