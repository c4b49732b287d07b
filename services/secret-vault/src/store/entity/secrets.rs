//! Secrets, versions, destinations, remembered requests.

/// Where secrets may go.
pub(crate) mod destination {
    use sea_orm::entity::prelude::*;

    /// One row.
    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "destinations")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub scope: String,
        pub connector: Uuid,
        pub digest: Vec<u8>,
        pub destinations: String,
        pub record_version: i64,
        pub mac: Vec<u8>,
        pub create_time: i64,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Secrets and tombstones.
pub(crate) mod secret {
    use sea_orm::entity::prelude::*;

    /// One row.
    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "secrets")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub scope: String,
        pub connector: Uuid,
        pub kind: i16,
        pub field_name: String,
        pub current_version: i64,
        pub destination: Uuid,
        pub state: String,
        pub head_mac: Vec<u8>,
        pub create_time: i64,
        pub update_time: i64,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Sealed values.
pub(crate) mod secret_version {
    use sea_orm::entity::prelude::*;

    /// One row.
    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "secret_versions")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub secret: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub version: i64,
        pub destination: Option<Uuid>,
        pub data_key: Option<Uuid>,
        pub envelope: Option<Vec<u8>>,
        pub state: String,
        pub length_bucket: i32,
        pub fingerprint: Vec<u8>,
        pub create_time: i64,
        pub destroy_time: Option<i64>,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Writes that were answered.
pub(crate) mod request {
    use sea_orm::entity::prelude::*;

    /// One row.
    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "requests")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub subject: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub request_id: Uuid,
        pub body_mac: Vec<u8>,
        pub scope: String,
        pub secret: Uuid,
        pub version: i64,
        pub create_time: i64,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
