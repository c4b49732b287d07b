//! What a stdio server cannot do to us, nor to other servers.

use std::time::Duration;

use runtime_sync::transport::{LinkEnd, Sent, WireError, WireErrorKind};

use crate::support::{
    PATIENCE, call, call_for, close, ended, link, options, python, raw, result, said, shell,
};

#[tokio::test]
async fn a_hundred_megabytes_fail_their_own_call_and_nothing_else() {
    let script = r#"
import json, sys
for line in sys.stdin:
    id = json.loads(line)["id"]
    size = 100_000_000 if id == "pb-1" else 1
    print(json.dumps({"result": {"text": "x" * size}, "jsonrpc": "2.0", "id": id}, separators=(",", ":")))
"#;
    let link = link(&python(script), &options()).await;
    let expected = WireError {
        kind: WireErrorKind::ResponseTooLarge,
        sent: Sent::Answered,
    };
    assert_eq!(
        call(&link, raw("{}")).await,
        Err(expected),
        "its id stands at the end of the line"
    );
    assert_eq!(call(&link, raw("{}")).await, result("{\"text\":\"x\"}"));
    close(link).await;
}

#[tokio::test]
async fn an_answer_just_below_the_limit_passes() {
    let script = "import sys\nsys.stdin.readline()\nprint('{\"jsonrpc\":\"2.0\",\"id\":\"pb-1\",\"result\":{\"t\":\"' + 'x' * 16_000_000 + '\"}}')\nsys.stdin.read()";
    let link = link(&python(script), &options()).await;
    let reply = call(&link, raw("{}")).await.expect("an answer");
    assert!(
        matches!(reply, runtime_sync::transport::RawReply::Result(bytes) if bytes.len() > 16_000_000)
    );
    close(link).await;
}

#[tokio::test]
async fn an_overlong_reply_that_may_be_anybodys_is_held_against_nobody() {
    // What a tool writes must not decide whose reply it is.
    let script = r#"
import json, sys
lines = [sys.stdin.readline(), sys.stdin.readline()]
print(json.dumps({"result": {"id": "pb-1", "text": "x" * 100_000}, "jsonrpc": "2.0", "id": "pb-2"}, separators=(",", ":")))
sys.stdin.read()
"#;
    let mut options = options();
    options.limits.message = 64 << 10;
    let link = link(&python(script), &options).await;
    let unknown = Err(WireError {
        kind: WireErrorKind::LinkEnded(LinkEnd::LineTooLong),
        sent: Sent::SentUnknown,
    });
    let both = tokio::join!(call(&link, raw("{}")), call(&link, raw("{}")));
    assert_eq!(both, (unknown.clone(), unknown));
    close(link).await;
}

#[tokio::test]
async fn an_overlong_reply_that_begins_with_its_id_fails_only_its_own_call() {
    let script = r#"
import json, sys
ids = [json.loads(sys.stdin.readline())["id"] for _ in range(2)]
print(json.dumps({"jsonrpc": "2.0", "id": ids[0], "result": {"text": "x" * 100_000}}))
print(json.dumps({"jsonrpc": "2.0", "id": ids[1], "result": {}}))
sys.stdin.read()
"#;
    let mut options = options();
    options.limits.message = 64 << 10;
    let link = link(&python(script), &options).await;
    let too_large = Err(WireError {
        kind: WireErrorKind::ResponseTooLarge,
        sent: Sent::Answered,
    });
    let both = tokio::join!(call(&link, raw("{}")), call(&link, raw("{}")));
    assert_eq!(both, (too_large, result("{}")));
    close(link).await;
}

#[tokio::test]
async fn an_overlong_line_that_answers_nobody_ends_the_link() {
    let mut options = options();
    options.limits.message = 64 << 10;
    let link = link(
        &python("print('x' * 100_000)\nimport sys\nsys.stdin.read()"),
        &options,
    )
    .await;
    assert_eq!(ended(&link).await, LinkEnd::LineTooLong);
    close(link).await;
}

#[tokio::test]
async fn a_line_without_an_end_ends_the_link() {
    let mut options = options();
    options.limits.message = 64 << 10;
    let link = link(&shell("cat /dev/zero"), &options).await;
    assert_eq!(ended(&link).await, LinkEnd::LineTooLong);
    close(link).await;
}

#[tokio::test]
async fn a_flood_of_standard_error_neither_blocks_the_server_nor_grows() {
    let script = r#"
import sys
line = "e" * 999 + "\n"
for _ in range(50_000):
    sys.stderr.write(line)
sys.stderr.write("x" * 5_000_000)
sys.stdin.readline()
print('{"jsonrpc":"2.0","id":"pb-1","result":{}}')
sys.stdin.read()
"#;
    let options = options();
    let link = link(&python(script), &options).await;
    assert_eq!(call(&link, raw("{}")).await, result("{}"));
    let stderr = link.stderr.clone().expect("a stdio link");
    assert!(
        stderr
            .lines()
            .iter()
            .map(|line| line.text.len())
            .sum::<usize>()
            <= options.limits.stderr_bytes
    );
    assert!(stderr.total() >= 49_000);
    close(link).await;
}

#[tokio::test]
async fn a_flood_of_notifications_that_nobody_takes_delays_no_answer() {
    let script = r#"
import sys
sys.stdin.readline()
for n in range(20_000):
    print('{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":%d}}' % n)
print('{"jsonrpc":"2.0","id":"pb-1","result":{}}')
sys.stdin.read()
"#;
    let link = link(&python(script), &options()).await;
    assert_eq!(call(&link, raw("{}")).await, result("{}"));
    assert!(link.control.dropped_messages() > 10_000);
    close(link).await;
}

#[tokio::test]
async fn a_server_that_stops_reading_ends_its_link_and_no_other() {
    let mut options = options();
    options.limits.write = Duration::from_millis(300);
    let stuck = link(
        &python("import sys, time\nprint('up', file=sys.stderr)\ntime.sleep(1000)"),
        &options,
    )
    .await;
    let fine = link(&python("import sys\nsys.stdin.readline()\nprint('{\"jsonrpc\":\"2.0\",\"id\":\"pb-1\",\"result\":{}}')\nsys.stdin.read()"), &options).await;
    said(&stuck, "up").await;
    let big = format!("{{\"x\":\"{}\"}}", "x".repeat(1 << 20));
    // The first fills the pipe; the second never leaves the queue.
    let (first, second, other) = tokio::join!(
        call(&stuck, raw(&big)),
        async {
            tokio::task::yield_now().await;
            call(&stuck, raw("{}")).await
        },
        call(&fine, raw("{}")),
    );
    let blocked = WireErrorKind::LinkEnded(LinkEnd::InputBlocked);
    assert_eq!(
        first,
        Err(WireError {
            kind: blocked.clone(),
            sent: Sent::SentUnknown
        })
    );
    assert_eq!(
        second,
        Err(WireError {
            kind: blocked,
            sent: Sent::NotSent
        })
    );
    assert_eq!(other, result("{}"));
    assert_eq!(ended(&stuck).await, LinkEnd::InputBlocked);
    close(stuck).await;
    close(fine).await;
}

#[tokio::test]
async fn a_call_waiting_behind_a_stuck_one_ends_by_its_own_deadline() {
    let mut options = options();
    options.limits.write = PATIENCE;
    let stuck = link(
        &python("import sys, time\nprint('up', file=sys.stderr)\ntime.sleep(1000)"),
        &options,
    )
    .await;
    said(&stuck, "up").await;
    let big = format!("{{\"x\":\"{}\"}}", "x".repeat(1 << 20));
    let short = Duration::from_millis(300);
    let (first, second) = tokio::join!(call_for(&stuck, raw(&big), short), async {
        tokio::task::yield_now().await;
        call_for(&stuck, raw("{}"), short).await
    });
    assert_eq!(first.map_err(|error| error.sent), Err(Sent::SentUnknown));
    assert_eq!(second.map_err(|error| error.sent), Err(Sent::NotSent));
    // Closing does not wait for the writer either.
    close(stuck).await;
}

#[tokio::test]
async fn a_server_that_closes_its_output_ends_the_link() {
    let link = link(&shell("exec >&-; sleep 1000"), &options()).await;
    assert_eq!(ended(&link).await, LinkEnd::OutputClosed);
    close(link).await;
}

#[tokio::test]
async fn a_server_that_closes_its_input_ends_the_link_without_losing_the_call() {
    let link = link(&shell("exec <&-; echo closed >&2; sleep 1000"), &options()).await;
    said(&link, "closed").await;
    let error = call(&link, raw("{}")).await.expect_err("nobody reads");
    assert_eq!(error.sent, Sent::NotSent, "the kernel took no byte of it");
    assert_eq!(ended(&link).await, LinkEnd::InputBlocked);
    close(link).await;
}
