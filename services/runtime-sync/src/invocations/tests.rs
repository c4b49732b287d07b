//! Promises about repeated invocation ids.

use std::time::SystemTime;

use super::*;

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
            None => self.invocations.begin(&self.scope, id, fingerprint),
        }
    }

    fn first(&self, id: u128) -> Ticket {
        self.begin(id).unwrap()
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
