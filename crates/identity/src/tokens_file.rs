//! The tokens a server knows: a JSON file of SHA-256 hashes and the principals they stand for.
//!
//! The lookup compares with every entry, each in constant time, so neither the place nor the
//! length of a near miss can be measured. [`issue_tokens`] makes such a file with its raw tokens.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use names::{
    ScopeSelector,
    access::{Role, Verb},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};
use thiserror::Error;

use crate::{
    Claim, Denial, Principal, TokenError,
    token::{read_or_create_token, write_private},
};

/// The folder of raw tokens, beside the file of hashes.
const TOKENS_FOLDER: &str = "tokens";
/// The file of hashes.
const HASHES_FILE: &str = "tokens.json";

/// A tokens file that cannot be used.
#[derive(Debug, Error)]
pub enum TokensFileError {
    /// The file or its folder cannot be read or written.
    #[error("tokens file {path} cannot be used")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not the JSON we expect.
    #[error("tokens file {path} is not valid JSON of our shape")]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// An entry has an unknown role, verb or scope, or a hash that is not 64 hexadecimal digits.
    #[error("tokens file {path}, entry {entry}: {reason}")]
    Entry {
        /// The file.
        path: PathBuf,
        /// The entry's subject.
        entry: String,
        /// What is wrong.
        reason: String,
    },
    /// A raw token file cannot be used.
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// The tokens a server knows. `Debug` shows principals and no hash.
pub struct StaticTokens {
    entries: Vec<([u8; 32], Arc<Principal>)>,
}

impl std::fmt::Debug for StaticTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.entries.iter().map(|(_, principal)| &principal.subject))
            .finish()
    }
}

impl StaticTokens {
    /// Reads a tokens file.
    ///
    /// # Errors
    /// When the file cannot be read, is not of our shape, or names an unknown role, verb or scope.
    pub fn read(path: &Path) -> Result<Self, TokensFileError> {
        let content = fs::read(path).map_err(|source| TokensFileError::Io {
            path: path.to_owned(),
            source,
        })?;
        let file: File =
            serde_json::from_slice(&content).map_err(|source| TokensFileError::Json {
                path: path.to_owned(),
                source,
            })?;
        let entry = |entry: Entry| {
            let subject = entry.subject.clone();
            entry.parse().map_err(|reason| TokensFileError::Entry {
                path: path.to_owned(),
                entry: subject,
                reason,
            })
        };
        let entries = file
            .tokens
            .into_iter()
            .map(entry)
            .collect::<Result<_, _>>()?;
        Ok(Self { entries })
    }

    /// Tokens given as text; the text is hashed at once. For a suite in one process and for tests.
    pub fn from_plain<'a>(tokens: impl IntoIterator<Item = (&'a str, Principal)>) -> Self {
        let entries = tokens
            .into_iter()
            .map(|(token, principal)| (hash(token), principal.into()));
        Self {
            entries: entries.collect(),
        }
    }

    /// The principal a raw token stands for.
    ///
    /// # Errors
    /// [`Denial::TokenInvalid`].
    pub fn verify(&self, token: &str) -> Result<Arc<Principal>, Denial> {
        let presented = hash(token);
        let mut found = u32::MAX;
        for (index, (known, _)) in (0_u32..).zip(&self.entries) {
            let same: Choice = presented.ct_eq(known);
            found.conditional_assign(&index, same);
        }
        let entry = usize::try_from(found)
            .ok()
            .and_then(|index| self.entries.get(index));
        entry
            .map(|(_, principal)| Arc::clone(principal))
            .ok_or(Denial::TokenInvalid)
    }
}

/// A token that [`issue_tokens`] makes: its file's name and whom it stands for.
#[derive(Debug, Clone)]
pub struct TokenSpec {
    /// The raw token's file in the folder `tokens`, and the principal's subject.
    pub name: String,
    /// Whom it stands for.
    pub principal: Principal,
}

impl Principal {
    /// A principal with one role and no claims.
    #[must_use]
    pub fn with_role(subject: &str, role: Role) -> Self {
        let roles = BTreeSet::from([role]);
        Self {
            subject: subject.to_owned(),
            roles,
            claims: Vec::new(),
            acting_user: None,
        }
    }

    /// Adds a claim.
    #[must_use]
    pub fn with_claim(
        mut self,
        scope: ScopeSelector,
        verbs: impl IntoIterator<Item = Verb>,
    ) -> Self {
        self.claims.push(Claim {
            scope,
            verbs: verbs.into_iter().collect(),
        });
        self
    }
}

/// The tokens of a suite that runs on one machine: one for each role, `operator` and `caller`
/// with every scope, `viewer` with `use` on every scope.
#[must_use]
pub fn suite_tokens() -> Vec<TokenSpec> {
    let everything = [Verb::Use, Verb::Manage, Verb::Purge];
    Role::ALL
        .into_iter()
        .map(|role| {
            let verbs: &[Verb] = match role {
                Role::Operator => &everything,
                Role::Caller => &[Verb::Use, Verb::Manage],
                Role::Viewer => &[Verb::Use],
                Role::Auditor | Role::ConnectorRegistry | Role::SecretVault | Role::RuntimeSync => {
                    &[]
                }
            };
            let principal = Principal::with_role(role.as_str(), role);
            let principal =
                every_scope()
                    .into_iter()
                    .fold(principal, |principal, scope| match verbs {
                        [] => principal,
                        verbs => principal.with_claim(scope, verbs.iter().copied()),
                    });
            TokenSpec {
                name: role.as_str().to_owned(),
                principal,
            }
        })
        .collect()
}

fn every_scope() -> [ScopeSelector; 3] {
    let system = ScopeSelector::One(names::ScopeName::System);
    [ScopeSelector::AllUsers, ScopeSelector::AllProjects, system]
}

/// Makes `folder/tokens/{name}` for each token that is not there yet (0600, the folder 0700) and
/// `folder/tokens.json` with their hashes. Existing tokens stay as they are.
///
/// Gives the path of the file of hashes.
///
/// # Errors
/// When a file cannot be read or written.
pub fn issue_tokens(folder: &Path, specs: &[TokenSpec]) -> Result<PathBuf, TokensFileError> {
    let tokens_folder = folder.join(TOKENS_FOLDER);
    make_private_folder(&tokens_folder).map_err(|source| TokensFileError::Io {
        path: tokens_folder.clone(),
        source,
    })?;
    let mut tokens = Vec::with_capacity(specs.len());
    for spec in specs {
        let token = read_or_create_token(&tokens_folder.join(&spec.name))?;
        tokens.push(Entry::new(hash(token.expose()), &spec.principal));
    }
    let path = folder.join(HASHES_FILE);
    let json =
        serde_json::to_vec_pretty(&File { tokens }).map_err(|source| TokensFileError::Json {
            path: path.clone(),
            source,
        })?;
    write_private(&path, &json).map_err(|source| TokensFileError::Io {
        path: path.clone(),
        source,
    })?;
    Ok(path)
}

fn make_private_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tokens: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// SHA-256 of the token, in hexadecimal digits.
    sha256: String,
    subject: String,
    roles: Vec<String>,
    #[serde(default)]
    claims: Vec<ClaimEntry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    acting_user: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClaimEntry {
    scope: String,
    verbs: Vec<String>,
}

impl Entry {
    fn new(hash: [u8; 32], principal: &Principal) -> Self {
        let Principal {
            subject,
            roles,
            claims,
            acting_user,
        } = principal;
        let claim = |Claim { scope, verbs }: &Claim| ClaimEntry {
            scope: scope.to_string(),
            verbs: verbs.iter().map(Verb::to_string).collect(),
        };
        Self {
            sha256: hash.iter().map(|byte| format!("{byte:02x}")).collect(),
            subject: subject.clone(),
            roles: roles.iter().map(Role::to_string).collect(),
            claims: claims.iter().map(claim).collect(),
            acting_user: acting_user.clone(),
        }
    }

    fn parse(self) -> Result<([u8; 32], Arc<Principal>), String> {
        let Self {
            sha256,
            subject,
            roles,
            claims,
            acting_user,
        } = self;
        let role = |name: &String| {
            Role::from_name(name).ok_or_else(|| format!("there is no role '{name}'"))
        };
        let roles = roles.iter().map(role).collect::<Result<_, _>>()?;
        let claims = claims
            .into_iter()
            .map(ClaimEntry::parse)
            .collect::<Result<_, _>>()?;
        let hash = parse_hash(&sha256).ok_or("sha256 must be 64 hexadecimal digits")?;
        Ok((
            hash,
            Arc::new(Principal {
                subject,
                roles,
                claims,
                acting_user,
            }),
        ))
    }
}

impl ClaimEntry {
    fn parse(self) -> Result<Claim, String> {
        let Self { scope, verbs } = self;
        let verb = |name: &String| {
            Verb::from_name(name).ok_or_else(|| format!("there is no verb '{name}'"))
        };
        let verbs = verbs.iter().map(verb).collect::<Result<_, _>>()?;
        let scope = scope
            .parse()
            .map_err(|error| format!("scope '{scope}': {error}"))?;
        Ok(Claim { scope, verbs })
    }
}

fn parse_hash(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut hash = [0; 32];
    for (index, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(index * 2..index * 2 + 2)?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests;
