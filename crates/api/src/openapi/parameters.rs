//! The query and path parameters of operations.

/// A parameter: its name and type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
}

const fn string(name: &'static str) -> Parameter {
    Parameter { name, kind: "string" }
}

const fn integer(name: &'static str) -> Parameter {
    Parameter { name, kind: "integer" }
}

const fn boolean(name: &'static str) -> Parameter {
    Parameter { name, kind: "boolean" }
}

/// Of reading one object.
pub(super) const GET: &[Parameter] = &[string("pretty")];

/// Of listing and watching.
pub(super) const LIST: &[Parameter] = &[
    string("pretty"),
    boolean("allowWatchBookmarks"),
    string("continue"),
    string("fieldSelector"),
    string("labelSelector"),
    integer("limit"),
    string("resourceVersion"),
    string("resourceVersionMatch"),
    boolean("sendInitialEvents"),
    integer("timeoutSeconds"),
    boolean("watch"),
];

/// Of creating and replacing.
pub(super) const WRITE: &[Parameter] =
    &[string("pretty"), string("dryRun"), string("fieldManager"), string("fieldValidation")];

/// Of patching.
pub(super) const PATCH: &[Parameter] =
    &[string("pretty"), string("dryRun"), string("fieldManager"), string("fieldValidation"), boolean("force")];

/// Of deleting one object.
pub(super) const DELETE: &[Parameter] = &[
    string("pretty"),
    string("dryRun"),
    integer("gracePeriodSeconds"),
    boolean("ignoreStoreReadErrorWithClusterBreakingPotential"),
    boolean("orphanDependents"),
    string("propagationPolicy"),
];

/// Of deleting all objects that a list would show.
pub(super) const DELETE_COLLECTION: &[Parameter] = &[
    string("pretty"),
    string("continue"),
    string("dryRun"),
    string("fieldSelector"),
    integer("gracePeriodSeconds"),
    boolean("ignoreStoreReadErrorWithClusterBreakingPotential"),
    string("labelSelector"),
    integer("limit"),
    boolean("orphanDependents"),
    string("propagationPolicy"),
    string("resourceVersion"),
    string("resourceVersionMatch"),
    boolean("sendInitialEvents"),
    integer("timeoutSeconds"),
];

/// Of reading logs.
const LOG: &[Parameter] = &[
    string("container"),
    boolean("follow"),
    boolean("insecureSkipTLSVerifyBackend"),
    integer("limitBytes"),
    string("pretty"),
    boolean("previous"),
    integer("sinceSeconds"),
    string("stream"),
    integer("tailLines"),
    boolean("timestamps"),
];

/// Of running a command.
const EXEC: &[Parameter] =
    &[string("command"), string("container"), boolean("stderr"), boolean("stdin"), boolean("stdout"), boolean("tty")];

/// Of attaching to a container.
const ATTACH: &[Parameter] =
    &[string("container"), boolean("stderr"), boolean("stdin"), boolean("stdout"), boolean("tty")];

const PORT_FORWARD: &[Parameter] = &[integer("ports")];

const PROXY: &[Parameter] = &[string("path")];

/// Of a special subresource.
pub(super) fn of_special(name: &str) -> &'static [Parameter] {
    match name {
        "log" => LOG,
        "exec" => EXEC,
        "attach" => ATTACH,
        "portforward" => PORT_FORWARD,
        "proxy" => PROXY,
        _ => WRITE,
    }
}
