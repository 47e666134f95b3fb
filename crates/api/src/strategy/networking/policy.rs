//! Network policies.

use apimachinery::Object;
use apimachinery::field::{self, Error, Path};
use serde_json::{Map, Value};

use crate::check::{self, Errors, spelling};
use crate::json::{Read, Write};
use crate::resource::Strategy;

/// The strategy of network policies.
pub(crate) struct NetworkPolicy;

impl Strategy for NetworkPolicy {
    fn default(&self, object: &mut Object) {
        let Some(spec) = object.object_made("spec") else { return };
        if spec.list("policyTypes").is_empty() {
            let mut types = vec!["Ingress"];
            if !spec.list("egress").is_empty() {
                types.push("Egress");
            }
            spec.insert("policyTypes".into(), types.into());
        }
        spec.default_to("podSelector", Map::new());
        for direction in ["ingress", "egress"] {
            for rule in spec.items_mut(direction) {
                rule.items_mut("ports").for_each(|port| port.default_to("protocol", "TCP"));
            }
        }
    }

    fn validate(&self, object: &Object) -> Vec<field::Error> {
        validate_spec(object.object("spec"), &[])
    }

    /// A block that was anywhere in the policy before may be anywhere in it: nobody can tell what became of which.
    fn validate_update(&self, object: &Object, old: &Object) -> Vec<field::Error> {
        let rules = DIRECTIONS.iter().flat_map(|(direction, peers)| {
            old.object("spec").list(direction).iter().flat_map(move |rule| rule.list(peers))
        });
        let known: Vec<&str> = rules
            .map(|peer| peer.object("ipBlock"))
            .flat_map(|block| std::iter::once(block.text("cidr")).chain(block.texts("except")))
            .collect();
        validate_spec(object.object("spec"), &known)
    }

    fn judges_updates_alone(&self) -> bool {
        true
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        let (mut found, path) = (Vec::new(), Path::new("spec"));
        for (direction, peers) in DIRECTIONS {
            for (index, rule) in object.object("spec").list(direction).iter().enumerate() {
                let path = path.child(direction).index(index);
                for (index, peer) in rule.list(peers).iter().enumerate().filter(|(_, peer)| peer.has("ipBlock")) {
                    let (block, path) = (peer.object("ipBlock"), path.child(peers).index(index).child("ipBlock"));
                    spelling::of_cidr(&mut found, block.text("cidr"), &path.child("cidr"));
                    for (index, hole) in block.texts("except").enumerate() {
                        spelling::of_cidr(&mut found, hole, &path.child("except").index(index));
                    }
                }
            }
        }
        found
    }
}

/// Lists of rules, each with the list of peers in them.
const DIRECTIONS: [(&str, &str); 2] = [("ingress", "from"), ("egress", "to")];

fn validate_spec(spec: &Map<String, Value>, known: &[&str]) -> Errors {
    let (mut errors, path) = (Errors::new(), Path::new("spec"));
    check::label_selector(&mut errors, spec, "podSelector", &path);
    for (direction, peers) in DIRECTIONS {
        for (index, rule) in spec.list(direction).iter().enumerate() {
            let path = path.child(direction).index(index);
            policy_ports(&mut errors, rule.list("ports"), &path.child("ports"));
            for (index, one) in rule.list(peers).iter().enumerate() {
                peer(&mut errors, one, known, &path.child(peers).index(index));
            }
        }
    }
    let types: Vec<&str> = spec.texts("policyTypes").collect();
    if types.len() > 2 {
        errors.push(Error::invalid(&path.child("policyTypes"), types, "may not specify more than two policyTypes"));
        return errors;
    }
    for (index, direction) in types.into_iter().enumerate() {
        if !matches!(direction, "Ingress" | "Egress") {
            let path = path.child("policyTypes").index(index);
            errors.push(Error::not_supported(&path, direction, &["Ingress", "Egress"]));
        }
    }
    errors
}

fn policy_ports(errors: &mut Errors, ports: &[Value], path: &Path) {
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        check::one_of(errors, port.fields(), "protocol", &["TCP", "UDP", "SCTP"], &path);
        if port.has("port") {
            check::port_number_or_name(errors, port.value("port"), &path.child("port"));
        }
        let Some(end) = port.int("endPort") else { continue };
        let path = path.child("endPort");
        match (port.has("port"), port.int("port")) {
            (false, _) => errors.push(Error::invalid(&path, end, "may not be specified when `port` is not specified")),
            (true, None) => errors.push(Error::invalid(&path, end, "may not be specified when `port` is non-numeric")),
            (true, Some(first)) => {
                if end < first {
                    errors.push(Error::invalid(&path, end, "must be greater than or equal to `port`"));
                }
                check::port_number(errors, end, &path);
            }
        }
    }
}

fn peer(errors: &mut Errors, peer: &Value, known: &[&str], path: &Path) {
    if peer.fields().is_empty() {
        errors.push(Error::required(path, "must specify a peer"));
    }
    for selector in ["podSelector", "namespaceSelector"] {
        check::label_selector(errors, peer.fields(), selector, path);
    }
    if !peer.has("ipBlock") {
        return;
    }
    if peer.has("podSelector") || peer.has("namespaceSelector") {
        errors.push(Error::forbidden(path, "may not specify both ipBlock and another peer"));
    }
    let (block, path) = (peer.object("ipBlock"), path.child("ipBlock"));
    if check::required(errors, block, "cidr", &path) {
        check::cidr_or_known(errors, block.text("cidr"), known, &path.child("cidr"));
    }
    for (index, hole) in block.texts("except").enumerate() {
        let path = path.child("except").index(index);
        check::cidr_or_known(errors, hole, known, &path);
        if let (Ok(all), Ok(part)) = (block.text("cidr").parse::<ipnet::IpNet>(), hole.parse::<ipnet::IpNet>())
            && (!all.contains(&part) || all == part)
        {
            errors.push(Error::invalid(&path, hole, "must be a strict subset of `cidr`"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn check(spec: Value, expected: &Expect) {
        let mut object = Object::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).expect("an object");
        NetworkPolicy.default(&mut object);
        let errors = NetworkPolicy.validate(&object);
        expected.assert_eq(&errors.iter().map(|error| format!("{error}\n")).collect::<String>());
    }

    /// Upstream: `ValidateNetworkPolicyUpdate`.
    #[test]
    fn blocks_of_older_rules_may_move_but_not_come() {
        let policy = |from: Value, to: Value| {
            let block = |block: Value| json!([{ "ipBlock": block }]);
            let spec = json!({ "ingress": [{ "from": block(from) }], "egress": [{ "to": block(to) }] });
            Object::from_value(json!({ "spec": spec })).expect("an object")
        };
        let old = policy(json!({"cidr": "10.0.0.0/8", "except": ["10.1.2.3/16"]}), json!({"cidr": "11.0.0.1/8"}));
        assert_eq!(NetworkPolicy.validate(&old).len(), 2);
        assert_eq!(
            NetworkPolicy.warnings(&old)[1],
            "spec.egress[0].to[0].ipBlock.cidr: CIDR value \"11.0.0.1/8\" is ambiguous in this context (should be \"11.0.0.0/8\" or \"11.0.0.1/32\"?)"
        );
        let moved = policy(json!({"cidr": "11.0.0.1/8"}), json!({"cidr": "10.1.2.3/16"}));
        assert!(NetworkPolicy.validate_update(&moved, &old).is_empty());
        let come = policy(json!({"cidr": "10.0.0.0/8"}), json!({"cidr": "10.1.2.4/16"}));
        let errors: Vec<String> = NetworkPolicy.validate_update(&come, &old).iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            [
                "spec.egress[0].to[0].ipBlock.cidr: Invalid value: \"10.1.2.4/16\": must not have bits set beyond the prefix length"
            ]
        );
    }

    #[test]
    fn policies_are_checked() {
        check(
            json!({
                "ingress": [{
                    "ports": [
                        {"protocol": "ICMP", "port": 80, "endPort": 70},
                        {"endPort": 5},
                        {"port": "web", "endPort": 5},
                        {"port": 0},
                    ],
                    "from": [
                        {},
                        {"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8", "11.0.0.0/16", "10.1.0.0/16"]}},
                        {"ipBlock": {}},
                    ],
                }],
            }),
            &expect![[r#"
                spec.ingress[0].ports[0].protocol: Unsupported value: "ICMP": supported values: "TCP", "UDP", "SCTP"
                spec.ingress[0].ports[0].endPort: Invalid value: 70: must be greater than or equal to `port`
                spec.ingress[0].ports[1].endPort: Invalid value: 5: may not be specified when `port` is not specified
                spec.ingress[0].ports[2].endPort: Invalid value: 5: may not be specified when `port` is non-numeric
                spec.ingress[0].ports[3].port: Invalid value: 0: must be between 1 and 65535, inclusive
                spec.ingress[0].from[0]: Required value: must specify a peer
                spec.ingress[0].from[1]: Forbidden: may not specify both ipBlock and another peer
                spec.ingress[0].from[1].ipBlock.except[0]: Invalid value: "10.0.0.0/8": must be a strict subset of `cidr`
                spec.ingress[0].from[1].ipBlock.except[1]: Invalid value: "11.0.0.0/16": must be a strict subset of `cidr`
                spec.ingress[0].from[2].ipBlock.cidr: Required value
            "#]],
        );
        check(
            json!({"policyTypes": ["Ingress", "Egress", "Ingress"]}),
            &expect![[r#"
                spec.policyTypes: Invalid value: ["Ingress","Egress","Ingress"]: may not specify more than two policyTypes
            "#]],
        );
        check(
            json!({"egress": [{"ports": [{"port": 80, "endPort": 90}], "to": [{"podSelector": {}}]}]}),
            &expect![[""]],
        );
    }
}
