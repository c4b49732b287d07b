//! Which redirects may be followed, and with which headers.
//!
//! Invariants: the target is judged like a URL that the user had entered; a request with a body goes only where it
//! went before (same origin, same method); credentials never leave their origin; nothing goes from `https` to `http`.

use http::{HeaderMap, Method, StatusCode, header::LOCATION};
use policy::{Destination, Policy, ScopeKind};
use url::Url;

use crate::Error;

/// How many redirects in a row are followed.
pub const MAX_REDIRECTS: usize = 5;

/// Where to go next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follow {
    /// The checked target.
    pub url: Url,
    /// What to do with `Authorization`, cookies and every secret header.
    pub credentials: Credentials,
}

/// Whether credentials may be sent to a redirect's target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credentials {
    /// Same origin.
    Keep,
    /// Another origin.
    Strip,
}

pub(crate) fn decide(
    policy: &Policy,
    scope: ScopeKind,
    from: &Url,
    method: &Method,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<Follow, Error> {
    let safe = matches!(*method, Method::GET | Method::HEAD);
    let keeps_method = matches!(
        status,
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
    );
    let changes_method = matches!(
        status,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER
    );
    let followed = keeps_method || (safe && changes_method);
    if !followed {
        return Err(Error::RedirectRefused);
    }
    let location = headers
        .get(LOCATION)
        .and_then(|value| value.to_str().ok())
        .ok_or(Error::RedirectRefused)?;
    let url = from.join(location).map_err(|_| Error::RedirectRefused)?;
    let target = policy.check_url(scope, &url).map_err(Error::Denied)?;
    let origin = Destination::remote(from).map_err(Error::Denied)?;
    if target == origin {
        return Ok(Follow {
            url,
            credentials: Credentials::Keep,
        });
    }
    if !safe || (from.scheme() == "https" && url.scheme() != "https") {
        return Err(Error::RedirectRefused);
    }
    Ok(Follow {
        url,
        credentials: Credentials::Strip,
    })
}

#[cfg(test)]
mod tests {
    use policy::{AddressClass, Refusal};

    use super::*;

    fn decide_from(
        from: &str,
        method: &Method,
        status: u16,
        location: &str,
    ) -> Result<(String, Credentials), Error> {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, location.parse().expect("a header"));
        let status = StatusCode::from_u16(status).expect("a status");
        let from = Url::parse(from).expect("a URL");
        let follow = decide(
            &Policy::default(),
            ScopeKind::User,
            &from,
            method,
            status,
            &headers,
        )?;
        Ok((follow.url.to_string(), follow.credentials))
    }

    #[test]
    fn a_post_follows_307_and_308_to_its_own_origin_only() {
        let from = "https://a.example/mcp";
        for status in [307, 308] {
            let same = decide_from(from, &Method::POST, status, "/v2/mcp");
            assert_eq!(
                same,
                Ok(("https://a.example/v2/mcp".to_owned(), Credentials::Keep))
            );
            let explicit = decide_from(from, &Method::POST, status, "https://A.example:443/x");
            assert_eq!(
                explicit,
                Ok(("https://a.example/x".to_owned(), Credentials::Keep))
            );
            for elsewhere in [
                "https://b.example/mcp",
                "https://a.example:8443/",
                "//b.example/",
            ] {
                assert_eq!(
                    decide_from(from, &Method::POST, status, elsewhere),
                    Err(Error::RedirectRefused)
                );
            }
        }
        for status in [300, 301, 302, 303, 304, 305] {
            assert_eq!(
                decide_from(from, &Method::POST, status, "/v2"),
                Err(Error::RedirectRefused),
                "{status}"
            );
        }
    }

    #[test]
    fn a_get_loses_its_credentials_when_it_leaves_its_origin() {
        let from = "https://a.example/x";
        for status in [301, 302, 303, 307, 308] {
            let elsewhere = decide_from(from, &Method::GET, status, "https://b.example/y");
            assert_eq!(
                elsewhere,
                Ok(("https://b.example/y".to_owned(), Credentials::Strip)),
                "{status}"
            );
        }
    }

    #[test]
    fn a_redirects_target_is_judged_like_any_url() {
        let from = "https://a.example/x";
        for (location, refusal) in [
            (
                "https://169.254.169.254/latest/meta-data",
                Refusal::Address(AddressClass::Metadata),
            ),
            ("https://[::1]/", Refusal::Address(AddressClass::Loopback)),
            ("http://a.example/", Refusal::PlainHttp),
            ("file:///etc/passwd", Refusal::UnknownScheme),
            ("https://user:password@a.example/", Refusal::Credentials),
        ] {
            assert_eq!(
                decide_from(from, &Method::GET, 302, location),
                Err(Error::Denied(refusal)),
                "{location}"
            );
        }
    }

    #[test]
    fn nothing_goes_from_https_to_http() {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, "http://b.example/".parse().expect("a header"));
        let from = Url::parse("https://a.example/").expect("a URL");
        let decided = decide(
            &Policy::local(),
            ScopeKind::User,
            &from,
            &Method::GET,
            StatusCode::FOUND,
            &headers,
        );
        assert_eq!(decided, Err(Error::RedirectRefused));
    }
}
