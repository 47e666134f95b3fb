//! Who a container's process is: the image's or the pod's user, looked up in the image's own /etc/passwd and /etc/group.
//! Upstream: github.com/moby/sys/user, and containerd's pkg/oci/spec_opts.go (WithUser, WithAdditionalGIDs).

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};

use crate::runtime::{Error, SecurityContext};

/// The identity of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Its own group, those that name it, and those asked for.
    pub(super) groups: Vec<u32>,
    pub(super) home: String,
}

/// The account files of an image.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    passwd: String,
    group: String,
}

impl Accounts {
    /// Reads them below `root`, following links no further than it.
    pub(super) fn read(root: &Path) -> Self {
        Self { passwd: read_below(root, "etc/passwd"), group: read_below(root, "etc/group") }
    }

    fn user(&self, matches: impl Fn(&Account<'_>) -> bool) -> Option<Account<'_>> {
        self.passwd.lines().filter_map(Account::parse).find(|account| matches(account))
    }

    fn group(&self, name: &str) -> Option<u32> {
        self.groups().find(|(group, ..)| *group == name).map(|(_, gid, _)| gid)
    }

    /// Name, number and members.
    fn groups(&self) -> impl Iterator<Item = (&str, u32, &str)> {
        self.group.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?.parse().ok()?);
            Some((name, gid, fields.next().unwrap_or("")))
        })
    }
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> Account<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(Self { name, uid, gid, home: fields.nth(1).unwrap_or("") })
    }
}

fn read_below(root: &Path, path: &str) -> String {
    let open = || {
        let root = openat(CWD, root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        openat2(&root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
    };
    let mut text = String::new();
    let Ok(file) = open().map(File::from) else { return text };
    // Without its accounts a user may still go by number.
    let _ = file.take(1 << 20).read_to_string(&mut text);
    text
}

/// `image_user` is the image's `User`: a name or number, and perhaps a group behind a colon.
pub(super) fn resolve(accounts: &Accounts, image_user: &str, security: &SecurityContext) -> Result<Identity, Error> {
    let (user, group) = match security.run_as_user {
        // The image's group belongs to the image's user.
        Some(uid) => (uid.to_string(), None),
        None => match image_user.split_once(':') {
            Some((user, group)) => (user.to_owned(), Some(group).filter(|group| !group.is_empty())),
            None => (image_user.to_owned(), None),
        },
    };
    let account = match user.parse::<u32>() {
        Ok(uid) => accounts.user(|account| account.uid == uid),
        Err(_) if user.is_empty() => accounts.user(|account| account.uid == 0),
        Err(_) => Some(accounts.user(|account| account.name == user).ok_or_else(|| unknown("user", &user))?),
    };
    let uid = match &account {
        Some(account) => account.uid,
        None if user.is_empty() => 0,
        None => user.parse().map_err(|_| unknown("user", &user))?,
    };
    let gid = match (security.run_as_group, group) {
        (Some(gid), _) => u32::try_from(gid).map_err(|_| unknown("group", &gid.to_string()))?,
        (None, Some(group)) => match group.parse() {
            Ok(gid) => gid,
            Err(_) => accounts.group(group).ok_or_else(|| unknown("group", group))?,
        },
        (None, None) => account.as_ref().map_or(0, |account| account.gid),
    };
    let mut groups = vec![gid];
    let name = account.as_ref().map(|account| account.name);
    let named = accounts.groups().filter(|(.., members)| name.is_some_and(|n| members.split(',').any(|m| m == n)));
    let asked = security.supplemental_groups.iter().filter_map(|gid| u32::try_from(*gid).ok());
    for gid in named.map(|(_, gid, _)| gid).chain(asked) {
        if !groups.contains(&gid) {
            groups.push(gid);
        }
    }
    let home = account.map(|account| account.home).filter(|home| !home.is_empty()).unwrap_or("/");
    Ok(Identity { uid, gid, groups, home: home.to_owned() })
}

fn unknown(what: &str, name: &str) -> Error {
    let file = if what == "user" { "passwd" } else { "group" };
    Error::failed(
        format!("failed to resolve the {what} of the container"),
        format!("unable to find {what} {name}: no matching entries in {file} file"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        Accounts {
            passwd: "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001:Web:/srv:/bin/false\n".to_owned(),
            group: "root:x:0:\nstaff:x:50:web,root\nlogs:x:60:web\n".to_owned(),
        }
    }

    fn numbers(image_user: &str, security: &SecurityContext) -> (u32, u32, Vec<u32>, String) {
        let id = resolve(&accounts(), image_user, security).expect("a user");
        (id.uid, id.gid, id.groups, id.home)
    }

    #[test]
    fn users_go_by_name_and_number() {
        let plain = SecurityContext::default();
        assert_eq!(numbers("", &plain), (0, 0, vec![0, 50], "/root".to_owned()));
        assert_eq!(numbers("web", &plain), (1000, 1001, vec![1001, 50, 60], "/srv".to_owned()));
        assert_eq!(numbers("1000", &plain), (1000, 1001, vec![1001, 50, 60], "/srv".to_owned()));
        assert_eq!(numbers("web:staff", &plain), (1000, 50, vec![50, 60], "/srv".to_owned()));
        assert_eq!(numbers("4242:7", &plain), (4242, 7, vec![7], "/".to_owned()));
    }

    #[test]
    fn the_pod_overrides_the_image() {
        let security = SecurityContext {
            run_as_user: Some(2000),
            run_as_group: Some(3000),
            supplemental_groups: vec![4000],
            ..Default::default()
        };
        assert_eq!(numbers("web:staff", &security), (2000, 3000, vec![3000, 4000], "/".to_owned()));
    }

    #[test]
    fn unknown_names_are_told() {
        let err = resolve(&accounts(), "nobody", &SecurityContext::default()).expect_err("no such user");
        assert!(err.to_string().contains("unable to find user nobody"), "{err}");
    }
}
