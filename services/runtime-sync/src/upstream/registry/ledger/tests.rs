//! Promises about what is reported, and when.

use std::time::SystemTime;

use bytes::Bytes;
use uuid::Uuid;

use super::*;
use crate::domain::HeaderRule;

fn uid(number: u128) -> ConnectorUid {
    ConnectorUid::new(Uuid::from_u128(number))
}

fn status(generation: i64) -> SessionStatus {
    SessionStatus::initial(generation, SystemTime::UNIX_EPOCH)
}

/// Tools with descriptions of a size.
pub(in super::super) fn tools(name: &str, count: usize, size: usize) -> Vec<ToolDefinition> {
    let description = "x".repeat(size);
    let tool = |number| {
        let raw = format!(
            r#"{{"name":"{name}-{number}","description":"{description}","inputSchema":{{}}}}"#
        );
        ToolDefinition::parse(Bytes::from(raw), HeaderRule::Ignored).unwrap()
    };
    (0..count).map(tool).collect()
}

/// One connector of a report, with tools that are news.
pub(in super::super) fn item(number: u128, tools: Vec<ToolDefinition>) -> Item {
    let mut ledger = Ledger::default();
    let status = SessionStatus {
        tools: Arc::new(tools),
        ..SessionStatus::clone(&synced(1, 0))
    };
    ledger.observe(uid(number), Arc::new(status));
    ledger.batch().remove(0)
}

fn synced(generation: i64, count: usize) -> Arc<SessionStatus> {
    Arc::new(SessionStatus {
        tools: Arc::new(tools("tool", count, 0)),
        synced: Some(SystemTime::UNIX_EPOCH),
        ..status(generation)
    })
}

#[test]
fn the_latest_observation_wins_and_an_older_generation_is_no_news() {
    let mut ledger = Ledger::default();
    ledger.observe(uid(1), Arc::new(status(2)));
    ledger.observe(uid(1), synced(2, 1));
    ledger.observe(uid(1), Arc::new(status(1)));
    let batch = ledger.batch();
    assert_eq!(batch.len(), 1);
    assert_eq!(batch[0].status.generation, 2);
    assert!(batch[0].tools.is_some());
    assert!(!ledger.has_news());
}

#[test]
fn tools_are_reported_until_they_were_taken_and_not_again() {
    let mut ledger = Ledger::default();
    let observed = synced(1, 2);
    ledger.observe(uid(1), Arc::clone(&observed));
    let lost = ledger.batch();
    ledger.returned(lost, 0);
    let batch = ledger.batch();
    assert!(
        batch[0].tools.is_some(),
        "a report that failed loses no tools"
    );
    ledger.taken(batch);
    ledger.observe(uid(1), observed);
    assert!(ledger.batch()[0].tools.is_none());
    ledger.report_all();
    assert!(ledger.batch()[0].tools.is_some());
}

#[test]
fn until_its_tools_have_arrived_a_connector_is_shown_as_it_was() {
    let mut ledger = Ledger::default();
    ledger.observe(uid(1), synced(1, 1));
    let batch = ledger.batch();
    assert_eq!(batch[0].before.reason, Reason::Connecting);
    ledger.taken(batch);
    let failing = SessionStatus {
        state: Reason::ProbeFailed.state(),
        reason: Reason::ProbeFailed,
        ..SessionStatus::clone(&synced(1, 2))
    };
    ledger.observe(uid(1), Arc::new(failing));
    let batch = ledger.batch();
    assert_eq!(batch[0].before.reason, Reason::NotStarted);
    ledger.shown(&batch);
    ledger.returned(batch, 0);
    let batch = ledger.batch();
    assert_eq!(batch[0].before.reason, Reason::ProbeFailed);
    assert!(batch[0].tools.is_some(), "shown is not yet taken");
}

#[test]
fn a_report_is_bounded_in_count_and_in_size() {
    let mut ledger = Ledger::default();
    for number in 0..300 {
        ledger.observe(uid(number), Arc::new(status(1)));
    }
    assert_eq!(ledger.batch().len(), BATCH);
    assert_eq!(ledger.batch().len(), 44);
    for number in 0..40 {
        ledger.observe(uid(number), synced(2, 1_000));
    }
    let first = ledger.batch();
    assert!(first.len() < 40 && !first.is_empty(), "{}", first.len());
    assert!(ledger.has_news());
}

#[test]
fn a_deleted_connector_is_not_reported_even_if_its_report_failed() {
    let mut ledger = Ledger::default();
    ledger.observe(uid(1), Arc::new(status(1)));
    let batch = ledger.batch();
    ledger.forget(uid(1));
    ledger.returned(batch, 0);
    assert!(!ledger.has_news());
}

#[test]
fn one_that_does_not_fit_keeps_no_later_one_out() {
    let mut ledger = Ledger::default();
    for number in 0..4 {
        ledger.observe(uid(number), synced(1, 20_000));
    }
    for number in 4..8 {
        ledger.observe(uid(number), synced(1, 1));
    }
    let batch: Vec<_> = ledger.batch().iter().map(|item| item.uid).collect();
    assert_eq!(batch, [0, 4, 5, 6, 7].map(uid));
    let next: Vec<_> = ledger.batch().iter().map(|item| item.uid).collect();
    assert_eq!(next, [uid(1)], "what did not fit is next");
}

#[test]
fn what_is_returned_goes_behind_all_other_news() {
    let mut ledger = Ledger::default();
    ledger.observe(uid(1), synced(1, 1));
    let batch = ledger.batch();
    ledger.observe(uid(2), synced(1, 1));
    ledger.returned(batch, 1);
    let next: Vec<_> = ledger.batch().iter().map(|item| item.uid).collect();
    assert_eq!(next, [2, 1].map(uid));
}

#[test]
fn each_connector_waits_for_its_own_definitions_and_not_for_ever() {
    let mut ledger = Ledger::default();
    ledger.observe(uid(1), synced(1, 1));
    for _ in 0..MAX_WAITED {
        let batch = ledger.batch();
        assert_eq!(batch[0].hold, Hold::Back);
        ledger.returned(batch, 1);
    }
    ledger.observe(uid(2), synced(1, 1));
    let holds: Vec<_> = ledger.batch().iter().map(|item| item.hold).collect();
    assert_eq!(holds, [Hold::NoLonger, Hold::Back]);
}
