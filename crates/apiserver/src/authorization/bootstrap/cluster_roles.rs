//! Cluster roles for people and components (upstream: bootstrappolicy/policy.go).

use super::{Binding, Role};

/// Everything.
pub const ALL_RULES: &str = "
    *; *; *
    *; url; *
";

/// What a kubelet may do. Which secrets, volumes and the like, the Node authorizer says.
pub const NODE_RULES: &str = "
    create; authentication.k8s.io; tokenreviews
    create; authorization.k8s.io; localsubjectaccessreviews,subjectaccessreviews
    read; core; services
    create,get,list,watch; core; nodes
    patch,update; core; nodes/status
    patch,update; core; nodes
    create,patch,update; core,events.k8s.io; events
    read; core; pods
    create,delete; core; pods
    patch,update; core; pods/status
    create; core; pods/eviction
    read; core; configmaps,secrets
    get; core; persistentvolumeclaims,persistentvolumes
    get; core; endpoints
    create,get,list,watch; certificates.k8s.io; certificatesigningrequests
    create,delete,get,patch,update; coordination.k8s.io; leases
    get; storage.k8s.io; volumeattachments
    create; core; serviceaccounts/token
    get,patch,update; core; persistentvolumeclaims/status
    read; storage.k8s.io; csidrivers
    create,delete,get,patch,update; storage.k8s.io; csinodes
    read; node.k8s.io; runtimeclasses
    get; resource.k8s.io; resourceclaims
    deletecollection; resource.k8s.io; resourceslices
    read; certificates.k8s.io; clustertrustbundles
    get; core; serviceaccounts
    create,get,list,watch; certificates.k8s.io; podcertificaterequests
";

const AGGREGATE_TO_ADMIN: &str = "
    create; authorization.k8s.io; localsubjectaccessreviews
    readwrite; rbac.authorization.k8s.io; rolebindings,roles
";

const AGGREGATE_TO_EDIT: &str = "
    read; core; pods/attach,pods/exec,pods/portforward,pods/proxy,secrets,services/proxy
    impersonate; core; serviceaccounts
    write; core; pods,pods/attach,pods/exec,pods/portforward,pods/proxy
    create; core; pods/eviction
    write; core; configmaps,persistentvolumeclaims,replicationcontrollers,replicationcontrollers/scale,secrets,serviceaccounts,services,services/proxy
    create; core; serviceaccounts/token
    write; core,events.k8s.io; events
    write; apps; daemonsets,deployments,deployments/rollback,deployments/scale,replicasets,replicasets/scale,statefulsets,statefulsets/scale
    write; autoscaling; horizontalpodautoscalers
    write; batch; cronjobs,jobs
    write; extensions; daemonsets,deployments,deployments/rollback,deployments/scale,ingresses,networkpolicies,replicasets,replicasets/scale,replicationcontrollers/scale
    write; policy; poddisruptionbudgets
    write; networking.k8s.io; ingresses,networkpolicies
    readwrite; coordination.k8s.io; leases
    write; resource.k8s.io; resourceclaims,resourceclaimtemplates
";

const AGGREGATE_TO_VIEW: &str = "
    read; core; configmaps,endpoints,persistentvolumeclaims,persistentvolumeclaims/status,pods,replicationcontrollers,replicationcontrollers/scale,serviceaccounts,services,services/status
    read; core; bindings,limitranges,namespaces/status,pods/log,pods/status,replicationcontrollers/status,resourcequotas,resourcequotas/status
    read; core; namespaces
    read; core,events.k8s.io; events
    read; discovery.k8s.io; endpointslices
    read; apps; controllerrevisions,daemonsets,daemonsets/status,deployments,deployments/scale,deployments/status,replicasets,replicasets/scale,replicasets/status,statefulsets,statefulsets/scale,statefulsets/status
    read; autoscaling; horizontalpodautoscalers,horizontalpodautoscalers/status
    read; batch; cronjobs,cronjobs/status,jobs,jobs/status
    read; extensions; daemonsets,daemonsets/status,deployments,deployments/scale,deployments/status,ingresses,ingresses/status,networkpolicies,replicasets,replicasets/scale,replicasets/status,replicationcontrollers/scale
    read; policy; poddisruptionbudgets,poddisruptionbudgets/status
    read; networking.k8s.io; ingresses,ingresses/status,networkpolicies
    read; resource.k8s.io; resourceclaims,resourceclaims/status,resourceclaimtemplates
";

const KUBE_CONTROLLER_MANAGER: &str = "
    create,patch,update; core,events.k8s.io; events
    create; coordination.k8s.io; leases
    get,update; coordination.k8s.io; leases; kube-controller-manager
    create; core; secrets,serviceaccounts
    delete; core; secrets
    get; core; configmaps,namespaces,secrets,serviceaccounts
    update; core; secrets,serviceaccounts
    create; authentication.k8s.io; tokenreviews
    create; authorization.k8s.io; subjectaccessreviews
    list,watch; *; *
    create; core; serviceaccounts/token
";

const KUBE_SCHEDULER: &str = "
    create,patch,update; core,events.k8s.io; events
    create; coordination.k8s.io; leases
    get,list,update,watch; coordination.k8s.io; leases; kube-scheduler
    readwrite; coordination.k8s.io; leasecandidates
    read; core; nodes
    delete,get,list,watch; core; pods
    create; core; bindings,pods/binding
    patch,update; core; pods/status
    read; core; replicationcontrollers,services
    read; apps,extensions; replicasets
    read; apps; statefulsets
    read; policy; poddisruptionbudgets
    read; core; persistentvolumeclaims,persistentvolumes
    create; authentication.k8s.io; tokenreviews
    create; authorization.k8s.io; subjectaccessreviews
    read; storage.k8s.io; csinodes
    read; core; namespaces
    read; storage.k8s.io; csidrivers
    read; storage.k8s.io; csistoragecapacities
    read; storage.k8s.io; volumeattachments
    read; resource.k8s.io; deviceclasses
    get,list,patch,update,watch; resource.k8s.io; resourceclaims
    get,list,patch,update,watch; resource.k8s.io; resourceclaims/status
    update; core; pods/finalizers
    read; resource.k8s.io; resourceslices
    create,delete; resource.k8s.io; resourceclaims
    read; resource.k8s.io; devicetaintrules
    patch,update; resource.k8s.io; resourceclaims/binding
";

const NODE_PROXIER: &str = "
    list,watch; core; endpoints,services
    read; core; nodes
    create,patch,update; core,events.k8s.io; events
    list,watch; discovery.k8s.io; endpointslices
    list,watch; networking.k8s.io; servicecidrs
";

const VOLUME_SCHEDULER: &str = "
    get,list,patch,update,watch; core; persistentvolumes
    read; storage.k8s.io; storageclasses
    get,list,patch,update,watch; core; persistentvolumeclaims
";

const KUBELET_API_ADMIN: &str = "
    read; core; nodes
    proxy; core; nodes
    *; core; nodes/log,nodes/metrics,nodes/proxy,nodes/stats
    *; core; nodes/configz,nodes/healthz,nodes/pods
";

const MONITORING: &str = "
    get; url; /flagz,/healthz,/healthz/*,/livez,/livez/*,/metrics,/metrics/slis,/readyz,/readyz/*,/statusz
    get; core; nodes/metrics
";

const DISCOVERY: &str = "
    get; url; /api,/api/*,/apis,/apis/*,/healthz,/livez,/openapi,/openapi/*,/readyz,/version,/version/
";

const SERVICE_ACCOUNT_ISSUER_DISCOVERY: &str = "
    get; url; /.well-known/openid-configuration,/.well-known/openid-configuration/,/openid/v1/jwks,/openid/v1/jwks/
";

/// The cluster's DNS reads Services and, for pod records, pods (upstream: the manifests of CoreDNS).
const DNS: &str = "
    list,watch; core; endpoints,namespaces,pods,services
    read; core; nodes
    list,watch; discovery.k8s.io; endpointslices
";

/// Cluster roles.
pub const ROLES: &[Role] = &[
    Role::cluster("cluster-admin", ALL_RULES),
    Role::cluster("admin", "").aggregated(),
    Role::cluster("edit", "").aggregated().aggregates_to("admin"),
    Role::cluster("view", "").aggregated().aggregates_to("edit"),
    Role::cluster("system:aggregate-to-admin", AGGREGATE_TO_ADMIN).aggregates_to("admin"),
    Role::cluster("system:aggregate-to-edit", AGGREGATE_TO_EDIT).aggregates_to("edit"),
    Role::cluster("system:aggregate-to-view", AGGREGATE_TO_VIEW).aggregates_to("view"),
    Role::cluster("system:discovery", DISCOVERY),
    Role::cluster("system:public-info-viewer", "get; url; /healthz,/livez,/readyz,/version,/version/"),
    Role::cluster(
        "system:basic-user",
        "create; authorization.k8s.io; selfsubjectaccessreviews,selfsubjectrulesreviews
         create; authentication.k8s.io; selfsubjectreviews",
    ),
    Role::cluster("system:monitoring", MONITORING),
    Role::cluster("system:node", NODE_RULES),
    Role::cluster("system:node-proxier", NODE_PROXIER),
    Role::cluster("system:kubelet-api-admin", KUBELET_API_ADMIN),
    Role::cluster("system:node-bootstrapper", "create,get,list,watch; certificates.k8s.io; certificatesigningrequests"),
    Role::cluster(
        "system:node-problem-detector",
        "get; core; nodes
         patch; core; nodes/status
         create,patch,update; core,events.k8s.io; events",
    ),
    Role::cluster(
        "system:auth-delegator",
        "create; authentication.k8s.io; tokenreviews
         create; authorization.k8s.io; subjectaccessreviews",
    ),
    Role::cluster("system:kube-aggregator", "read; core; endpoints,services"),
    Role::cluster("system:kube-controller-manager", KUBE_CONTROLLER_MANAGER),
    Role::cluster("system:kube-scheduler", KUBE_SCHEDULER),
    Role::cluster("system:volume-scheduler", VOLUME_SCHEDULER),
    Role::cluster("system:kube-dns", "list,watch; core; endpoints,services"),
    Role::cluster("system:dns", DNS),
    Role::cluster(
        "system:persistent-volume-provisioner",
        "create,delete,get,list,watch; core; persistentvolumes
         get,list,update,watch; core; persistentvolumeclaims
         read; storage.k8s.io; storageclasses
         watch; core; events
         create,patch,update; core,events.k8s.io; events",
    ),
    Role::cluster(
        "system:heapster",
        "read; core; events,namespaces,nodes,pods
         read; extensions; deployments",
    ),
    Role::cluster("system:service-account-issuer-discovery", SERVICE_ACCOUNT_ISSUER_DISCOVERY),
    Role::cluster("system:cluster-trust-bundle-discovery", "read; certificates.k8s.io; clustertrustbundles"),
    Role::cluster(
        "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
        "create; certificates.k8s.io; certificatesigningrequests/nodeclient",
    ),
    Role::cluster(
        "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
        "create; certificates.k8s.io; certificatesigningrequests/selfnodeclient",
    ),
    Role::cluster(
        "system:certificates.k8s.io:kube-apiserver-client-approver",
        "approve; certificates.k8s.io; signers; kubernetes.io/kube-apiserver-client",
    ),
    Role::cluster(
        "system:certificates.k8s.io:kube-apiserver-client-kubelet-approver",
        "approve; certificates.k8s.io; signers; kubernetes.io/kube-apiserver-client-kubelet",
    ),
    Role::cluster(
        "system:certificates.k8s.io:kubelet-serving-approver",
        "approve; certificates.k8s.io; signers; kubernetes.io/kubelet-serving",
    ),
    Role::cluster(
        "system:certificates.k8s.io:legacy-unknown-approver",
        "approve; certificates.k8s.io; signers; kubernetes.io/legacy-unknown",
    ),
];

/// Cluster role bindings.
pub const BINDINGS: &[Binding] = &[
    bind("cluster-admin", "cluster-admin", &["Group:system:masters"]),
    bind("system:monitoring", "system:monitoring", &["Group:system:monitoring"]),
    bind("system:discovery", "system:discovery", &["Group:system:authenticated"]),
    bind("system:basic-user", "system:basic-user", &["Group:system:authenticated"]),
    bind(
        "system:public-info-viewer",
        "system:public-info-viewer",
        &["Group:system:authenticated", "Group:system:unauthenticated"],
    ),
    bind("system:node-proxier", "system:node-proxier", &["User:system:kube-proxy"]),
    bind("system:kube-controller-manager", "system:kube-controller-manager", &["User:system:kube-controller-manager"]),
    bind("system:kube-dns", "system:kube-dns", &["ServiceAccount:kube-system/kube-dns"]),
    bind("system:dns", "system:dns", &["ServiceAccount:kube-system/kube-dns"]),
    bind("system:kube-scheduler", "system:kube-scheduler", &["User:system:kube-scheduler"]),
    bind("system:volume-scheduler", "system:volume-scheduler", &["User:system:kube-scheduler"]),
    // The Node authorizer judges nodes; as upstream, the binding is there without subjects for those who add some.
    bind("system:node", "system:node", &[]),
    bind(
        "system:service-account-issuer-discovery",
        "system:service-account-issuer-discovery",
        &["Group:system:serviceaccounts"],
    ),
    bind(
        "system:cluster-trust-bundle-discovery",
        "system:cluster-trust-bundle-discovery",
        &["Group:system:serviceaccounts"],
    ),
];

const fn bind(name: &'static str, role: &'static str, subjects: &'static [&'static str]) -> Binding {
    Binding { name, namespace: "", role, subjects }
}
