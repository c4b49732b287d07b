//! Storing tool definitions that the runtime was asked for.

use super::Registry;
use crate::{domain::definition::Definition, error::Result};

impl Registry {
    /// Stores definitions that some tool refers to; answers how many of them are stored now.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn store_definitions(&self, definitions: Vec<Definition>) -> Result<u32> {
        Ok(self
            .store
            .store_definitions(definitions, self.now())
            .await?)
    }
}
