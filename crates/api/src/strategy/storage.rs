//! Storage classes, CSI and attachments (upstream: pkg/apis/storage/v1/defaults.go, pkg/apis/storage/validation).

use apimachinery::field::{Error, Path};
use serde_json::Value;

use crate::check::{self, Errors, names};
use crate::json::Read;

mod attachment;
mod class;
mod csi;

pub(crate) use attachment::VolumeAttachment;
pub(crate) use class::{StorageClass, VolumeAttributesClass};
pub(crate) use csi::{CsiDriver, CsiNode, CsiStorageCapacity};

/// The name of a CSI driver (upstream: `ValidateCSIDriverName`).
fn driver_name(errors: &mut Errors, name: &str, path: &Path) {
    if name.is_empty() {
        errors.push(Error::required(path, ""));
    }
    if name.len() > 63 {
        errors.push(Error::too_long(path, 63));
    }
    check::named(errors, names::dns1123_subdomain, &name.to_lowercase(), path);
}

/// What a driver is told: few and short (upstream: `validateParameters`).
fn parameters(errors: &mut Errors, of: &Value, may_be_empty: bool, path: &Path) {
    const MAX_BYTES: usize = 256 * 1024;
    const MAX_COUNT: usize = 512;
    let parameters = of.fields();
    if parameters.len() > MAX_COUNT {
        errors.push(Error::too_long(path, MAX_COUNT));
        return;
    }
    let mut bytes = 0;
    for (key, value) in parameters {
        if key.is_empty() {
            errors.push(Error::invalid(path, key.as_str(), "field can not be empty."));
        }
        bytes += key.len() + value.as_str().map_or(0, str::len);
    }
    if bytes > MAX_BYTES {
        errors.push(Error::too_long(path, MAX_BYTES));
    }
    if !may_be_empty && parameters.is_empty() {
        errors.push(Error::required(path, "must contain at least one key/value pair"));
    }
}

#[cfg(test)]
mod tests;
