//! Watches that outlive their stream: one that ended because a service went away or grew old is opened again, from
//! where it stood.
//!
//! Invariant: a watch ends by itself only when it never began, when the service says no, or when nothing has answered
//! for as long as the client waits for any answer. Not here: what a message looks like.

use std::io::Write as _;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use lifecycle::{Backoff, Jitter};
use rpc::error::ErrorView;
use tokio::time::{Instant, sleep};
use tonic::{Code, Status};

use crate::cli::Output;
use crate::client::table::one_line;
use crate::failure::Failure;

/// The first pause before a stream is opened again, and the longest.
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Shows a stream and, when it ends, the next one. `open` is given the token to resume with, empty at first; `show`
/// gives the token of a message, empty if it has none.
pub(super) async fn follow<M, S>(
    patience: Duration,
    output: Output,
    mut open: impl AsyncFnMut(String) -> Result<S, Status>,
    mut show: impl FnMut(&M) -> Result<String, Failure>,
) -> Failure
where
    S: Stream<Item = Result<M, Status>> + Unpin,
{
    let (mut token, mut answered) = (String::new(), None);
    let mut pause = Backoff::new(PAUSE, LONGEST_PAUSE).jitter(Jitter::Equal);
    let mut noted = false;
    loop {
        let ended = match open(token.clone()).await {
            Ok(mut stream) => loop {
                (answered, noted) = (Some(Instant::now()), false);
                match stream.next().await {
                    Some(Ok(message)) => match show(&message) {
                        Ok(next) if next.is_empty() => {}
                        Ok(next) => token = next,
                        Err(failure) => return failure,
                    },
                    Some(Err(status)) => break status,
                    None => break Status::unavailable("the stream ended"),
                }
                pause.reset();
            },
            Err(status) => status,
        };
        let end = End::of(&ended);
        if end == End::Lost {
            token.clear();
        }
        let patient = answered.is_some_and(|at| at.elapsed() <= patience);
        if end == End::Refused || !patient {
            return ended.into();
        }
        if output == Output::Table && end != End::Old && !noted {
            note(&ended);
            noted = true;
        }
        sleep(pause.next_delay()).await;
    }
}

/// What the end of a stream means for its watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Nothing is wrong: streams live for a while only.
    Old,
    /// The service is away, or we were too slow: go on from where it stood.
    Broken,
    /// The service no longer knows where it stood: start over.
    Lost,
    /// The service does not want us.
    Refused,
}

impl End {
    fn of(status: &Status) -> Self {
        let reason = ErrorView::reason_of(status).unwrap_or_default();
        match (status.code(), reason.as_str()) {
            (_, "STREAM_EXPIRED") => Self::Old,
            (_, "WATCHER_TOO_SLOW") | (Code::Unavailable, _) => Self::Broken,
            (Code::OutOfRange, _) => Self::Lost,
            // Without a reason it is not from a service of ours, but from the connection.
            (Code::Unknown | Code::Internal | Code::Cancelled, "") => Self::Broken,
            _ => Self::Refused,
        }
    }
}

/// A word on standard error, so that standard output holds nothing but messages.
fn note(ended: &Status) {
    let why = one_line(ended.message());
    let text = format!("the watch broke off ({why}); opening it again\n");
    // Who does not listen to it misses nothing.
    drop(std::io::stderr().write_all(text.as_bytes()));
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use futures_util::stream;
    use rpc::error::RichError;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn rich(code: Code, reason: &'static str) -> Status {
        RichError::new(code, reason, "scripted").into()
    }

    /// Plays streams; gives the tokens they were opened with, the messages shown, and the end.
    async fn play(
        script: Vec<Result<Vec<Result<u32, Status>>, Status>>,
        patience: Duration,
    ) -> (Vec<String>, Vec<u32>, Code) {
        let (mut script, mut tokens, mut shown) = (VecDeque::from(script), Vec::new(), Vec::new());
        let open = async |token: String| {
            tokens.push(token);
            let next = script.pop_front();
            let next = next.unwrap_or_else(|| Err(rich(Code::PermissionDenied, "THE_END")));
            next.map(stream::iter)
        };
        let show = |message: &u32| {
            shown.push(*message);
            Ok(format!("t{message}"))
        };
        let failure = follow(patience, Output::Json, open, show).await;
        let Failure::Refused(status) = failure else {
            panic!("{failure:?}")
        };
        (tokens, shown, status.code())
    }

    #[tokio::test]
    async fn a_watch_goes_on_where_it_stood_when_the_service_comes_back() {
        let script = vec![
            Ok(vec![
                Ok(1),
                Ok(2),
                Err(rich(Code::Unavailable, "SHUTTING_DOWN")),
            ]),
            Err(Status::unavailable("connection refused")),
            Ok(vec![Ok(3)]),
            Ok(vec![Err(rich(Code::Unavailable, "STREAM_EXPIRED"))]),
        ];
        let (tokens, shown, end) = play(script, LONG).await;
        assert_eq!(shown, [1, 2, 3]);
        assert_eq!(tokens, ["", "t2", "t2", "t3", "t3"]);
        assert_eq!(end, Code::PermissionDenied);
    }

    #[tokio::test]
    async fn a_place_that_is_no_longer_known_is_where_the_watch_starts_over() {
        let script = vec![
            Ok(vec![Ok(1), Err(Status::internal("h2 protocol error"))]),
            Err(rich(Code::OutOfRange, "RESUME_TOKEN_EXPIRED")),
            Ok(vec![Ok(1), Ok(2)]),
        ];
        let (tokens, shown, _) = play(script, LONG).await;
        assert_eq!((tokens[2].as_str(), shown), ("", vec![1, 1, 2]));
    }

    #[tokio::test]
    async fn a_watch_that_never_began_or_waited_too_long_ends() {
        let (tokens, _, end) = play(vec![Err(Status::unavailable("nobody"))], LONG).await;
        assert_eq!((tokens.len(), end), (1, Code::Unavailable));
        let script = vec![
            Ok(vec![Ok(1)]),
            Err(Status::unavailable("nobody")),
            Ok(vec![Ok(2)]),
        ];
        let (tokens, shown, end) = play(script, Duration::ZERO).await;
        assert_eq!((tokens.len(), shown, end), (1, vec![1], Code::Unavailable));
    }

    #[test]
    fn a_service_that_says_no_is_not_asked_again() {
        for code in [
            Code::PermissionDenied,
            Code::Unauthenticated,
            Code::NotFound,
        ] {
            assert_eq!(End::of(&Status::new(code, "no")), End::Refused);
        }
        let bug = rich(Code::Internal, "INTERNAL");
        assert_eq!(End::of(&bug), End::Refused);
    }
}
