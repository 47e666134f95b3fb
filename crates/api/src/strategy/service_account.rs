//! Service accounts (upstream: pkg/registry/core/serviceaccount/strategy.go).

use apimachinery::Object;
use serde_json::json;

use crate::json::{Read, Write};
use crate::resource::{Generation, Strategy, WriteContext};

/// The strategy of service accounts.
pub(crate) struct ServiceAccount;

impl Strategy for ServiceAccount {
    fn prepare_for_create(&self, _cx: &WriteContext<'_>, object: &mut Object) {
        names_alone(object);
    }

    fn prepare_for_update(&self, _cx: &WriteContext<'_>, object: &mut Object, _old: &Object) {
        names_alone(object);
    }

    fn generation(&self) -> Generation {
        Generation::Never
    }
}

/// Of the references to secrets only the name means something (upstream: `cleanSecretReferences`).
fn names_alone(object: &mut Object) {
    for secret in object.items_mut("secrets") {
        let name = json!(secret.text("name"));
        secret.retain(|field, _| field == "name");
        secret.insert("name".into(), name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apimachinery::UserInfo;

    #[test]
    fn references_are_names() {
        let account = json!({"secrets": [{"name": "a", "namespace": "b", "uid": "c"}, {"kind": "Secret"}]});
        let mut account = Object::from_value(account).expect("an object");
        let user = UserInfo::default();
        let cx = WriteContext { user: &user, now: jiff::Timestamp::UNIX_EPOCH, subresource: "" };
        ServiceAccount.prepare_for_create(&cx, &mut account);
        assert_eq!(account.into_value(), json!({"secrets": [{"name": "a"}, {"name": ""}]}));
    }
}
