//! Which redirects may be followed.
//!
//! Invariants: the target is judged like a URL that the user had entered; a request goes only where it went before
//! (same origin, same method), so that neither its body nor its credentials ever leave their origin.

use http::{HeaderMap, StatusCode, header::LOCATION};
use policy::{Destination, Policy, ScopeKind};
use url::Url;

use crate::Error;

/// How many redirects in a row are followed.
pub const MAX_REDIRECTS: usize = 5;

pub(crate) fn decide(
    policy: &Policy,
    scope: ScopeKind,
    from: &Url,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<Url, Error> {
    let keeps_method = matches!(
        status,
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
    );
    if !keeps_method {
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
        Ok(url)
    } else {
        Err(Error::RedirectRefused)
    }
}

#[cfg(test)]
mod tests {
    use policy::{AddressClass, Refusal};

    use super::*;

    fn decide_from(from: &str, status: u16, location: &str) -> Result<String, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, location.parse().expect("a header"));
        let status = StatusCode::from_u16(status).expect("a status");
        let from = Url::parse(from).expect("a URL");
        let policy = Policy::default();
        decide(&policy, ScopeKind::User, &from, status, &headers).map(|url| url.to_string())
    }

    #[test]
    fn only_307_and_308_are_followed_and_only_within_the_origin() {
        let from = "https://a.example/mcp";
        for status in [307, 308] {
            assert_eq!(
                decide_from(from, status, "/v2/mcp").as_deref(),
                Ok("https://a.example/v2/mcp")
            );
            assert_eq!(
                decide_from(from, status, "https://A.example:443/x").as_deref(),
                Ok("https://a.example/x")
            );
            for elsewhere in [
                "https://b.example/mcp",
                "https://a.example:8443/",
                "//b.example/",
            ] {
                assert_eq!(
                    decide_from(from, status, elsewhere),
                    Err(Error::RedirectRefused)
                );
            }
        }
        for status in [300, 301, 302, 303, 304, 305] {
            assert_eq!(
                decide_from(from, status, "/v2"),
                Err(Error::RedirectRefused),
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
                decide_from(from, 307, location),
                Err(Error::Denied(refusal)),
                "{location}"
            );
        }
    }

    #[test]
    fn nothing_goes_from_https_to_http() {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, "http://a.example/".parse().expect("a header"));
        let from = Url::parse("https://a.example/").expect("a URL");
        let status = StatusCode::TEMPORARY_REDIRECT;
        let decided = decide(&Policy::local(), ScopeKind::User, &from, status, &headers);
        assert_eq!(decided, Err(Error::RedirectRefused));
    }
}
