//! A second term of the system keys: what was stored under the first stays good as it is.

use database::testing::TestDatabase;
use names::ScopeName;
use sea_orm::ConnectionTrait as _;
use sensitive::Bytes;
use tempfile::TempDir;

use super::*;
use crate::domain::{
    AuditEvent, Decision, DestinationRecord, Destinations, Field, FieldKind, GrantRecord, Holder,
    LeaseRecord, LeaseState, Method, Reason, SecretRecord, SecretState,
};

struct Records {
    destination: DestinationRecord,
    head: SecretRecord,
    grant: GrantRecord,
    lease: LeaseRecord,
}

fn scope() -> ScopeName {
    "users/ada".parse().unwrap()
}

fn holder() -> Holder {
    Holder {
        subject: "runtime-sync".into(),
        instance_id: "one".into(),
        lease_epoch: 1,
    }
}

/// One record of each kind with the MAC of `macs`.
fn records(macs: &Macs) -> Records {
    let (id, now) = (Uuid::from_u128(7), Micros(1));
    let mut destination = DestinationRecord {
        id,
        scope: scope(),
        connector: id,
        destinations: Destinations::new(vec!["https://a.example:443".into()]).unwrap(),
        record_version: 1,
        mac: Vec::new(),
        create_time: now,
    };
    destination.mac = macs.destination(&destination);
    let mut head = SecretRecord {
        id,
        scope: scope(),
        connector: id,
        field: Field::single(FieldKind::Header, "authorization".into()).unwrap(),
        current_version: 1,
        destination: id,
        state: SecretState::Active,
        head_mac: Vec::new(),
        create_time: now,
        update_time: now,
    };
    head.head_mac = macs.head(&head);
    let mut grant = GrantRecord {
        id,
        token_mac: macs.grant_token("pbg_x").newest().to_vec(),
        scope: scope(),
        connector: id,
        destination: "https://a.example:443".into(),
        holder: holder(),
        secrets: Vec::new(),
        create_time: now,
        expire_time: now,
        mac: Vec::new(),
    };
    grant.mac = macs.grant(&grant);
    let mut lease = LeaseRecord {
        id,
        token_mac: macs.lease_token("pbl_x").newest().to_vec(),
        grant: id,
        scope: scope(),
        connector: id,
        holder: holder(),
        state: LeaseState::Active,
        create_time: now,
        expire_time: now,
        mac: Vec::new(),
    };
    lease.mac = macs.lease(&lease);
    Records {
        destination,
        head,
        grant,
        lease,
    }
}

fn are_genuine(macs: &Macs, records: &Records) -> bool {
    macs.is_destination(&records.destination)
        && macs.is_head(&records.head)
        && macs.is_grant(&records.grant)
        && macs.is_lease(&records.lease)
}

fn event() -> AuditEvent {
    AuditEvent {
        scope: scope(),
        time: Micros(1),
        actor: "registry".into(),
        acting_user: None,
        method: Method::CreateGrant,
        connector: None,
        secret: None,
        version: None,
        grant: None,
        lease: None,
        decision: Decision::Allowed,
        reason: Reason::Ok,
        request_id: None,
    }
}

/// Every MAC that is stored.
fn stored(macs: &Macs) -> Vec<Vec<u8>> {
    let records = records(macs);
    vec![
        records.destination.mac,
        records.head.head_mac,
        records.grant.mac,
        records.grant.token_mac,
        records.lease.mac,
        records.lease.token_mac,
        macs.audit(&event(), 1, b""),
        macs.fingerprint(&scope(), &Bytes::new(b"value".to_vec())),
        macs.request(&[b"body"]).newest().to_vec(),
    ]
}

async fn second_term(keyring: &Keyring, database: &Database) {
    let retire = "UPDATE system_keys SET state = 'decrypt_only'";
    let connection = database.connection();
    connection.execute_unprepared(retire).await.unwrap();
    for kind in SystemKeyKind::ALL {
        let under = (keyring.deployment, keyring.root_id, &keyring.root);
        let key = system_key(under, kind, 2, Micros(2)).unwrap();
        keys::insert_system_key(connection, &key).await.unwrap();
    }
}

database::test_on_both! {
    async fn a_second_term_leaves_every_stored_mac_good(test: TestDatabase) {
        let database = test.connect().await;
        migrations::up::<migrations::Vault>(database.connection()).await.unwrap();
        let folder = TempDir::new().unwrap();
        let clock = Clock::manual(std::time::SystemTime::UNIX_EPOCH);
        let file = KeyFile::new(folder.path().join("vault.key"));
        let first = Keyring::open(&database, &file, &clock).await.unwrap();
        for mac in stored(first.macs()) {
            assert_eq!(mac[..5], [1, 0, 0, 0, 1], "version and term in front");
        }
        let old = records(first.macs());
        second_term(&first, &database).await;
        let second = Keyring::open(&database, &file, &clock).await.unwrap();
        for mac in stored(second.macs()) {
            assert_eq!(mac[..5], [1, 0, 0, 0, 2], "new ones are made in the new term");
        }
        assert!(are_genuine(second.macs(), &old));
        assert!(are_genuine(second.macs(), &records(second.macs())));
        assert!(second.macs().grant_token("pbg_x").contains(&old.grant.token_mac));
        assert!(second.macs().lease_token("pbl_x").contains(&old.lease.token_mac));
        let body = first.macs().request(&[b"body"]);
        assert!(second.macs().request(&[b"body"]).contains(body.newest()));
        assert!(!second.macs().request(&[b"other"]).contains(body.newest()));

        let retire = "UPDATE system_keys SET state = 'retired' WHERE term = 1";
        database.connection().execute_unprepared(retire).await.unwrap();
        let third = Keyring::open(&database, &file, &clock).await.unwrap();
        assert!(!are_genuine(third.macs(), &old), "a retired term is good for nothing");
    }
}
