//! exec and attach.

use std::time::Duration;

use cri::{Error, ExecIo, ExecRequest, RuntimeService, TerminalSize};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use crate::lifecycle::wait_for_output;
use crate::node::{Node, exit, output, shell};

const PATIENCE: Duration = Duration::from_secs(30);

fn request(id: &str, script: &str, tty: bool, stdin: bool) -> ExecRequest {
    let command = ["sh", "-c", script].map(str::to_owned).to_vec();
    ExecRequest { container_id: id.to_owned(), command, tty, stdin }
}

#[tokio::test]
async fn exec_answers_code_and_output() {
    let node = Node::new().await;
    let sandbox = node.sandbox("exec").await;
    let mut config = shell("c", "sleep 1000");
    config.security.run_as_user = Some(1000);
    config.working_dir = "/tmp".to_owned();
    config.env = vec![("GREETING".to_owned(), "hello".to_owned())];
    let id = node.run(&sandbox, config).await;
    let command = |script: &str| ["sh", "-c", script].map(str::to_owned);
    let (code, out, err) = node
        .runtime
        .exec_sync(&id, &command("echo $GREETING; pwd; id -u; echo bad >&2; exit 5"), 30)
        .await
        .expect("it runs");
    assert_eq!((code, &out[..], &err[..]), (5, &b"hello\n/tmp\n1000\n"[..], &b"bad\n"[..]));
    // It is in the container's control group and has its rights.
    let (_, same) = node.exec(&id, "cmp /proc/1/cgroup /proc/self/cgroup; grep CapEff /proc/self/status").await;
    assert!(same.contains("0000000000000000"), "{same}");
    let err = node.runtime.exec_sync(&id, &["nosuch".to_owned()], 30).await.expect_err("not there");
    assert!(err.to_string().contains("exec: \"nosuch\": executable file not found in $PATH"), "{err}");
    // A program that takes too long is killed with its children.
    let err = node.runtime.exec_sync(&id, &command("sleep 7777 & sleep 7778"), 1).await.expect_err("too long");
    assert!(matches!(err, Error::Timeout(1)), "{err}");
    let gone = async { while node.exec(&id, "ps -o args").await.1.contains("sleep 777") {} };
    tokio::time::timeout(PATIENCE, gone).await.expect("the program lives on");
    // Much output.
    let (code, out, _) = node.runtime.exec_sync(&id, &command("yes | head -c 3000000"), 30).await.expect("it runs");
    assert_eq!((code, out.len()), (0, 3_000_000));
    node.runtime.stop_container(&id, 0).await.expect("it stops");
    assert!(matches!(node.runtime.exec_sync(&id, &command("true"), 1).await, Err(Error::WrongState { .. })));
    node.close().await;
}

#[tokio::test]
async fn exec_streams_both_ways() {
    let node = Node::new().await;
    let sandbox = node.sandbox("streams").await;
    let id = node.run(&sandbox, shell("c", "sleep 1000")).await;
    let (mut typing, stdin) = duplex(64);
    let (stdout, mut shown) = duplex(64);
    let (stderr, mut complaints) = duplex(64);
    let io = ExecIo {
        stdin: Some(Box::new(stdin)),
        stdout: Some(Box::new(stdout)),
        stderr: Some(Box::new(stderr)),
        resize: None,
    };
    let client = async {
        typing.write_all(b"first\n").await.expect("typed");
        let mut line = [0; 6];
        shown.read_exact(&mut line).await.expect("echoed");
        assert_eq!(&line, b"first\n");
        typing.write_all(&[b'x'; 100_000]).await.expect("typed");
        drop(typing);
        let mut rest = Vec::new();
        shown.read_to_end(&mut rest).await.expect("the end");
        let mut errors = String::new();
        complaints.read_to_string(&mut errors).await.expect("the end");
        (rest.len(), errors)
    };
    // Both sides go on together: the client reads while the other types.
    let exec = node.runtime.exec(request(&id, "cat; echo done >&2; exit 9", false, true), io);
    let both = tokio::time::timeout(PATIENCE, async {
        let (mut typed, mut read) = (None, None);
        tokio::pin!(exec);
        tokio::pin!(client);
        while typed.is_none() || read.is_none() {
            tokio::select! {
                code = &mut exec, if typed.is_none() => typed = Some(code.expect("it runs")),
                all = &mut client, if read.is_none() => read = Some(all),
            }
        }
        (typed, read)
    });
    let (code, read) = both.await.expect("it ends");
    assert_eq!((code, read), (Some(9), Some((100_000, "done\n".to_owned()))));
    node.close().await;
}

#[tokio::test]
async fn exec_with_a_terminal() {
    let node = Node::new().await;
    let sandbox = node.sandbox("terminal").await;
    let id = node.run(&sandbox, shell("c", "sleep 1000")).await;
    let (mut typing, stdin) = duplex(1024);
    let (stdout, mut shown) = duplex(64 * 1024);
    let (sizes, resize) = tokio::sync::mpsc::channel(1);
    sizes.send(TerminalSize { width: 77, height: 33 }).await.expect("a size");
    let io =
        ExecIo { stdin: Some(Box::new(stdin)), stdout: Some(Box::new(stdout)), stderr: None, resize: Some(resize) };
    let script = "tty; echo $TERM; read line; stty size; echo got $line; exit 6";
    let client = async {
        let mut text = String::new();
        let mut buffer = [0; 1024];
        loop {
            let n = shown.read(&mut buffer).await.expect("output");
            text.push_str(&String::from_utf8_lossy(&buffer[..n]));
            if n == 0 {
                return text;
            }
            if text.contains("xterm") && !text.contains("line") {
                typing.write_all(b"a line\n").await.expect("typed");
            }
        }
    };
    let (code, text) = tokio::time::timeout(PATIENCE, async {
        tokio::join!(node.runtime.exec(request(&id, script, true, true), io), client)
    })
    .await
    .expect("it ends");
    assert_eq!(code.expect("it runs"), 6);
    for part in ["/dev/pts/", "xterm\r\n", "33 77\r\n", "got a line\r\n"] {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
    node.close().await;
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_program_along() {
    let node = Node::new().await;
    let sandbox = node.sandbox("leave").await;
    let id = node.run(&sandbox, shell("c", "sleep 1000")).await;
    let io = ExecIo { stdin: None, stdout: None, stderr: None, resize: None };
    let exec = node.runtime.exec(request(&id, "touch /begun; exec sleep 5555", false, false), io);
    let begun = async { while node.exec(&id, "test -e /begun").await.0 != 0 {} };
    tokio::select! {
        _ = exec => panic!("it ended"),
        () = begun => {}
    }
    let gone = async { while node.exec(&id, "ps -o args").await.1.contains("sleep 5555") {} };
    tokio::time::timeout(PATIENCE, gone).await.expect("the program lives on");
    node.close().await;
}

#[tokio::test]
async fn clients_attach_and_leave_and_stdin_ends_once() {
    let node = Node::new().await;
    let sandbox = node.sandbox("attach").await;
    let mut config = shell("c", "while read line; do echo said $line; done; echo over; exit 2");
    config.stdin = true;
    config.stdin_once = true;
    let id = node.run(&sandbox, config).await;

    let (watching, mut watched) = duplex(64 * 1024);
    let watcher = ExecIo { stdin: None, stdout: Some(Box::new(watching)), stderr: None, resize: None };
    let (mut typing, stdin) = duplex(64);
    let (stdout, mut shown) = duplex(64 * 1024);
    let speaker = ExecIo { stdin: Some(Box::new(stdin)), stdout: Some(Box::new(stdout)), stderr: None, resize: None };
    let conversation = async {
        // Both are attached once what one says is seen by both.
        typing.write_all(b"one\n").await.expect("typed");
        let mut line = [0; 9];
        shown.read_exact(&mut line).await.expect("an answer");
        assert_eq!(&line, b"said one\n");
        drop(typing);
        let mut rest = String::new();
        shown.read_to_string(&mut rest).await.expect("the end");
        rest
    };
    let (first, second, rest) = tokio::time::timeout(PATIENCE, async {
        tokio::join!(node.runtime.attach(&id, watcher), node.runtime.attach(&id, speaker), conversation)
    })
    .await
    .expect("all end with the container");
    first.expect("it watched");
    second.expect("it spoke");
    assert_eq!(rest, "over\n");
    let status = node.ended(&id).await;
    assert_eq!(exit(&status).0, 2);
    assert_eq!(output(&status.log_path), "said one\nover\n");
    let mut all = String::new();
    watched.read_to_string(&mut all).await.expect("the end");
    assert!(all.ends_with("over\n"), "{all}");
    node.close().await;
}

#[tokio::test]
async fn a_container_with_a_terminal() {
    let node = Node::new().await;
    let sandbox = node.sandbox("console").await;
    let mut config = shell("c", "tty; while read line; do stty size; echo said $line; done");
    config.stdin = true;
    config.tty = true;
    let id = node.run(&sandbox, config).await;
    wait_for_output(&node, &id, "/dev/").await;
    let (mut typing, stdin) = duplex(64);
    let (stdout, mut shown) = duplex(64 * 1024);
    let (sizes, resize) = tokio::sync::mpsc::channel(1);
    let io =
        ExecIo { stdin: Some(Box::new(stdin)), stdout: Some(Box::new(stdout)), stderr: None, resize: Some(resize) };
    let client = async {
        sizes.send(TerminalSize { width: 99, height: 44 }).await.expect("a size");
        let mut text = String::new();
        let mut buffer = [0; 1024];
        // The size travels on a way of its own, so it is asked for until it is there.
        while !text.contains("44 99") || !text.contains("said hi\r\n") {
            typing.write_all(b"hi\n").await.expect("typed");
            let n = shown.read(&mut buffer).await.expect("output");
            text.push_str(&String::from_utf8_lossy(&buffer[..n]));
        }
        text
    };
    let session = async {
        tokio::select! {
            ended = node.runtime.attach(&id, io) => panic!("it ended: {ended:?}"),
            text = client => text,
        }
    };
    let text = tokio::time::timeout(PATIENCE, session).await.expect("it answers");
    assert!(text.contains("said hi\r\n"), "{text:?}");
    // The terminal outlives its client.
    assert_eq!(node.exec(&id, "echo still here").await.1, "still here\n");
    node.runtime.stop_container(&id, 0).await.expect("it stops");
    node.close().await;
}
