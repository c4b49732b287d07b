//! Promises about repeated invocation ids.

use std::time::SystemTime;

use lifecycle::Tasks;

use super::*;
use crate::domain::{CallReason, Outcome, UpstreamError};

const SMALL: Bounds = Bounds {
    calls: 3,
    bytes: 100,
    age: Duration::from_secs(600),
};

struct Fixture {
    invocations: Invocations,
    clock: Clock,
    scope: ScopeName,
}

impl Fixture {
    fn new() -> Self {
        let clock = Clock::manual(SystemTime::UNIX_EPOCH);
        Self {
            invocations: Invocations::new(SMALL, clock.clone()),
            clock,
            scope: "users/ada".parse().unwrap(),
        }
    }

    fn begin(&self, id: u128) -> Result<Ticket, Known> {
        self.begin_with(id, "{}")
    }

    fn begin_with(&self, id: u128, arguments: &str) -> Result<Ticket, Known> {
        let connector = "users/ada/connectors/x".parse().unwrap();
        let fingerprint = Fingerprint::of(&connector, "echo", arguments, "");
        let id = Uuid::from_u128(id);
        match self.invocations.known(&self.scope, id, fingerprint) {
            Some(known) => Err(known),
            None => {
                let begun = self.invocations.begin(&self.scope, id, fingerprint);
                begun.map(|(ticket, _waiting)| ticket)
            }
        }
    }

    fn first(&self, id: u128) -> Ticket {
        self.begin(id).unwrap()
    }

    fn begun(&self, id: u128) -> (Ticket, Waiting) {
        let connector = "users/ada/connectors/x".parse().unwrap();
        let fingerprint = Fingerprint::of(&connector, "echo", "{}", "");
        let begun = self
            .invocations
            .begin(&self.scope, Uuid::from_u128(id), fingerprint);
        begun.unwrap()
    }

    fn again(&self, id: u128) -> Waiting {
        match self.begin(id) {
            Err(Known::Running(waiting)) => waiting,
            other => panic!("{other:?}"),
        }
    }

    fn done(&self, id: u128) -> Answer {
        match self.begin(id) {
            Err(Known::Done(answer)) => answer,
            other => panic!("{other:?}"),
        }
    }
}

fn result(bytes: usize) -> Answer {
    Ok(Arc::new(Completed {
        result: Some(Bytes::from(vec![b'x'; bytes])),
        is_error: false,
        definition_hash: "h".into(),
    }))
}

#[tokio::test]
async fn a_repeat_waits_for_the_running_call_and_then_finds_its_result() {
    let fixture = Fixture::new();
    let ticket = fixture.first(1);
    let Err(Known::Running(waiting)) = fixture.begin(1) else {
        panic!("not running")
    };
    ticket.finish(result(10));
    assert_eq!(
        waiting
            .answer()
            .await
            .unwrap()
            .result
            .as_ref()
            .unwrap()
            .len(),
        10
    );
    assert!(fixture.done(1).is_ok());
}

#[test]
fn an_id_belongs_to_one_call_of_one_scope() {
    let fixture = Fixture::new();
    let _running = fixture.first(1);
    assert!(matches!(
        fixture.begin_with(1, r#"{"a":1}"#),
        Err(Known::Reused)
    ));
    let connector = "users/bob/connectors/x".parse().unwrap();
    let fingerprint = Fingerprint::of(&connector, "echo", "{}", "");
    let bob = "users/bob".parse().unwrap();
    let other = fixture
        .invocations
        .begin(&bob, Uuid::from_u128(1), fingerprint);
    assert!(other.is_ok(), "{other:?}");
}

#[tokio::test]
async fn what_was_not_sent_may_be_tried_again() {
    let fixture = Fixture::new();
    let ticket = fixture.first(1);
    let Err(Known::Running(waiting)) = fixture.begin(1) else {
        panic!("not running")
    };
    let error = CallError::not_sent(CallReason::ConnectorUnreachable);
    ticket.finish(Err(error.clone()));
    assert_eq!(waiting.answer().await.unwrap_err(), error);
    drop(fixture.first(1));
}

#[test]
fn a_call_whose_caller_went_away_counts_as_sent() {
    let fixture = Fixture::new();
    drop(fixture.first(1));
    assert_eq!(fixture.done(1).unwrap_err().outcome, Outcome::SentUnknown);
}

#[test]
fn results_over_the_bound_are_dropped_but_never_sent_again() {
    let fixture = Fixture::new();
    fixture.first(1).finish(result(60));
    fixture.first(2).finish(result(60));
    assert!(fixture.done(1).unwrap().result.is_none());
    assert!(fixture.done(2).unwrap().result.is_some());
    fixture.first(3).finish(result(101));
    assert!(fixture.done(3).unwrap().result.is_none());
}

#[test]
fn the_oldest_answers_make_room_and_all_are_forgotten_after_their_time() {
    let fixture = Fixture::new();
    let _running = fixture.first(9);
    for id in 1..=4 {
        fixture.first(id).finish(result(1));
        fixture.clock.advance(Duration::from_secs(1));
    }
    assert!(matches!(fixture.begin(9), Err(Known::Running(_))));
    drop(fixture.first(1));
    fixture.clock.advance(Duration::from_secs(601));
    drop(fixture.first(4));
    assert!(matches!(fixture.begin(9), Err(Known::Running(_))));
}

#[test]
fn evicting_accounts_for_every_byte() {
    let fixture = Fixture::new();
    for id in 0..50 {
        fixture.first(id).finish(result(40));
    }
    // Two of them fit; had eviction leaked bytes, none would.
    assert!(fixture.done(49).unwrap().result.is_some());
    assert!(fixture.done(48).unwrap().result.is_some());
    assert!(fixture.done(47).unwrap().result.is_none());
}

#[test]
fn what_is_kept_holds_on_to_nothing_larger_than_itself() {
    let fixture = Fixture::new();
    let message = Bytes::from(vec![b'x'; 1 << 20]);
    let is_own = |kept: &Bytes| !message.as_ptr_range().contains(&kept.as_ptr());
    fixture.first(1).finish(Ok(Arc::new(Completed {
        result: Some(message.slice(..10)),
        is_error: false,
        definition_hash: "h".into(),
    })));
    assert!(is_own(fixture.done(1).unwrap().result.as_ref().unwrap()));
    let mut text = "no".to_owned();
    text.reserve(1 << 20);
    let mut error = upstream_error(text, None);
    error.upstream.as_mut().unwrap().data = Some(message.slice(10..20));
    fixture.first(2).finish(Err(error));
    let kept = fixture.done(2).unwrap_err().upstream.unwrap();
    assert!(is_own(kept.data.as_ref().unwrap()));
    assert_eq!(kept.message.capacity(), 2);
}

fn upstream_error(message: String, data: Option<Bytes>) -> CallError {
    CallError {
        upstream: Some(UpstreamError {
            code: -1,
            message,
            data,
        }),
        ..CallError::new(CallReason::UpstreamError, Outcome::Completed)
    }
}

#[test]
fn what_servers_say_in_errors_counts_and_makes_room_but_the_outcome_stays() {
    let fixture = Fixture::new();
    let error = || {
        Err(upstream_error(
            "x".repeat(30),
            Some(Bytes::from(vec![b'x'; 30])),
        ))
    };
    fixture.first(1).finish(error());
    fixture.first(2).finish(error());
    assert_eq!(fixture.invocations.lock().held_bytes(), 60);
    let first = fixture.done(1).unwrap_err();
    assert_eq!((first.outcome, first.upstream), (Outcome::Completed, None));
    assert!(fixture.done(2).unwrap_err().upstream.is_some());
}

#[tokio::test]
async fn answers_are_forgotten_in_time_even_if_nobody_calls() {
    let fixture = Fixture::new();
    let tasks = Tasks::new("test");
    let expiry = fixture.invocations.clone().expire_in_time(tasks.token());
    tasks.spawn("expiry", expiry);
    fixture.first(1).finish(result(10));
    while fixture.invocations.lock().answered() > 0 {
        fixture.clock.advance(Duration::from_secs(60));
        tokio::task::yield_now().await;
    }
    assert_eq!(fixture.invocations.lock().held_bytes(), 0);
    assert!(tasks.stop(Duration::from_secs(60)).await.is_clean());
}

#[test]
fn beginning_and_answering_forget_what_is_too_old_as_well() {
    let fixture = Fixture::new();
    let (late, _waiting) = fixture.begun(9);
    fixture.first(1).finish(result(10));
    fixture.clock.advance(Duration::from_secs(601));
    let _begun = fixture.begun(2);
    assert_eq!(fixture.invocations.lock().answered(), 0);
    fixture.first(3).finish(result(10));
    fixture.clock.advance(Duration::from_secs(601));
    late.finish(result(10));
    assert_eq!(fixture.invocations.lock().answered(), 1);
}

#[tokio::test]
async fn a_call_is_cancelled_by_the_last_who_waits_for_it_and_not_before() {
    let fixture = Fixture::new();
    let (ticket, first) = fixture.begun(1);
    let abandoned = ticket.abandoned();
    let second = fixture.again(1);
    drop(first);
    assert!(!abandoned.is_cancelled(), "its repeat waits");
    let third = fixture.again(1);
    drop(second);
    assert!(!abandoned.is_cancelled());
    drop(third.answer());
    assert!(abandoned.is_cancelled(), "nobody waits");
}
