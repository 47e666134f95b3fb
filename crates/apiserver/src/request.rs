//! [`RequestInfo`]: what a request asks for, read off its method and path
//! (upstream: staging/src/k8s.io/apiserver/pkg/endpoints/request/requestinfo.go).

use apimachinery::{Attributes, Selectors, UserInfo, fields, labels};
use http::Method;
use http::request::Parts;

/// The words of a request: verb, group, version, resource, namespace, name, subresource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestInfo {
    /// Whether the path is below `/api` or `/apis` and names a resource.
    pub is_resource: bool,
    /// The path, as sent.
    pub path: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; for other paths the HTTP
    /// method in lower case.
    pub verb: String,
    /// The API group; empty for the core group.
    pub group: String,
    /// The version, as `v1`.
    pub version: String,
    /// The namespace, or empty.
    pub namespace: String,
    /// The resource in the plural, as `pods`.
    pub resource: String,
    /// The object's name, or empty.
    pub name: String,
    /// The subresource, or empty.
    pub subresource: String,
    /// What follows the subresource (the path that a proxy forwards), with its leading slash.
    pub rest: String,
}

impl RequestInfo {
    /// Reads the request line.
    pub fn parse(parts: &Parts, query: &Query) -> Self {
        let path = parts.uri.path();
        let mut info = Self { path: path.to_owned(), verb: method_verb(&parts.method), ..Self::default() };
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        let mut rest = match segments.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => {
                info.version = decode(version);
                rest
            }
            ["apis", group, version, rest @ ..] if !rest.is_empty() => {
                info.group = decode(group);
                info.version = decode(version);
                rest
            }
            _ => {
                info.verb = parts.method.as_str().to_ascii_lowercase();
                return info;
            }
        };
        info.is_resource = true;
        let legacy_watch = rest[0] == "watch" && rest.len() > 1;
        if legacy_watch {
            rest = &rest[1..];
        }
        if rest[0] == "namespaces" && rest.len() > 1 {
            info.namespace = decode(rest[1]);
            if rest.len() > 2 && !matches!(rest[2], "status" | "finalize") {
                rest = &rest[2..];
            }
        }
        info.resource = decode(rest[0]);
        info.name = rest.get(1).map(|name| decode(name)).unwrap_or_default();
        info.subresource = rest.get(2).map(|name| decode(name)).unwrap_or_default();
        info.rest = if rest.len() > 3 || (rest.len() == 3 && path.ends_with('/')) {
            path_after(path, rest)
        } else {
            String::new()
        };
        info.settle_verb(legacy_watch, query);
        info
    }

    fn settle_verb(&mut self, legacy_watch: bool, query: &Query) {
        if legacy_watch {
            self.verb = "watch".into();
            return;
        }
        match self.verb.as_str() {
            "get" if self.name.is_empty() => {
                self.verb = if query.is_true("watch") { "watch" } else { "list" }.into();
                if let Some(name) = query.get("fieldSelector").and_then(name_of_selector) {
                    self.name = name;
                }
            }
            "delete" if self.name.is_empty() => self.verb = "deletecollection".into(),
            _ => {}
        }
    }

    /// The request of `user`, as those see it who judge it.
    pub fn attributes<'a>(&'a self, user: &'a UserInfo, selectors: Option<&'a Selectors>) -> Attributes<'a> {
        Attributes {
            user,
            verb: &self.verb,
            group: &self.group,
            version: &self.version,
            resource: &self.resource,
            subresource: &self.subresource,
            namespace: &self.namespace,
            name: &self.name,
            is_resource: self.is_resource,
            path: &self.path,
            selectors,
        }
    }

    /// What the request is limited to; selectors that do not parse limit nothing, the verb will refuse them.
    pub fn selectors(&self, query: &Query) -> Option<Selectors> {
        if !matches!(self.verb.as_str(), "list" | "watch" | "deletecollection") {
            return None;
        }
        let (fields, labels) = (query.get("fieldSelector"), query.get("labelSelector"));
        if fields.is_none() && labels.is_none() {
            return None;
        }
        Some(Selectors {
            fields: fields.and_then(|text| fields::Selector::parse(text).ok()).unwrap_or_default(),
            labels: labels.and_then(|text| labels::Selector::parse(text).ok()).unwrap_or_default(),
        })
    }

    /// Whether the verb changes nothing.
    pub fn is_read_only(&self) -> bool {
        matches!(self.verb.as_str(), "get" | "list" | "watch" | "head" | "options")
    }
}

fn method_verb(method: &Method) -> String {
    match method.as_str() {
        "GET" | "HEAD" => "get",
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        other => return other.to_ascii_lowercase(),
    }
    .into()
}

/// The path below the third remaining segment, where `rest` are the remaining segments of `path`.
fn path_after(path: &str, rest: &[&str]) -> String {
    let tail: usize = rest.iter().skip(3).map(|segment| segment.len() + 1).sum();
    let trimmed = path.trim_end_matches('/');
    let slash = path.ends_with('/');
    let start = trimmed.len().saturating_sub(tail);
    let mut text = trimmed[start..].to_owned();
    if slash || text.is_empty() {
        text.push('/');
    }
    text
}

/// The name that a field selector pins, when it is `metadata.name=x` (alone or with others).
fn name_of_selector(selector: &str) -> Option<String> {
    selector.split(',').find_map(|term| {
        let (field, name) = term.split_once("==").or_else(|| term.split_once('='))?;
        (field.trim() == "metadata.name" && !name.is_empty()).then(|| name.trim().to_owned())
    })
}

/// Undoes percent-encoding; what is no valid escape stays as it is.
pub fn decode(text: &str) -> String {
    decode_with(text, false)
}

fn decode_with(text: &str, plus_is_space: bool) -> String {
    let has_spaces = plus_is_space && text.contains('+');
    if !text.contains('%') && !has_spaces {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escaped {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(if plus_is_space && bytes[at] == b'+' { b' ' } else { bytes[at] });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The query of a request: names and values, decoded, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Takes the text after `?` apart.
    pub fn parse(text: Option<&str>) -> Self {
        let pairs = text.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode_with(name, true), decode_with(value, true))
                })
                .collect(),
        )
    }

    /// The first value of a name; an empty value counts as missing.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Whether the name is there at all, with a value or without.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }

    /// Every value of a name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether the name is there and not `false` or `0` (upstream: conversion of query strings to bool).
    pub fn is_true(&self, name: &str) -> bool {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .is_some_and(|(_, value)| !value.eq_ignore_ascii_case("false") && value != "0")
    }

    /// The pairs.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(method: &str, uri: &str) -> String {
        let (parts, ()) = http::Request::builder().method(method).uri(uri).body(()).expect("a request").into_parts();
        let info = RequestInfo::parse(&parts, &Query::parse(parts.uri.query()));
        format!(
            "{} {} g={} v={} ns={} r={} n={} s={} rest={}",
            info.is_resource,
            info.verb,
            info.group,
            info.version,
            info.namespace,
            info.resource,
            info.name,
            info.subresource,
            info.rest
        )
    }

    #[test]
    fn paths_are_read_as_upstream_reads_them() {
        for (method, uri, expected) in [
            ("GET", "/api/v1/namespaces", "true list g= v=v1 ns= r=namespaces n= s= rest="),
            ("GET", "/api/v1/namespaces/a", "true get g= v=v1 ns=a r=namespaces n=a s= rest="),
            ("PUT", "/api/v1/namespaces/a/finalize", "true update g= v=v1 ns=a r=namespaces n=a s=finalize rest="),
            ("GET", "/api/v1/namespaces/a/pods", "true list g= v=v1 ns=a r=pods n= s= rest="),
            ("GET", "/api/v1/namespaces/a/pods?watch=1", "true watch g= v=v1 ns=a r=pods n= s= rest="),
            ("GET", "/api/v1/watch/namespaces/a/pods/b", "true watch g= v=v1 ns=a r=pods n=b s= rest="),
            ("GET", "/api/v1/namespaces/a/pods/b/log", "true get g= v=v1 ns=a r=pods n=b s=log rest="),
            ("GET", "/api/v1/namespaces/a/pods/b/proxy/x/y/", "true get g= v=v1 ns=a r=pods n=b s=proxy rest=/x/y/"),
            ("GET", "/api/v1/namespaces/a/pods/b/proxy/", "true get g= v=v1 ns=a r=pods n=b s=proxy rest=/"),
            (
                "DELETE",
                "/apis/apps/v1/namespaces/a/deployments",
                "true deletecollection g=apps v=v1 ns=a r=deployments n= s= rest=",
            ),
            (
                "PATCH",
                "/apis/apps/v1/namespaces/a/deployments/d/scale",
                "true patch g=apps v=v1 ns=a r=deployments n=d s=scale rest=",
            ),
            ("GET", "/api/v1/pods?fieldSelector=metadata.name%3Dx", "true list g= v=v1 ns= r=pods n=x s= rest="),
            ("GET", "/apis/apps/v1", "false get g= v= ns= r= n= s= rest="),
            ("GET", "/healthz", "false get g= v= ns= r= n= s= rest="),
            (
                "GET",
                "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
                "true get g=rbac.authorization.k8s.io v=v1 ns= r=clusterroles n=system:node s= rest=",
            ),
        ] {
            assert_eq!(words(method, uri), expected, "{method} {uri}");
        }
    }

    #[test]
    fn a_query_is_decoded() {
        let query = Query::parse(Some("command=sh&command=-c&labelSelector=a%3Db+c&watch&dryRun="));
        assert_eq!(query.all("command").collect::<Vec<_>>(), ["sh", "-c"]);
        assert_eq!(query.get("labelSelector"), Some("a=b c"));
        assert!(query.is_true("watch") && !query.is_true("stdin"));
        assert_eq!(query.get("dryRun"), None);
    }
}
