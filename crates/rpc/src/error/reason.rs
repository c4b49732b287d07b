//! The reasons that this crate itself gives. Each package's own reasons are an enum in its proto.

/// A machine-readable reason: `[A-Z][A-Z0-9_]+[A-Z0-9]`, at most 63 characters, API for ever.
pub trait ErrorReason {
    /// The reason as it stands in `ErrorInfo`.
    fn as_str(&self) -> &'static str;
}

impl ErrorReason for &'static str {
    fn as_str(&self) -> &'static str {
        self
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Reasons that any RPC may answer with, whatever its package.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
        }

        impl ErrorReason for Reason {
            fn as_str(&self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

reasons! {
    /// The call carries no bearer token, or one that is not known.
    Unauthenticated = "UNAUTHENTICATED",
    /// There is no such method.
    MethodUnknown = "METHOD_UNKNOWN",
    /// None of the caller's roles may call the method.
    RoleNotAllowed = "ROLE_NOT_ALLOWED",
    /// The caller holds the scope, but not the verb.
    VerbNotAllowed = "VERB_NOT_ALLOWED",
    /// The caller does not hold the scope.
    ScopeNotAllowed = "SCOPE_NOT_ALLOWED",
    /// A field of the request is not valid.
    FieldInvalid = "FIELD_INVALID",
    /// The page token was not made by this method for this filter.
    PageTokenInvalid = "PAGE_TOKEN_INVALID",
    /// The server has as much work as it takes on at a time.
    Overloaded = "OVERLOADED",
    /// A message is larger than messages may be.
    MessageTooLarge = "MESSAGE_TOO_LARGE",
    /// The deadline has passed.
    DeadlineExceeded = "DEADLINE_EXCEEDED",
    /// The server is going away; another one, or the next one, will answer.
    ShuttingDown = "SHUTTING_DOWN",
    /// The stream has reached its greatest age; open it again where it stood.
    StreamExpired = "STREAM_EXPIRED",
    /// The peer cannot be reached, or the connection broke.
    PeerUnavailable = "PEER_UNAVAILABLE",
    /// Our bug; the trace id finds it in the log.
    Internal = "INTERNAL",
}
