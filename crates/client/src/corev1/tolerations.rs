//! Taints and the tolerations that bear them (upstream: component-helpers/scheduling/corev1/helpers.go).

use k8s_openapi::api::core::v1::{Taint, Toleration};

/// Whether a toleration bears a taint; one without effect bears every effect, one without key every key.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let given = |field: &Option<String>| field.as_deref().unwrap_or_default().to_owned();
    let (effect, key) = (given(&toleration.effect), given(&toleration.key));
    if (!effect.is_empty() && effect != taint.effect) || (!key.is_empty() && key != taint.key) {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or_default() {
        "Exists" => true,
        "" | "Equal" => given(&toleration.value) == taint.value.as_deref().unwrap_or_default(),
        _ => false,
    }
}

/// Whether any of the tolerations bears the taint.
pub fn any_tolerates(tolerations: &[Toleration], taint: &Taint) -> bool {
    tolerations.iter().any(|toleration| tolerates(toleration, taint))
}

/// The first taint that keeps a pod off a node (`NoSchedule`, `NoExecute`) and that no toleration bears.
pub fn first_untolerated<'a>(taints: &'a [Taint], tolerations: &[Toleration]) -> Option<&'a Taint> {
    let keeps_off = |taint: &&Taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
    taints.iter().filter(keeps_off).find(|taint| !any_tolerates(tolerations, taint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_bears_what() {
        let taint =
            Taint { key: "role".into(), value: Some("db".into()), effect: "NoSchedule".into(), time_added: None };
        let toleration = |key: &str, operator: &str, value: &str, effect: &str| Toleration {
            key: Some(key.into()),
            operator: Some(operator.into()),
            value: Some(value.into()),
            effect: Some(effect.into()),
            toleration_seconds: None,
        };
        for (borne_by, expected) in [
            (toleration("role", "Equal", "db", "NoSchedule"), true),
            (toleration("role", "", "db", ""), true),
            (toleration("role", "Equal", "web", "NoSchedule"), false),
            (toleration("role", "Exists", "", ""), true),
            (toleration("", "Exists", "", ""), true),
            (toleration("role", "Exists", "", "NoExecute"), false),
            (toleration("other", "Exists", "", ""), false),
        ] {
            assert_eq!(tolerates(&borne_by, &taint), expected, "{borne_by:?}");
        }
    }
}
