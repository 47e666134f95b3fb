//! What a container sees: its user, files, namespaces, devices and rights.

use cri::{ContainerConfig, Mount, MountPropagation, NamespaceMode, RuntimeService, SecurityContext};

use crate::node::{Node, exit, shell};

fn set(script: &str) -> impl FnOnce(&mut ContainerConfig) + use<> {
    let script = script.to_owned();
    move |config| config.command[2] = script
}

#[tokio::test]
async fn the_environment_is_the_images_then_the_pods() {
    let node = Node::new().await;
    let (_, out) = node
        .script("env", |config| {
            config.env = vec![("FROM_POD".to_owned(), "a b=c".to_owned()), ("PATH".to_owned(), "/bin:/x".to_owned())];
            set("env | sort")(config);
        })
        .await;
    for line in ["FROM_IMAGE=yes", "FROM_POD=a b=c", "PATH=/bin:/x", "HOME=/root", "HOSTNAME=env"] {
        assert!(out.lines().any(|found| found == line), "{line} is not in {out}");
    }
    let (_, out) = node
        .script("cwd", |config| {
            config.working_dir = "/deep/in/here".to_owned();
            set("pwd; hostname")(config);
        })
        .await;
    assert_eq!(out, "/deep/in/here\ncwd\n");
    node.close().await;
}

#[tokio::test]
async fn users_are_looked_up_in_the_image() {
    let node = Node::new().await;
    let as_user = |user: Option<i64>, group: Option<i64>, more: &[i64]| SecurityContext {
        run_as_user: user,
        run_as_group: group,
        supplemental_groups: more.to_vec(),
        ..Default::default()
    };
    for (name, security, wanted) in [
        ("root", as_user(None, None, &[]), "uid=0(root) gid=0(root) groups=0(root)\n"),
        ("web", as_user(Some(1000), None, &[]), "uid=1000(web) gid=1000(web) groups=50(staff),1000(web)\n"),
        ("other", as_user(Some(1234), Some(50), &[77]), "uid=1234 gid=50(staff) groups=50(staff),77\n"),
    ] {
        let (_, out) = node
            .script(name, |config| {
                config.security = security;
                set("id; echo to-stdout > /dev/stdout")(config);
            })
            .await;
        assert_eq!(out, format!("{wanted}to-stdout\n"));
    }
    node.close().await;
}

#[tokio::test]
async fn mounts_hold_what_they_say() {
    let node = Node::new().await;
    let volume = node.directory.path().join("volume");
    std::fs::create_dir(&volume).expect("a volume");
    std::fs::write(volume.join("given"), "from the node\n").expect("a file");
    let mount = |path: &str, host: &std::path::Path, readonly| Mount {
        container_path: path.into(),
        host_path: host.to_owned(),
        readonly,
        propagation: MountPropagation::Private,
    };
    let (status, out) = node
        .script("mounts", |config| {
            config.mounts = vec![
                mount("/data", &volume, false),
                mount("/fixed", &volume, true),
                mount("/etc/hosts", &volume.join("given"), true),
                mount("/made", &volume.join("new/dir"), false),
            ];
            config.security.readonly_rootfs = true;
            set("cat /data/given /etc/hosts; echo back > /data/back; \
                 echo x 2>/dev/null > /fixed/x || echo fixed; echo x 2>/dev/null > /x || echo readonly; \
                 touch /dev/shm/x /made/x && df -k /dev/shm | grep -c 65536")(config);
        })
        .await;
    assert_eq!(out, "from the node\nfrom the node\nfixed\nreadonly\n1\n", "{status:?}");
    assert_eq!(std::fs::read_to_string(volume.join("back")).expect("a file"), "back\n");
    assert!(volume.join("new/dir/x").exists());
    node.close().await;
}

#[tokio::test]
async fn mounts_propagate_when_asked_to() {
    let node = Node::new().await;
    let shared = node.directory.path().join("shared");
    std::fs::create_dir_all(shared.join("inner")).expect("a directory");
    let path = std::ffi::CString::new(shared.to_str().expect("UTF-8")).expect("a path");
    // SAFETY: plain calls on a directory of this test.
    unsafe {
        let none = std::ptr::null();
        assert_eq!(libc::mount(path.as_ptr(), path.as_ptr(), none, libc::MS_BIND, none.cast()), 0);
        assert_eq!(libc::mount(none, path.as_ptr(), none, libc::MS_SHARED, none.cast()), 0);
    }
    let (status, out) = node
        .script("propagate", |config| {
            config.security = SecurityContext { privileged: true, ..Default::default() };
            config.mounts = vec![Mount {
                container_path: "/shared".into(),
                host_path: shared.clone(),
                readonly: false,
                propagation: MountPropagation::Bidirectional,
            }];
            set("mount -t tmpfs inside /shared/inner && touch /shared/inner/seen && echo done")(config);
        })
        .await;
    let seen = shared.join("inner/seen").exists();
    let inner = std::ffi::CString::new(shared.join("inner").to_str().expect("UTF-8")).expect("a path");
    // SAFETY: plain calls on mounts of this test.
    unsafe {
        libc::umount2(inner.as_ptr(), libc::MNT_DETACH);
        libc::umount2(path.as_ptr(), libc::MNT_DETACH);
    }
    assert!(seen, "{out} {status:?}");
    node.close().await;
}

#[tokio::test]
async fn rights_are_restricted() {
    let node = Node::new().await;
    let look = "grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | tr '\\t' ' '; \
                unshare -m true 2>/dev/null || echo no unshare; mkdir -p /x && echo mkdir; \
                wc -c < /proc/timer_list; echo 1 2>/dev/null > /proc/sys/kernel/domainname || echo no sysctl";
    let (_, plain) = node.script("plain", set(look)).await;
    assert!(plain.contains("CapEff: 00000000a80425fb") && plain.contains("Seccomp: 0"), "{plain}");
    assert!(plain.contains("no unshare") && plain.contains("no sysctl"), "{plain}");
    let (status, tight) = node
        .script("tight", |config| {
            config.security = SecurityContext {
                drop_capabilities: vec!["ALL".to_owned()],
                add_capabilities: vec!["NET_BIND_SERVICE".to_owned()],
                no_new_privs: true,
                seccomp_profile: "RuntimeDefault".to_owned(),
                ..Default::default()
            };
            set(look)(config);
        })
        .await;
    for line in ["CapEff: 0000000000000400", "CapBnd: 0000000000000400", "NoNewPrivs: 1", "Seccomp: 2", "mkdir"] {
        assert!(tight.contains(line), "{line} is not in {tight} {status:?}");
    }
    let (_, privileged) = node
        .script("privileged", |config| {
            config.security = SecurityContext { privileged: true, ..Default::default() };
            set("unshare -m true && echo unshared; ls /dev | grep -cE '^(vda|sda|nvme0n1|loop0|mem)$'; mount -t tmpfs t /tmp && echo mounted")(config);
        })
        .await;
    assert!(privileged.contains("unshared") && privileged.contains("mounted"), "{privileged}");
    node.close().await;
}

#[tokio::test]
async fn the_default_seccomp_profile_holds_in_containers_and_exec() {
    let node = Node::new().await;
    let sandbox = node.sandbox("seccomp").await;
    let mut config = shell("c", "sleep 1000");
    // With the capability the call would be allowed by both kernel and profile, so only the profile can refuse.
    config.security = SecurityContext {
        seccomp_profile: "RuntimeDefault".to_owned(),
        add_capabilities: vec!["SYS_TIME".to_owned()],
        ..Default::default()
    };
    let id = node.run(&sandbox, config).await;
    for (script, wanted) in [
        ("grep Seccomp: /proc/1/status | tr '\\t' ' '", "Seccomp: 2"),
        ("grep Seccomp: /proc/self/status | tr '\\t' ' '", "Seccomp: 2"),
        ("unshare -U true 2>&1", "Operation not permitted"),
        ("grep CapEff: /proc/self/status | tr '\\t' ' '", "CapEff: 00000000aa0425fb"),
        ("mkdir /ok && (echo in a fork; true)", "in a fork"),
    ] {
        let (_, out) = node.exec(&id, script).await;
        assert!(out.contains(wanted), "{script}: {out}");
    }
    node.close().await;
}

#[tokio::test]
async fn devices_are_the_harmless_ones() {
    let node = Node::new().await;
    let (_, out) = node
        .script(
            "devices",
            set("for d in null zero full random urandom tty; do test -c /dev/$d || echo no $d; done; head -c 4 /dev/zero | wc -c; \
                 mknod /tmp/disk b 254 0 && cat /tmp/disk 2>/dev/null | head -c 1 | wc -c"),
        )
        .await;
    assert_eq!(out, "4\n0\n");
    node.close().await;
}

#[tokio::test]
async fn a_pod_shares_names_memory_and_perhaps_processes() {
    let node = Node::new().await;
    let mut config = node.sandbox_config("shared");
    config.pid = NamespaceMode::Pod;
    config.sysctls.insert("kernel.shm_rmid_forced".to_owned(), "1".to_owned());
    let sandbox = node.runtime.run_pod_sandbox(config).await.expect("a sandbox");
    let first = node.run(&sandbox, shell("first", "echo memory > /dev/shm/note; exec sleep 1111")).await;
    let second = node.run(&sandbox, shell("second", "sleep 2222 & exec sleep 2223")).await;
    let (_, processes) = node.exec(&second, "ps -o args").await;
    assert!(processes.contains("sleep 1111") && processes.contains("sleep 2223"), "{processes}");
    let (_, seen) =
        node.exec(&second, "cat /dev/shm/note /proc/sys/kernel/shm_rmid_forced; cat /proc/1/comm; hostname").await;
    assert_eq!(seen, "memory\n1\npause\nshared\n");
    // With its first process, all of a container's go, and only its.
    node.runtime.stop_container(&second, 0).await.expect("it stops");
    node.runtime.remove_container(&second).await.expect("it goes");
    let (_, processes) = node.exec(&first, "ps -o args").await;
    assert!(processes.contains("sleep 1111") && !processes.contains("sleep 222"), "{processes}");
    node.close().await;
}

#[tokio::test]
async fn a_debugger_joins_the_processes_of_its_target() {
    let node = Node::new().await;
    let sandbox = node.sandbox("debug").await;
    let target = node.run(&sandbox, shell("target", "exec sleep 3333")).await;
    let mut config = shell("debugger", "cat /proc/1/cmdline; echo; exec sleep 4444");
    config.security.pid_target = Some(target.clone());
    let debugger = node.run(&sandbox, config).await;
    let (_, seen) = node.exec(&debugger, "tr '\\0' ' ' < /proc/1/cmdline").await;
    assert_eq!(seen.trim(), "sleep 3333");
    node.runtime.stop_container(&debugger, 0).await.expect("it stops");
    assert_eq!(exit(&node.ended(&debugger).await).0, 137);
    assert_eq!(node.exec(&target, "echo here").await, (0, "here\n".to_owned()));
    node.close().await;
}
