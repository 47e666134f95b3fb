//! Definition names, short and long: a module of the crate and of its build script.

/// Prefixes of definition names that the table of schemas writes shorter.
const PREFIXES: &[(&str, &str)] = &[
    ("meta.v1.", "io.k8s.apimachinery.pkg.apis.meta.v1."),
    ("resource.Quantity", "io.k8s.apimachinery.pkg.api.resource.Quantity"),
    ("intstr.", "io.k8s.apimachinery.pkg.util.intstr."),
    ("runtime.", "io.k8s.apimachinery.pkg.runtime."),
    ("version.", "io.k8s.apimachinery.pkg.version."),
    ("apiextensions.v1.", "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."),
    ("apiregistration.v1.", "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1."),
    ("", "io.k8s.api."),
];

/// `io.k8s.api.core.v1.Pod` as the table writes it, `core.v1.Pod`.
pub fn short_name(full: &str) -> String {
    PREFIXES
        .iter()
        .find_map(|(short, long)| Some(format!("{short}{}", full.strip_prefix(long)?)))
        .unwrap_or_else(|| full.to_owned())
}

/// `core.v1.Pod` as OpenAPI names it, `io.k8s.api.core.v1.Pod`.
#[allow(dead_code, reason = "the build script needs the other direction alone")]
pub fn full_name(short: &str) -> String {
    PREFIXES
        .iter()
        .find_map(|(prefix, long)| Some(format!("{long}{}", short.strip_prefix(prefix)?)))
        .unwrap_or_else(|| short.to_owned())
}
