//! Wrapped keys.

/// The one row that names the installation.
pub(crate) mod deployment {
    use sea_orm::entity::prelude::*;

    /// One row.
    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "deployment")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: i16,
        pub deployment_id: Uuid,
        pub create_time: i64,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The root key under a provider key.
pub(crate) mod root_key {
    use sea_orm::entity::prelude::*;

    /// One row.
    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "root_keys")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub key_id: Uuid,
        pub term: i64,
        pub provider: String,
        pub provider_check: Vec<u8>,
        pub wrapped: Vec<u8>,
        pub check_value: Vec<u8>,
        pub state: String,
        pub create_time: i64,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The vault's own keys.
pub(crate) mod system_key {
    use sea_orm::entity::prelude::*;

    /// One row.
    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "system_keys")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub key_id: Uuid,
        pub kind: String,
        pub term: i64,
        pub root_key_id: Uuid,
        pub wrapped: Vec<u8>,
        pub state: String,
        pub create_time: i64,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Data keys of scopes.
pub(crate) mod data_key {
    use sea_orm::entity::prelude::*;

    /// One row.
    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "data_keys")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub key_id: Uuid,
        pub scope: String,
        pub term: i64,
        pub root_key_id: Uuid,
        pub wrapped: Vec<u8>,
        pub state: String,
        pub create_time: i64,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
