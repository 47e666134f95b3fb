//! Impersonation: somebody acts as somebody else (upstream: apiserver/pkg/endpoints/filters/impersonation.go).

use apimachinery::{StatusError, UserInfo};
use http::HeaderMap;

use super::service_account::{groups, split_username};
use crate::authorizer::Attributes;
use crate::request::decode;

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA_PREFIX: &str = "impersonate-extra-";

/// The user that the headers ask for, when `authorize` lets the real one be it; `None` without such headers.
pub fn impersonate(
    headers: &HeaderMap,
    user: &UserInfo,
    authorize: impl Fn(&Attributes<'_>) -> Result<(), StatusError>,
) -> Result<Option<UserInfo>, StatusError> {
    let Some(mut wanted) = wanted(headers)? else { return Ok(None) };
    let check = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| {
        authorize(&Attributes {
            user,
            verb: "impersonate",
            group,
            version: "v1",
            resource,
            subresource,
            namespace,
            name,
            is_resource: true,
            path: "",
        })
    };
    let account = split_username(&wanted.username);
    match account {
        Some((namespace, name)) => check("", "serviceaccounts", "", namespace, name)?,
        None => check("", "users", "", "", &wanted.username)?,
    }
    for group in &wanted.groups {
        check("", "groups", "", "", group)?;
    }
    for (key, values) in &wanted.extra {
        for value in values {
            check("authentication.k8s.io", "userextras", key, "", value)?;
        }
    }
    if !wanted.uid.is_empty() {
        check("authentication.k8s.io", "uids", "", "", &wanted.uid)?;
    }
    if let (Some((namespace, _)), true) = (account, wanted.groups.is_empty()) {
        wanted.groups.extend(groups(namespace));
    }
    let everybody =
        if wanted.username == "system:anonymous" { "system:unauthenticated" } else { "system:authenticated" };
    if !wanted.is_in("system:authenticated") && !wanted.is_in("system:unauthenticated") {
        wanted.groups.push(everybody.into());
    }
    Ok(Some(wanted))
}

fn wanted(headers: &HeaderMap) -> Result<Option<UserInfo>, StatusError> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut user = UserInfo::default();
    user.username = headers.get(USER).map(text).unwrap_or_default();
    user.uid = headers.get(UID).map(text).unwrap_or_default();
    user.groups = headers.get_all(GROUP).iter().map(text).collect();
    for (name, value) in headers {
        if let Some(key) = name.as_str().strip_prefix(EXTRA_PREFIX) {
            user.extra.entry(decode(key)).or_default().push(text(value));
        }
    }
    if !user.username.is_empty() {
        return Ok(Some(user));
    }
    if user.uid.is_empty() && user.groups.is_empty() && user.extra.is_empty() {
        return Ok(None);
    }
    Err(StatusError::bad_request("requested groups, uid or extra values without impersonating a user"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;

    fn ask(lines: &[(&'static str, &str)]) -> (Vec<String>, Result<Option<UserInfo>, StatusError>) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().expect("a header"));
        }
        let checked = Mutex::new(Vec::new());
        let result = impersonate(&headers, &UserInfo::new("root", ["admins"]), |asked| {
            checked.lock().push(format!(
                "{}/{}/{} {}/{}",
                asked.group, asked.resource, asked.subresource, asked.namespace, asked.name
            ));
            if asked.name == "forbidden" { Err(StatusError::unauthorized()) } else { Ok(()) }
        });
        (checked.into_inner(), result)
    }

    #[test]
    fn every_part_of_the_identity_is_checked() {
        let (checked, user) = ask(&[
            ("impersonate-user", "ann"),
            ("impersonate-group", "devs"),
            ("impersonate-group", "ops"),
            ("impersonate-uid", "7"),
            ("impersonate-extra-acme%2fteam", "blue"),
        ]);
        assert_eq!(
            checked,
            [
                "/users/ /ann",
                "/groups/ /devs",
                "/groups/ /ops",
                "authentication.k8s.io/userextras/acme/team /blue",
                "authentication.k8s.io/uids/ /7"
            ]
        );
        let user = user.expect("allowed").expect("asked for");
        assert_eq!(user.groups, ["devs", "ops", "system:authenticated"]);
        assert_eq!(user.extra["acme/team"], ["blue"]);
    }

    #[test]
    fn accounts_get_their_groups_and_refusals_stand() {
        let (checked, user) = ask(&[("impersonate-user", "system:serviceaccount:shop:robot")]);
        assert_eq!(checked, ["/serviceaccounts/ shop/robot"]);
        let groups = user.expect("allowed").expect("asked for").groups;
        assert_eq!(groups, ["system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"]);
        assert!(ask(&[("impersonate-user", "forbidden")]).1.is_err());
        assert!(ask(&[("impersonate-group", "devs")]).1.is_err());
        assert_eq!(ask(&[]).1, Ok(None));
        let anonymous = ask(&[("impersonate-user", "system:anonymous")]).1.expect("allowed").expect("asked for");
        assert_eq!(anonymous.groups, ["system:unauthenticated"]);
    }
}
