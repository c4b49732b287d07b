//! Grants, leases, audit.

/// One-use permissions.
pub(crate) mod grant {
    use sea_orm::entity::prelude::*;

    /// One row.
    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "grants")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub token_mac: Vec<u8>,
        pub scope: String,
        pub connector: Uuid,
        pub destination: String,
        pub subject: String,
        pub instance_id: String,
        pub lease_epoch: i64,
        pub secrets: String,
        pub uses: i32,
        pub max_uses: i32,
        pub create_time: i64,
        pub expire_time: i64,
        pub mac: Vec<u8>,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Sessions that hold plaintext.
pub(crate) mod lease {
    use sea_orm::entity::prelude::*;

    /// One row.
    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "leases")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub token_mac: Vec<u8>,
        pub grant_id: Uuid,
        pub scope: String,
        pub connector: Uuid,
        pub subject: String,
        pub instance_id: String,
        pub lease_epoch: i64,
        pub state: String,
        pub create_time: i64,
        pub expire_time: i64,
        pub mac: Vec<u8>,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The chain of what was done.
pub(crate) mod audit_event {
    use sea_orm::entity::prelude::*;

    /// One row.
    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "audit_events")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub scope: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub seq: i64,
        pub time: i64,
        pub actor: String,
        pub acting_user: Option<String>,
        pub method: String,
        pub connector: Option<Uuid>,
        pub secret: Option<Uuid>,
        pub version: Option<i64>,
        pub grant_id: Option<Uuid>,
        pub lease_id: Option<Uuid>,
        pub decision: String,
        pub reason: String,
        pub request_id: Option<String>,
        pub prev: Vec<u8>,
        pub mac: Vec<u8>,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The end of each chain.
pub(crate) mod audit_head {
    use sea_orm::entity::prelude::*;

    /// One row.
    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "audit_heads")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub scope: String,
        pub seq: i64,
        pub mac: Vec<u8>,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
