//! What can be asked of a row: paths with their operations, whatever version of OpenAPI spells them.

use apimachinery::GroupVersionKind;

use super::parameters::{self, Parameter};
use crate::resource::{Resource, Special};

/// A path and what may be done there.
pub(super) struct PathItem {
    pub(super) path: String,
    /// The names in braces.
    pub(super) in_path: Vec<&'static str>,
    pub(super) operations: Vec<Operation>,
}

/// One operation.
pub(super) struct Operation {
    /// `get`, `post`, `put`, `patch` or `delete`.
    pub(super) method: &'static str,
    /// `x-kubernetes-action`.
    pub(super) action: &'static str,
    pub(super) id: String,
    pub(super) kind: GroupVersionKind,
    pub(super) parameters: &'static [Parameter],
    /// The definition of the body, as its full name.
    pub(super) takes: Option<String>,
    /// The definition of the answer; `None` is text or a stream.
    pub(super) answers: Option<String>,
    /// Whether the kind's fields say how strategic merge treats them.
    pub(super) merges: bool,
}

impl Operation {
    /// Those of the media types of patches that are taken.
    pub(super) fn patches<'t>(&self, types: &'t [&'t str]) -> Vec<&'t str> {
        let taken = |media: &&&str| self.merges || !media.contains("strategic");
        types.iter().filter(taken).copied().collect()
    }
}

const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
pub(super) const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";

/// `apps_v1`, as operations are tagged.
pub(super) fn tag(group: &str, version: &str) -> String {
    let group = if group.is_empty() { "core" } else { group.trim_end_matches(".k8s.io") };
    format!("{}_{version}", group.replace('.', "_"))
}

/// All paths of a row, without the watch paths that clients stopped using.
pub(super) fn of(row: &Resource) -> Vec<PathItem> {
    let builder = Builder::new(row);
    let mut items = vec![builder.collection()];
    if row.is_namespaced() && row.verbs.has("list") {
        items.push(builder.everywhere());
    }
    if row.verbs.has("get") {
        items.push(builder.one());
    }
    if row.subresources.status {
        items.push(builder.part("status", &row.gvk));
    }
    if row.subresources.scale.is_some() {
        items.push(builder.part("scale", &GroupVersionKind::new("autoscaling", "v1", "Scale")));
    }
    for special in &row.subresources.special {
        items.extend(builder.special(special));
    }
    items
}

struct Builder<'a> {
    row: &'a Resource,
    /// `AppsV1`.
    group_version: String,
    /// `NamespacedDeployment` or `Node`.
    subject: String,
    /// `/apis/apps/v1`.
    root: String,
    /// `/apis/apps/v1/namespaces/{namespace}/deployments`.
    base: String,
}

impl<'a> Builder<'a> {
    fn new(row: &'a Resource) -> Self {
        let root = format!("/{}", super::v3_path(&row.gvk.group, &row.gvk.version));
        let (space, subject) = match row.is_namespaced() {
            true => ("/namespaces/{namespace}", format!("Namespaced{}", row.gvk.kind)),
            false => ("", row.gvk.kind.clone()),
        };
        Self {
            group_version: tag(&row.gvk.group, &row.gvk.version).split('_').map(capital).collect(),
            subject,
            base: format!("{root}{space}/{}", row.plural),
            root,
            row,
        }
    }

    fn definition(&self, kind: &GroupVersionKind) -> Option<String> {
        let (set, node) = self.row.schema_of(kind)?;
        set.node(node).name.map(|name| set.text(name).to_owned())
    }

    fn list(&self) -> Option<String> {
        self.definition(&GroupVersionKind { kind: self.row.list_kind(), ..self.row.gvk.clone() })
    }

    fn item(&self, path: String, named: bool, operations: Vec<Operation>) -> PathItem {
        let in_path = [("name", named), ("namespace", self.row.is_namespaced() && path.contains("{namespace}"))];
        PathItem {
            path,
            in_path: in_path.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect(),
            operations,
        }
    }

    /// An operation on `kind` whose name is `<verb><GroupVersion><rest>`.
    fn operation(
        &self,
        verb: &str,
        rest: &str,
        method: &'static str,
        action: &'static str,
        parameters: &'static [Parameter],
    ) -> Operation {
        let own = self.definition(&self.row.gvk);
        Operation {
            method,
            action,
            id: format!("{verb}{}{rest}", self.group_version),
            kind: self.row.gvk.clone(),
            parameters,
            takes: matches!(method, "post" | "put").then(|| own.clone()).flatten(),
            answers: own,
            merges: self.row.custom.is_none(),
        }
    }

    fn collection(&self) -> PathItem {
        let verbs = self.row.verbs;
        let mut operations = Vec::new();
        if verbs.has("list") {
            let list = self.operation("list", &self.subject, "get", "list", parameters::LIST);
            operations.push(Operation { answers: self.list(), ..list });
        }
        if verbs.has("create") {
            operations.push(self.operation("create", &self.subject, "post", "post", parameters::WRITE));
        }
        if verbs.has("deletecollection") {
            let rest = format!("Collection{}", self.subject);
            let delete = self.operation("delete", &rest, "delete", "deletecollection", parameters::DELETE_COLLECTION);
            operations.push(Operation { takes: Some(DELETE_OPTIONS.into()), answers: Some(STATUS.into()), ..delete });
        }
        self.item(self.base.clone(), false, operations)
    }

    fn everywhere(&self) -> PathItem {
        let rest = format!("{}ForAllNamespaces", self.row.gvk.kind);
        let list = self.operation("list", &rest, "get", "list", parameters::LIST);
        let path = format!("{}/{}", self.root, self.row.plural);
        self.item(path, false, vec![Operation { answers: self.list(), ..list }])
    }

    fn one(&self) -> PathItem {
        let verbs = self.row.verbs;
        let mut operations = vec![self.operation("read", &self.subject, "get", "get", parameters::GET)];
        if verbs.has("update") {
            operations.push(self.operation("replace", &self.subject, "put", "put", parameters::WRITE));
        }
        if verbs.has("patch") {
            let patch = self.operation("patch", &self.subject, "patch", "patch", parameters::PATCH);
            operations.push(Operation { takes: Some(PATCH.into()), ..patch });
        }
        if verbs.has("delete") {
            let delete = self.operation("delete", &self.subject, "delete", "delete", parameters::DELETE);
            operations.push(Operation { takes: Some(DELETE_OPTIONS.into()), answers: Some(STATUS.into()), ..delete });
        }
        self.item(format!("{}/{{name}}", self.base), true, operations)
    }

    /// A subresource that reads and writes a part of the object, or a view of it.
    fn part(&self, name: &str, body: &GroupVersionKind) -> PathItem {
        let rest = format!("{}{}", self.subject, capital(name));
        let definition = self.definition(body);
        let on_body = |operation: Operation| Operation {
            kind: body.clone(),
            takes: operation.takes.is_some().then(|| definition.clone()).flatten(),
            answers: definition.clone(),
            ..operation
        };
        let patch = on_body(self.operation("patch", &rest, "patch", "patch", parameters::PATCH));
        let operations = vec![
            on_body(self.operation("read", &rest, "get", "get", parameters::GET)),
            on_body(self.operation("replace", &rest, "put", "put", parameters::WRITE)),
            Operation { takes: Some(PATCH.into()), ..patch },
        ];
        self.item(format!("{}/{{name}}/{name}", self.base), true, operations)
    }

    fn special(&self, special: &Special) -> Vec<PathItem> {
        if special.verbs.contains(&"patch") && special.name != "proxy" {
            return vec![self.part(special.name, &special.body)];
        }
        let path = format!("{}/{{name}}/{}", self.base, special.name);
        let rest = format!("{}{}", self.subject, capital(special.name));
        let definition = self.definition(&special.body);
        let parameters = parameters::of_special(special.name);
        let connects = special.body.kind.ends_with("Options");
        let mut operations = Vec::new();
        for verb in special.verbs {
            let (method, word) = match *verb {
                "create" => ("post", "create"),
                "get" => ("get", "read"),
                "update" => ("put", "replace"),
                "patch" => ("patch", "patch"),
                _ => ("delete", "delete"),
            };
            let mut operation = if connects {
                let rest = format!("{}{rest}", capital(method));
                self.operation("connect", &rest, method, "connect", parameters)
            } else {
                self.operation(word, &rest, method, method, parameters)
            };
            operation.kind = special.body.clone();
            operation.takes = (matches!(method, "post" | "put") && !connects).then(|| definition.clone()).flatten();
            operation.answers = if connects || special.name == "log" { None } else { definition.clone() };
            operations.push(operation);
        }
        vec![self.item(path, true, operations)]
    }
}

/// The word with a capital letter first.
fn capital(word: &str) -> String {
    let mut signs = word.chars();
    signs.next().map_or_else(String::new, |first| first.to_uppercase().chain(signs).collect())
}
