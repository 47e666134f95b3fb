//! What a claim got: the allocation that a scheduler writes, and what drivers say of the devices in it.

use std::collections::HashSet;

use apimachinery::field::{Error, Path};
use serde_json::{Map, Value};

use super::{request, slice};
use crate::check::{self, Errors, names};
use crate::json::Read;
use crate::strategy::pod::node_selector;

const MAX_RESULTS: usize = 32;
const MAX_CONFIG: usize = 64;
const MAX_CONDITIONS: usize = 8;
const MAX_BINDING: usize = 4;
const MAX_DATA: usize = 10 * 1024;
const MAX_ADDRESSES: usize = 16;

/// A new allocation for a claim of this spec (upstream: `validateAllocationResult`).
pub(super) fn allocation(errors: &mut Errors, of: &Map<String, Value>, spec: &Map<String, Value>, path: &Path) {
    let known = request::names_of(spec);
    let (devices, at) = (of.object("devices"), path.child("devices"));
    let limited = |errors: &mut Errors, list: &str, most: usize| {
        let found = devices.list(list);
        if found.len() > most {
            errors.push(Error::too_many(&at.child(list), found.len(), most));
            return &found[..0];
        }
        found
    };
    for (index, one) in limited(errors, "results", MAX_RESULTS).iter().enumerate() {
        result(errors, one, &known, &at.child("results").index(index));
    }
    for (index, config) in limited(errors, "config", MAX_CONFIG).iter().enumerate() {
        let path = at.child("config").index(index);
        check::required_one_of(errors, config.fields(), "source", &["FromClaim", "FromClass"], &path);
        request::references(errors, config, &known, &path);
        request::configuration(errors, config, &path);
    }
    if of.has("nodeSelector") {
        node_selector(errors, of.object("nodeSelector"), &path.child("nodeSelector"));
    }
}

/// What is said of devices goes with them when they are given back: who gives them back may not know of it
/// (upstream: `dropDeallocatedStatusDevices`).
pub(super) fn forget_given_back(status: &mut Map<String, Value>, old: &Map<String, Value>) {
    let id = |device: &Value| ["driver", "pool", "device", "shareID"].map(|field| device.text(field).to_owned());
    let allocated = |status: &Map<String, Value>| -> HashSet<[String; 4]> {
        status.object("allocation").object("devices").list("results").iter().map(id).collect()
    };
    let still = allocated(status);
    let gone: HashSet<[String; 4]> = allocated(old).into_iter().filter(|id| !still.contains(id)).collect();
    let Some(Value::Array(devices)) = status.get_mut("devices") else { return };
    devices.retain(|device| !gone.contains(&id(device)));
    if devices.is_empty() {
        status.remove("devices");
    }
}

fn result(errors: &mut Errors, result: &Value, known: &HashSet<String>, path: &Path) {
    request::reference(errors, result.text("request"), known, &path.child("request"));
    device(errors, result, path);
    binding(errors, result, path);
    for (index, toleration) in result.list("tolerations").iter().enumerate() {
        request::toleration(errors, toleration, &path.child("tolerations").index(index));
    }
}

/// Driver, pool and name of a device.
fn device(errors: &mut Errors, of: &Value, path: &Path) {
    request::driver(errors, of.fields(), "driver", path);
    slice::pool_name(errors, of.fields(), "pool", path);
    check::required_name(errors, names::dns1123_label, of.fields(), "device", path);
    let share = of.text("shareID");
    if of.has("shareID") && (share != share.to_lowercase() || !is_uuid(share)) {
        let detail = "must be a lowercase UUID in 8-4-4-4-12 format";
        errors.push(Error::invalid(&path.child("shareID"), share, detail));
    }
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    groups == [8, 4, 4, 4, 12] && text.chars().all(|letter| letter == '-' || letter.is_ascii_hexdigit())
}

/// The conditions to wait for, and those that end the wait (upstream: `validateDeviceBindingParameters`).
pub(super) fn binding(errors: &mut Errors, result: &Value, path: &Path) {
    let lists @ [waits, fails] = ["bindingConditions", "bindingFailureConditions"];
    for list in lists {
        let (conditions, path) = (result.list(list), path.child(list));
        if conditions.len() > MAX_BINDING {
            errors.push(Error::too_many(&path, conditions.len(), MAX_BINDING));
        }
        for (index, condition) in result.texts(list).enumerate() {
            let path = path.index(index);
            check::named(errors, names::qualified_name, condition, &path);
            if conditions[..index].iter().any(|other| other == condition) {
                errors.push(Error::duplicate(&path, condition));
            }
            if list == fails && result.texts(waits).any(|other| other == condition) {
                let detail = "bindingFailureConditions must not overlap with bindingConditions";
                errors.push(Error::invalid(&path, condition, detail));
            }
        }
    }
    for (missing, given) in [(waits, fails), (fails, waits)] {
        if result.list(missing).is_empty() && !result.list(given).is_empty() {
            let detail = format!("{missing} are required to use {given}");
            errors.push(Error::invalid(&path.child(missing), Value::Null, detail));
        }
    }
}

/// Which device it is, as one word.
fn identity(of: &Value) -> String {
    let share = of.value("shareID").map_or_else(String::new, |_| format!("/{}", of.text("shareID")));
    format!("{}/{}/{}{share}", of.text("driver"), of.text("pool"), of.text("device"))
}

/// `status.devices`: only devices that the claim got (upstream: `validateDeviceStatus`).
pub(super) fn devices(errors: &mut Errors, status: &Map<String, Value>, path: &Path) {
    let allocated = status.object("allocation").object("devices").list("results");
    let allocated: HashSet<String> = allocated.iter().map(identity).collect();
    let mut seen = HashSet::new();
    for (index, one) in status.list("devices").iter().enumerate() {
        let (path, identity) = (path.child("devices").index(index), identity(one));
        device(errors, one, &path);
        if !allocated.contains(&identity) {
            errors.push(Error::invalid(&path, identity.as_str(), "must be an allocated device in the claim"));
        }
        let conditions = one.list("conditions");
        if conditions.len() > MAX_CONDITIONS {
            errors.push(Error::too_many(&path.child("conditions"), conditions.len(), MAX_CONDITIONS));
        }
        check::conditions(errors, conditions, &path.child("conditions"));
        if let Some(data) = one.value("data") {
            request::parameters(errors, data, MAX_DATA, &path.child("data"));
        }
        network(errors, one.object("networkData"), &path.child("networkData"));
        if seen.contains(&identity) {
            errors.push(Error::duplicate(&path, identity.as_str()));
        }
        seen.insert(identity);
    }
}

fn network(errors: &mut Errors, data: &Map<String, Value>, path: &Path) {
    for (field, most) in [("interfaceName", 256), ("hardwareAddress", 128)] {
        if data.text(field).len() > most {
            errors.push(Error::too_long(&path.child(field), most));
        }
    }
    let (addresses, path) = (data.list("ips"), path.child("ips"));
    if addresses.len() > MAX_ADDRESSES {
        errors.push(Error::too_many(&path, addresses.len(), MAX_ADDRESSES));
    }
    for (index, address) in data.texts("ips").enumerate() {
        let path = path.index(index);
        if !is_interface_address(address) {
            let detail = "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)";
            errors.push(Error::invalid(&path, address, detail));
        }
        if addresses[..index].iter().any(|other| other == address) {
            errors.push(Error::duplicate(&path, address));
        }
    }
}

/// An address and how much of it is the network's, as Go writes them.
fn is_interface_address(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let Ok(address) = address.parse::<std::net::IpAddr>() else { return false };
    let most = if address.is_ipv4() { 32 } else { 128 };
    bits.parse::<u8>().is_ok_and(|count| count <= most && count.to_string() == bits)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(errors: &Errors, within: &str) -> Vec<String> {
        errors.iter().map(|error| error.field.to_string().replacen(within, "", 1)).collect()
    }

    #[test]
    fn results_are_checked() {
        let spec =
            json!({"devices": {"requests": [{"name": "gpu"}, {"name": "any", "firstAvailable": [{"name": "a"}]}]}});
        let judge = |allocation: Value| {
            let mut errors = Errors::new();
            self::allocation(&mut errors, allocation.fields(), spec.fields(), &Path::new("status.allocation"));
            errors
        };
        let result = |request: &str| json!({"request": request, "driver": "gpu.example", "pool": "p", "device": "d"});
        assert!(judge(json!({"devices": {"results": [result("gpu"), result("any/a")]}})).is_empty());
        let mut wrong = result("gpu");
        wrong["shareID"] = json!("X");
        wrong["bindingConditions"] = json!(["ready", "ready"]);
        wrong["tolerations"] = json!([{"operator": "Exists", "value": "x"}]);
        let config = json!([{"source": "Else", "requests": ["gpu"]}]);
        let found = judge(json!({"devices": {"results": [result("cpu"), result("a/b/c"), wrong], "config": config}}));
        let expected = [
            "results[0].request",
            "results[1].request",
            "results[2].shareID",
            "results[2].bindingConditions[1]",
            "results[2].bindingFailureConditions",
            "results[2].tolerations[0].value",
            "config[0].source",
            "config[0].opaque",
        ];
        assert_eq!(fields(&found, "status.allocation.devices."), expected);
    }

    #[test]
    fn devices_are_of_the_claim() {
        let one = json!({"driver": "gpu.example", "pool": "p", "device": "d"});
        let judge = |devices: Value| {
            let mut errors = Errors::new();
            let status = json!({"allocation": {"devices": {"results": [one]}}, "devices": devices});
            self::devices(&mut errors, status.fields(), &Path::new("status"));
            errors
        };
        let mut right = one.clone();
        right["networkData"] = json!({"ips": ["10.9.8.7/24"]});
        assert!(judge(json!([right])).is_empty());
        let mut wrong = one.clone();
        wrong["networkData"] = json!({"ips": ["10.9.8.7", "::1/129"], "interfaceName": "i".repeat(257)});
        wrong["data"] = json!([1]);
        wrong["conditions"] = json!([{"type": "Ready"}]);
        let other = json!({"driver": "gpu.example", "pool": "p", "device": "e"});
        let expected = [
            "[1].conditions[0].status",
            "[1].conditions[0].lastTransitionTime",
            "[1].conditions[0].reason",
            "[1].data",
            "[1].networkData.interfaceName",
            "[1].networkData.ips[0]",
            "[1].networkData.ips[1]",
            "[1]",
            "[2]",
        ];
        assert_eq!(fields(&judge(json!([one, wrong, other])), "status.devices"), expected);
    }
}
