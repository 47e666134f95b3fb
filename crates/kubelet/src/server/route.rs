//! From method and path to what is asked for.

use http::{Method, StatusCode};

use super::images::Action;

/// A container of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The container.
    pub container: String,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Whether the kubelet lives.
    Healthz,
    /// The pods of this node.
    Pods,
    /// The process's metrics.
    Metrics,
    /// Use of resources.
    Summary,
    /// A container's log.
    Logs(At),
    /// A command with streams.
    Exec(At),
    /// The streams of the first process.
    Attach(At),
    /// A command to its end.
    Run(At),
    /// Connections to ports of a pod.
    PortForward {
        /// Its namespace.
        namespace: String,
        /// Its name.
        pod: String,
    },
    /// The node's images.
    Images(Action),
}

impl Route {
    /// The route of a request, or the status to refuse it with.
    pub fn of(method: &Method, path: &str) -> Result<Self, StatusCode> {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let at = |namespace: &str, pod: &str, container: &str| At {
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            container: container.to_owned(),
        };
        if let ["images", rest @ ..] = parts.as_slice() {
            return Action::of(method, rest).map(Self::Images);
        }
        let (route, methods): (Self, &[Method]) = match parts.as_slice() {
            ["healthz", ..] => (Self::Healthz, &[Method::GET]),
            ["pods"] | ["runningpods"] => (Self::Pods, &[Method::GET]),
            ["metrics"] => (Self::Metrics, &[Method::GET]),
            ["stats", "summary"] => (Self::Summary, &[Method::GET, Method::POST]),
            ["containerLogs", ns, pod, container] => (Self::Logs(at(ns, pod, container)), &[Method::GET]),
            ["exec", ns, pod, container] | ["exec", ns, pod, _, container] => {
                (Self::Exec(at(ns, pod, container)), &[Method::GET, Method::POST])
            }
            ["attach", ns, pod, container] | ["attach", ns, pod, _, container] => {
                (Self::Attach(at(ns, pod, container)), &[Method::GET, Method::POST])
            }
            ["run", ns, pod, container] | ["run", ns, pod, _, container] => {
                (Self::Run(at(ns, pod, container)), &[Method::POST])
            }
            ["portForward", ns, pod] | ["portForward", ns, pod, _] => {
                let (namespace, pod) = ((*ns).to_owned(), (*pod).to_owned());
                (Self::PortForward { namespace, pod }, &[Method::GET, Method::POST])
            }
            _ => return Err(StatusCode::NOT_FOUND),
        };
        if methods.contains(method) { Ok(route) } else { Err(StatusCode::METHOD_NOT_ALLOWED) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let at = At { namespace: "n".into(), pod: "p".into(), container: "c".into() };
        for (method, path, expected) in [
            (Method::GET, "/healthz", Ok(Route::Healthz)),
            (Method::GET, "/containerLogs/n/p/c", Ok(Route::Logs(at.clone()))),
            (Method::POST, "/exec/n/p/c", Ok(Route::Exec(at.clone()))),
            (Method::GET, "/exec/n/p/uid/c", Ok(Route::Exec(at.clone()))),
            (Method::GET, "/run/n/p/c", Err(StatusCode::METHOD_NOT_ALLOWED)),
            (Method::GET, "/portForward/n/p", Ok(Route::PortForward { namespace: "n".into(), pod: "p".into() })),
            (Method::GET, "/", Err(StatusCode::NOT_FOUND)),
            (Method::GET, "/containerLogs/n/p", Err(StatusCode::NOT_FOUND)),
        ] {
            assert_eq!(Route::of(&method, path), expected, "{path}");
        }
    }
}
