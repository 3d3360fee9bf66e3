//! Allowed webhook targets: a server that posts to any address is a way into its own network (SSRF; `security.md` 2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use url::{Host, Url};

/// The reason for which a URL is refused as a webhook target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error("url must be an absolute http or https url without a user name or password")]
    BadUrl,
    #[error("the target is a private, loopback or link-local address; set webhooks.allow_private to permit it")]
    Private,
}

/// Parses a target; an address literal that is not public is refused unless `allow_private`. It is checked again at each connection,
/// and host names by the addresses that they resolve to.
pub fn check_url(text: &str, allow_private: bool) -> Result<Url, TargetError> {
    let url = Url::parse(text).map_err(|_| TargetError::BadUrl)?;
    let web = matches!(url.scheme(), "http" | "https");
    if !web || !url.username().is_empty() || url.password().is_some() || text.len() > 2048 {
        return Err(TargetError::BadUrl);
    }
    let public = is_public_host(&url.host().ok_or(TargetError::BadUrl)?);
    if public || allow_private { Ok(url) } else { Err(TargetError::Private) }
}

/// Whether a host may be public: a literal that is, or a name other than that of this machine.
pub fn is_public_host<S: AsRef<str>>(host: &Host<S>) -> bool {
    match host {
        Host::Ipv4(ip) => is_public((*ip).into()),
        Host::Ipv6(ip) => is_public((*ip).into()),
        Host::Domain(name) => {
            let name = name.as_ref().trim_end_matches('.').to_ascii_lowercase();
            name != "localhost" && !name.ends_with(".localhost")
        }
    }
}

/// Whether an address is publicly routable.
pub fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = matches!(
        (a, b, c),
        (0 | 10 | 127, ..)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (192, 168, _)
            | (198, 18..=19, _)
            | (198, 51, 100)
            | (203, 0, 113)
            | (224..=255, ..)
    );
    !special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let segments = ip.segments();
    // Global unicast is 2000::/3; of it: Teredo, documentation, 6to4 (all of which can lead inward).
    let global = segments[0] & 0xe000 == 0x2000;
    let special = matches!(segments, [0x2001, 0, ..] | [0x2001, 0xdb8, ..] | [0x2002, ..] | [0x3fff, 0..=0x0fff, ..]);
    global && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_literals_are_refused_in_every_spelling() {
        for url in [
            "http://127.0.0.1/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://10.1.2.3/",
            "http://169.254.169.254/latest",
            "http://100.64.0.1/",
            "http://[fd00::1]/",
            "http://[2002:7f00:1::]/",
            "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
            "http://[2001:db8::1]/",
            "http://localhost:80/",
            "http://a.localhost./",
        ] {
            assert_eq!(check_url(url, false), Err(TargetError::Private), "{url}");
            assert!(check_url(url, true).is_ok(), "{url}");
        }
    }

    #[test]
    fn public_targets_are_accepted_and_malformed_ones_refused() {
        assert!(check_url("https://example.org/hook", false).is_ok());
        assert!(check_url("http://8.8.8.8/", false).is_ok());
        for url in ["", "example.org", "ftp://example.org/", "http://user:pw@example.org/"] {
            assert!(matches!(check_url(url, true), Err(TargetError::BadUrl)), "{url}");
        }
    }
}
