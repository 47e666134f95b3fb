//! Ports that several containers of a pod have.

use std::collections::HashMap;

use apimachinery::field::Path;
use serde_json::{Map, Value};

use super::containers::LISTS;
use crate::json::Read;

#[derive(Clone)]
struct Port<'a> {
    path: Path,
    host_ip: &'a str,
    host_port: i64,
}

pub(super) fn ports(found: &mut Vec<String>, spec: &Map<String, Value>, path: &Path) {
    let all = || {
        LISTS.into_iter().flat_map(|list| {
            spec.list(list).iter().enumerate().flat_map(move |(index, container)| {
                let path = path.child(list).index(index).child("ports");
                container.list("ports").iter().enumerate().map(move |(index, port)| (port, path.index(index)))
            })
        })
    };
    let mut known: HashMap<(i64, &str), Vec<Port<'_>>> = HashMap::new();
    for (port, path) in all() {
        let (number, protocol) = (port.int("containerPort").unwrap_or_default(), port.text("protocol"));
        let this = Port { path, host_ip: port.text("hostIP"), host_port: port.int("hostPort").unwrap_or_default() };
        if !this.host_ip.is_empty() && this.host_port == 0 {
            // As Go prints the port.
            let shown = format!(
                "{{Name:{} HostPort:0 ContainerPort:{number} Protocol:{protocol} HostIP:{}}}",
                port.text("name"),
                this.host_ip
            );
            found.push(format!("{}: hostIP set without hostPort: {shown}", this.path));
        }
        let others = known.entry((number, protocol)).or_default();
        for other in others.iter() {
            found.extend(
                conflict(&this, other)
                    .map(|words| format!("{}: {words} port definition with {}", this.path, other.path)),
            );
        }
        others.push(this);
    }
    let mut names: HashMap<&str, Path> = HashMap::new();
    for (port, path) in all().filter(|(port, _)| !port.text("name").is_empty()) {
        let name = port.text("name");
        if let Some(other) = names.get(name) {
            found.push(format!(
                "{path}: duplicate port name {name:?} with {other}, services and probes that select ports by name will use {other}"
            ));
        } else {
            names.insert(name, path);
        }
    }
}

/// What two definitions of a port are to each other.
fn conflict(one: &Port<'_>, other: &Port<'_>) -> Option<&'static str> {
    if one.host_ip == other.host_ip && one.host_port == other.host_port {
        Some("duplicate")
    } else if one.host_port == 0 || other.host_port == 0 {
        Some("overlapping")
    } else if one.host_port == other.host_port && one.host_ip.is_empty() != other.host_ip.is_empty() {
        Some("dangerously ambiguous")
    } else {
        None
    }
}
