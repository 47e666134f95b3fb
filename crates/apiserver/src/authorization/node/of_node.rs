//! Kinds whose objects name the one node they are for: resource slices and requests of pod certificates
//! (upstream: node_authorizer.go, `authorizeResourceSlice`, `authorizePodCertificateRequest`).

use super::{Decision, NodeAuthorizer, no, selects_own};
use crate::authorizer::Attributes;

impl NodeAuthorizer {
    /// A kubelet publishes the devices of its own node. What a new slice names, NodeRestriction looks at.
    pub(super) fn resource_slice(&self, node: &str, request: &Attributes<'_>) -> Decision {
        if !request.subresource.is_empty() {
            return no("cannot authorize ResourceSlice subresources".into());
        }
        match request.verb {
            "create" => Decision::Allow,
            "get" | "update" | "patch" | "delete" => {
                self.is_of_node(node, &format!("/registry/resource.k8s.io/resourceslices/{}", request.name))
            }
            "list" | "watch" | "deletecollection" if selects_own(request, "spec.nodeName", node) => Decision::Allow,
            "list" | "watch" | "deletecollection" => {
                no("can only list/watch/deletecollection resourceslices with nodeName field selector".into())
            }
            _ => no("only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, \
                     patch, delete, deletecollection"
                .into()),
        }
    }

    /// A kubelet asks for certificates of the pods of its own node.
    pub(super) fn pod_certificate_request(&self, node: &str, request: &Attributes<'_>) -> Decision {
        if !request.subresource.is_empty() {
            return no("nodes may not access the status subresource of PodCertificateRequests".into());
        }
        match request.verb {
            "create" => Decision::Allow,
            "get" => {
                let place = format!("{}/{}", request.namespace, request.name);
                self.is_of_node(node, &format!("/registry/certificates.k8s.io/podcertificaterequests/{place}"))
            }
            "list" | "watch" if selects_own(request, "spec.nodeName", node) => Decision::Allow,
            "list" | "watch" => {
                no("can only list/watch podcertificaterequests with spec.nodeName field selector".into())
            }
            _ => no("nodes may only create, get, list, and watch PodCertificateRequests".into()),
        }
    }

    fn is_of_node(&self, node: &str, key: &str) -> Decision {
        match self.stored(key) {
            Some(object) if object["spec"]["nodeName"] == node => Decision::Allow,
            _ => no(format!("no relationship found between node '{node}' and this object")),
        }
    }
}
