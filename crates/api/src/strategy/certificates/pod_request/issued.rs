//! What comes with an issued certificate: it is for the key that was asked for, and the times are its own.

use apimachinery::duration::GoDuration;
use apimachinery::field::{Error, Path};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use crate::check::{Errors, pem, x509};
use crate::json::Read;

const MAX_CHAIN: usize = 100 * 1024;
/// So far may a certificate's beginning be from now.
const SKEW: SignedDuration = SignedDuration::from_mins(5);
/// So far is the refresh from the beginning and from the end.
const MARGIN: SignedDuration = SignedDuration::from_mins(10);
const SHORTEST: SignedDuration = SignedDuration::from_hours(1);

/// Judges the status with which a request turns out to be issued, at its time.
pub(super) fn judge(status: &Map<String, Value>, spec: &Map<String, Value>, now: Timestamp) -> Errors {
    let chain = status.text("certificateChain");
    let path = Path::new("status").child("certificateChain");
    if chain.len() > MAX_CHAIN {
        return vec![Error::too_long(&path, MAX_CHAIN)];
    }
    let wrong = |detail: &str| vec![Error::invalid(&path, chain, detail)];
    let mut blocks = pem::blocks(chain.as_bytes());
    let Some(block) = blocks.next() else {
        return wrong("issued certificate chain must contain at least one certificate");
    };
    if block.label != "CERTIFICATE" {
        return wrong("issued certificate chain must consist entirely of CERTIFICATE PEM blocks");
    }
    let Ok(leaf) = x509::certificate(&block.contents) else {
        return wrong("leaf certificate does not parse as valid X.509");
    };
    let mut errors = names(&leaf, &path);
    if !is_for_whom_it_was_asked(&leaf, spec) {
        errors.extend(wrong("leaf certificate was not issued to the requested public key"));
        return errors;
    }
    let found = times(status, &leaf, spec, now);
    if !found.is_empty() {
        errors.extend(found);
        return errors;
    }
    for block in blocks {
        if block.label != "CERTIFICATE" {
            errors.extend(wrong("issued certificate chain must consist entirely of CERTFICATE PEM blocks"));
            break;
        }
        if x509::certificate(&block.contents).is_err() {
            errors.extend(wrong("intermediate certificate does not parse as valid X.509"));
            break;
        }
    }
    errors
}

/// Names that others could take for something else.
fn names(leaf: &X509Certificate<'_>, path: &Path) -> Errors {
    let mut errors = Errors::new();
    let Ok(Some(names)) = leaf.subject_alternative_name() else { return errors };
    let mut wrong = |name: &str, detail: &str| errors.push(Error::invalid(path, name, detail));
    for name in &names.value.general_names {
        match name {
            GeneralName::DNSName(name) => {
                if name.is_empty() {
                    wrong(name, "leaf certificate should not contain empty DNSName");
                }
                if name.contains("..") {
                    wrong(name, "leaf certificate's DNSName should not contain '..'");
                }
                if name.starts_with('.') || name.ends_with('.') {
                    wrong(name, "leaf certificate's DNSName should not start or end with '.'");
                }
            }
            GeneralName::RFC822Name(address) if !is_address(address) => {
                wrong(address, "leaf certificate should not contain invalid EmailAddress");
            }
            _ => {}
        }
    }
    errors
}

/// Whether this is the address of a mailbox: words without spaces on both sides of one `@`.
fn is_address(text: &str) -> bool {
    let is_word = |part: &str| {
        let odd = |c: char| c.is_whitespace() || c.is_control() || "<>()[],;:\\\"@".contains(c);
        !part.is_empty() && !part.split('.').any(str::is_empty) && !part.contains(odd)
    };
    text.split_once('@').is_some_and(|(user, host)| is_word(user) && is_word(host))
}

fn is_for_whom_it_was_asked(leaf: &X509Certificate<'_>, spec: &Map<String, Value>) -> bool {
    let der = STANDARD.decode(spec.text("stubPKCS10Request")).unwrap_or_default();
    let request = x509::request(&der);
    request.is_ok_and(|asked| x509::is_same_key(&asked.certification_request_info.subject_pki, leaf.public_key()))
}

/// The times of the status are the certificate's, and fit what was asked for.
fn times(status: &Map<String, Value>, leaf: &X509Certificate<'_>, spec: &Map<String, Value>, now: Timestamp) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("status");
    let consistent = "must be present and consistent with the issued certificate";
    let ranged = "must be present and in the range [notbefore+10min, notafter-10min]";
    let mut time = |field: &str, detail: &str| {
        let time = status.text(field).parse::<Timestamp>().ok();
        if time.is_none() {
            errors.push(Error::required(&path.child(field), detail));
        }
        time.unwrap_or_default()
    };
    let from = time("notBefore", consistent);
    let to = time("notAfter", consistent);
    let refresh = time("beginRefreshAt", ranged);
    if !errors.is_empty() {
        return errors;
    }
    let validity = leaf.validity();
    let of_leaf = |seconds: i64| Timestamp::from_second(seconds).unwrap_or_default();
    let (begins, ends) = (of_leaf(validity.not_before.timestamp()), of_leaf(validity.not_after.timestamp()));
    let lifetime = ends.duration_since(begins);
    let shown = i64::try_from(lifetime.as_nanos()).unwrap_or(i64::MAX);
    let longest = spec.int("maxExpirationSeconds").unwrap_or_default();
    let wrong = |field: &str, detail: &str| vec![Error::invalid(&path.child(field), status.text(field), detail)];
    let of_life = |detail: String| {
        let shown = GoDuration::from_nanos(shown).to_string();
        vec![Error::invalid(&path.child("certificateChain"), shown, detail)]
    };
    if from != begins {
        return wrong("notBefore", "must be set to the NotBefore time encoded in the leaf certificate");
    }
    if from.duration_since(now).abs() >= SKEW {
        return wrong("notBefore", "must be set to within 5 minutes of kube-apiserver's current time");
    }
    if to != ends {
        return wrong("notAfter", "must be set to the NotAfter time encoded in the leaf certificate");
    }
    if lifetime < SHORTEST {
        return of_life("leaf certificate lifetime must be >= 1 hour".to_owned());
    }
    if lifetime > SignedDuration::from_secs(longest) {
        return of_life(format!("leaf certificate lifetime must be <= spec.maxExpirationSeconds ({longest})"));
    }
    if refresh.duration_since(from) < MARGIN {
        return wrong("beginRefreshAt", "must be at least 10 minutes after status.notBefore");
    }
    if to.duration_since(refresh) < MARGIN {
        return wrong("beginRefreshAt", "must be at least 10 minutes before status.notAfter");
    }
    errors
}
