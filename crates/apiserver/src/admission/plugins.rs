//! The plugins: their order, which of them are on by default, and the chain that a configuration makes of them
//! (upstream: pkg/kubeapiserver/options/plugins.go).

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use store::Store;

use super::{
    Chain, Config, ConfigError, Plugin, always, always_pull_images, default_ingress_class, default_storage_class,
    default_toleration_seconds, deny_service_external_ips, dynamic_resources, event_rate_limit,
    extended_resource_toleration, image_policy_webhook, limit_pod_hard_anti_affinity_topology, limit_ranger,
    namespace_auto_provision, namespace_exists, namespace_lifecycle, node_restriction, owner_references_permission,
    pod_node_selector, pod_security, pod_toleration_restriction, pod_topology_labels, priority, pvc_resize,
    resource_quota, runtime_class, service_account, storage_protection, taint_nodes_by_condition, webhook,
};

/// What a plugin is made of.
struct Parts<'a> {
    store: &'a Arc<dyn Store>,
    /// The plugin's own configuration.
    config: Option<&'a Value>,
}

type Make = fn(&Parts<'_>) -> Result<Box<dyn Plugin>, ConfigError>;

/// A place in the order of plugins.
struct Place {
    name: &'static str,
    on: bool,
    /// How the plugin is made; those without are handed to [`Chain::build`] by whoever has what they need.
    make: Option<Make>,
}

const fn on(name: &'static str, make: Make) -> Place {
    Place { name, on: true, make: Some(make) }
}

const fn off(name: &'static str, make: Make) -> Place {
    Place { name, on: false, make: Some(make) }
}

const fn given(name: &'static str) -> Place {
    Place { name, on: true, make: None }
}

/// Upstream's `AllOrderedPlugins` and `DefaultOffAdmissionPlugins`.
static ORDER: &[Place] = &[
    off("AlwaysAdmit", |_| Ok(Box::new(always::AlwaysAdmit))),
    off("NamespaceAutoProvision", |_| Ok(Box::new(namespace_auto_provision::NamespaceAutoProvision))),
    on("NamespaceLifecycle", |_| Ok(Box::new(namespace_lifecycle::NamespaceLifecycle))),
    off("NamespaceExists", |_| Ok(Box::new(namespace_exists::NamespaceExists))),
    off("LimitPodHardAntiAffinityTopology", |_| {
        Ok(Box::new(limit_pod_hard_anti_affinity_topology::LimitPodHardAntiAffinityTopology))
    }),
    on("LimitRanger", |parts| Ok(Box::new(limit_ranger::LimitRanger::new(parts.store)))),
    on("ServiceAccount", |_| Ok(Box::new(service_account::ServiceAccount))),
    on("NodeRestriction", |_| Ok(Box::new(node_restriction::NodeRestriction))),
    on("TaintNodesByCondition", |_| Ok(Box::new(taint_nodes_by_condition::TaintNodesByCondition))),
    off("AlwaysPullImages", |_| Ok(Box::new(always_pull_images::AlwaysPullImages))),
    off("ImagePolicyWebhook", |parts| Ok(Box::new(image_policy_webhook::ImagePolicyWebhook::new(parts.config)?))),
    on("PodSecurity", |parts| Ok(Box::new(pod_security::PodSecurity::new(parts.store, parts.config)?))),
    off("PodNodeSelector", |parts| Ok(Box::new(pod_node_selector::PodNodeSelector::new(parts.config)?))),
    on("Priority", |parts| Ok(Box::new(priority::Priority::new(parts.store)))),
    on("DefaultTolerationSeconds", |_| Ok(Box::new(default_toleration_seconds::DefaultTolerationSeconds))),
    off("PodTolerationRestriction", |parts| {
        Ok(Box::new(pod_toleration_restriction::PodTolerationRestriction::new(parts.config)?))
    }),
    off("EventRateLimit", |parts| Ok(Box::new(event_rate_limit::EventRateLimit::new(parts.config)?))),
    off("ExtendedResourceToleration", |_| Ok(Box::new(extended_resource_toleration::ExtendedResourceToleration))),
    on("DefaultStorageClass", |parts| Ok(Box::new(default_storage_class::DefaultStorageClass::new(parts.store)))),
    on("StorageObjectInUseProtection", |_| Ok(Box::new(storage_protection::StorageObjectInUseProtection))),
    off("OwnerReferencesPermissionEnforcement", |_| {
        Ok(Box::new(owner_references_permission::OwnerReferencesPermissionEnforcement))
    }),
    on("PersistentVolumeClaimResize", |_| Ok(Box::new(pvc_resize::PersistentVolumeClaimResize))),
    on("RuntimeClass", |_| Ok(Box::new(runtime_class::RuntimeClass))),
    given("CertificateApproval"),
    given("CertificateSigning"),
    given("ClusterTrustBundleAttest"),
    given("CertificateSubjectRestriction"),
    on("DefaultIngressClass", |parts| Ok(Box::new(default_ingress_class::DefaultIngressClass::new(parts.store)))),
    off("DenyServiceExternalIPs", |_| Ok(Box::new(deny_service_external_ips::DenyServiceExternalIPs))),
    on("PodTopologyLabels", |_| Ok(Box::new(pod_topology_labels::PodTopologyLabels))),
    given(OTHERS),
    on("DynamicResources", |_| Ok(Box::new(dynamic_resources::DynamicResources))),
    given("MutatingAdmissionPolicy"),
    on("MutatingAdmissionWebhook", |parts| Ok(Box::new(webhook::MutatingAdmissionWebhook::new(parts.store)))),
    given("ValidatingAdmissionPolicy"),
    on("ValidatingAdmissionWebhook", |parts| Ok(Box::new(webhook::ValidatingAdmissionWebhook::new(parts.store)))),
    on("ResourceQuota", |parts| Ok(Box::new(resource_quota::ResourceQuota::new(parts.store, parts.config)?))),
    off("AlwaysDeny", |_| Ok(Box::new(always::AlwaysDeny))),
];

/// The place of plugins that upstream does not have: before all that users configure.
const OTHERS: &str = "";

fn place_of(name: &str) -> usize {
    let find = |name: &str| ORDER.iter().position(|place| place.name == name);
    find(name).or_else(|| find(OTHERS)).unwrap_or(ORDER.len())
}

impl Chain {
    /// The plugins that `config` asks for, and `further` ones, all in upstream's order.
    pub fn build(
        config: &Config,
        store: &Arc<dyn Store>,
        mut further: Vec<Box<dyn Plugin>>,
    ) -> Result<Self, ConfigError> {
        let known = |name: &str| {
            ORDER.iter().any(|place| place.name == name && place.make.is_some())
                || further.iter().any(|plugin| plugin.name() == name)
        };
        check_names(config, known)?;
        for name in config.plugins.keys().filter(|name| !known(name)) {
            tracing::warn!(plugin = name, "there is no such admission plugin to be configured");
        }
        let is_on = |name: &str, default: bool| {
            let named = |list: &[String]| list.iter().any(|one| one == name);
            named(&config.enable_admission_plugins) || default && !named(&config.disable_admission_plugins)
        };
        further.retain(|plugin| is_on(plugin.name(), true));
        for place in ORDER.iter().filter(|place| is_on(place.name, place.on)) {
            let taken = further.iter().any(|plugin| plugin.name() == place.name);
            if let Some(make) = place.make.filter(|_| !taken) {
                further.push(make(&Parts { store, config: config.plugins.get(place.name) })?);
            }
        }
        further.sort_by_key(|plugin| place_of(plugin.name()));
        Ok(Self::new(further))
    }
}

/// Upstream: `AdmissionOptions.Validate`.
fn check_names(config: &Config, known: impl Fn(&str) -> bool) -> Result<(), ConfigError> {
    for (option, names) in [
        ("enable-admission-plugins", &config.enable_admission_plugins),
        ("disable-admission-plugins", &config.disable_admission_plugins),
    ] {
        if let Some(name) = names.iter().find(|name| !known(name)) {
            return Err(ConfigError::Unknown { option, name: name.clone() });
        }
    }
    let disabled: BTreeSet<&String> = config.disable_admission_plugins.iter().collect();
    let enabled: BTreeSet<&String> = config.enable_admission_plugins.iter().collect();
    let both: Vec<&str> = enabled.intersection(&disabled).map(|name| name.as_str()).collect();
    if both.is_empty() { Ok(()) } else { Err(ConfigError::Overlap(both.join(" "))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Canonical;
    use expect_test::{Expect, expect};

    fn chain(enable: &[&str], disable: &[&str]) -> Result<Chain, ConfigError> {
        let store = store::Embedded::in_memory(Arc::new(Canonical::default()));
        let names = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        let config = Config {
            enable_admission_plugins: names(enable),
            disable_admission_plugins: names(disable),
            ..Config::default()
        };
        let store: Arc<dyn Store> = store;
        Chain::build(&config, &store, Vec::new())
    }

    fn check(enable: &[&str], disable: &[&str], expected: Expect) {
        let text = match chain(enable, disable) {
            Ok(chain) => format!("{chain:?}"),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&text);
    }

    #[tokio::test]
    async fn plugins_are_turned_on_and_off_by_name() {
        let all = format!("{:?}", chain(&[], &[]).expect("the defaults"));
        assert!(all.starts_with("[\"NamespaceLifecycle\", \"LimitRanger\", \"ServiceAccount\""), "{all}");
        assert!(!all.contains("AlwaysPullImages"), "{all}");
        let changed = format!("{:?}", chain(&["AlwaysPullImages"], &["LimitRanger"]).expect("known names"));
        assert!(changed.contains("\"TaintNodesByCondition\", \"AlwaysPullImages\""), "{changed}");
        assert!(!changed.contains("LimitRanger"), "{changed}");
        check(&["Nope"], &[], expect![[r#"enable-admission-plugins plugin "Nope" is unknown"#]]);
        check(&[], &["Nope"], expect![[r#"disable-admission-plugins plugin "Nope" is unknown"#]]);
        check(
            &["LimitRanger"],
            &["LimitRanger"],
            expect!["[LimitRanger] in enable-admission-plugins and disable-admission-plugins overlapped"],
        );
    }
}
