//! What this machine has and is called (upstream: cadvisor's MachineInfo and VersionInfo).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// What this machine has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MachineInfo {
    /// Processors.
    pub cpus: usize,
    /// Bytes of memory.
    pub memory_bytes: i64,
    /// Bytes of the file system with the kubelet's data.
    pub disk_bytes: u64,
    /// `uname -r`.
    pub kernel: String,
    /// PRETTY_NAME of os-release.
    pub os_image: String,
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// UUID of the machine's firmware; the machine id without one.
    pub system_uuid: String,
    /// Id of this boot.
    pub boot_id: String,
    /// Go's name of the architecture.
    pub architecture: &'static str,
}

impl MachineInfo {
    /// Looks at this machine; `data_dir` says which disk counts.
    pub fn read(data_dir: &Path) -> Self {
        let text = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
        let machine_id = text("/etc/machine-id");
        let uuid = text("/sys/class/dmi/id/product_uuid");
        let disk = rustix::fs::statvfs(data_dir).map(|disk| disk.f_blocks.saturating_mul(disk.f_frsize));
        Self {
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: memory_total(&text("/proc/meminfo")),
            disk_bytes: disk.unwrap_or(0),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            os_image: pretty_name(&text("/etc/os-release")),
            system_uuid: if uuid.is_empty() { machine_id.clone() } else { uuid },
            machine_id,
            boot_id: text("/proc/sys/kernel/random/boot_id"),
            architecture: go_architecture(),
        }
    }

    /// Capacity as the Node shows it.
    pub fn capacity(&self, max_pods: u32) -> BTreeMap<String, Quantity> {
        let disk_ki = format!("{}Ki", self.disk_bytes / 1024);
        self.amounts(max_pods, self.memory_bytes, disk_ki)
    }

    /// What pods may use of it: all but what evictions keep free (upstream's hard defaults: 100Mi of memory, 10 % of
    /// the disk).
    pub fn allocatable(&self, max_pods: u32) -> BTreeMap<String, Quantity> {
        let memory = (self.memory_bytes - (100 << 20)).max(0);
        let disk = self.disk_bytes - self.disk_bytes / 10;
        self.amounts(max_pods, memory, disk.to_string())
    }

    fn amounts(&self, max_pods: u32, memory_bytes: i64, disk: String) -> BTreeMap<String, Quantity> {
        BTreeMap::from([
            ("cpu".to_owned(), Quantity(self.cpus.to_string())),
            ("memory".to_owned(), Quantity(format!("{}Ki", memory_bytes / 1024))),
            ("ephemeral-storage".to_owned(), Quantity(disk)),
            ("hugepages-1Gi".to_owned(), Quantity("0".to_owned())),
            ("hugepages-2Mi".to_owned(), Quantity("0".to_owned())),
            ("pods".to_owned(), Quantity(max_pods.to_string())),
        ])
    }
}

fn memory_total(meminfo: &str) -> i64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let ki = line.and_then(|rest| rest.split_whitespace().next()?.parse::<i64>().ok());
    ki.unwrap_or(0).saturating_mul(1024)
}

fn pretty_name(os_release: &str) -> String {
    let name = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}

fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_system_are_read() {
        assert_eq!(memory_total("MemTotal:       24576 kB\nMemFree: 1 kB\n"), 24576 * 1024);
        assert_eq!(pretty_name("ID=x\nPRETTY_NAME=\"Debian 12\"\n"), "Debian 12");
        let info = MachineInfo { cpus: 2, memory_bytes: 1 << 30, disk_bytes: 1000, ..MachineInfo::default() };
        assert_eq!(info.capacity(110)["memory"].0, "1048576Ki");
        assert_eq!(info.allocatable(110)["memory"].0, "946176Ki");
        assert_eq!(info.allocatable(110)["ephemeral-storage"].0, "900");
    }
}
