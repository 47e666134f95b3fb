//! Content negotiation: what form of answer a client accepts
//! (upstream: endpoints/handlers/negotiation/negotiate.go).

use apimachinery::StatusError;
use http::HeaderMap;
use http::header;

use crate::request::Query;

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `application/json`.
    #[default]
    Json,
    /// `application/yaml`.
    Yaml,
    /// `application/vnd.kubernetes.protobuf`.
    Protobuf,
    /// `application/cbor`. Upstream offers it behind its gate CBORServingAndStorage (alpha, off in v1.37); here who asks
    /// for it is answered, and the lists of media types in errors are those of the gate's default.
    Cbor,
}

/// What of the objects is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// The objects themselves.
    #[default]
    Whole,
    /// `meta.k8s.io` Table, of this version.
    Table(&'static str),
    /// `meta.k8s.io` PartialObjectMetadata (or its list), of this version.
    Metadata(&'static str),
}

/// What was agreed upon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// JSON, YAML, protobuf or CBOR.
    pub format: Format,
    /// Objects, table rows or metadata.
    pub shape: Shape,
    /// Indented, for people.
    pub pretty: bool,
    /// Whether the client reads gzip.
    pub gzip: bool,
}

/// What there is to choose from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// Whether tables and metadata can be written.
    pub transforms: bool,
    /// Whether the objects themselves can be written as protobuf: custom resources cannot.
    pub protobuf: bool,
}

impl Offer {
    /// What objects of a row can be written as.
    pub fn of(row: &api::Resource) -> Self {
        Self { transforms: true, protobuf: protobuf::knows(&row.gvk.api_version(), &row.gvk.kind) }
    }
}

/// The media types that are written.
pub const WRITTEN: [&str; 3] = ["application/json", "application/yaml", protobuf::MEDIA_TYPE];

/// The media types of which streams are written.
pub const STREAMED: [&str; 2] = ["application/json", protobuf::MEDIA_TYPE];

/// One entry of an `Accept` header.
#[derive(Debug)]
pub struct MediaRange<'a> {
    /// As `application/json`, in lower case where the client wrote so.
    pub media_type: &'a str,
    parameters: &'a str,
    quality: f32,
}

impl<'a> MediaRange<'a> {
    /// A parameter's value, as of `as=Table`.
    pub fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.split(';').find_map(|pair| {
            let (key, value) = pair.trim().split_once('=')?;
            (key.trim() == name).then(|| value.trim().trim_matches('"'))
        })
    }
}

/// The entries of `Accept`, the most wanted first; a missing header accepts everything.
pub fn accepted_ranges(headers: &HeaderMap) -> Vec<MediaRange<'_>> {
    let mut ranges: Vec<MediaRange<'_>> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|text| {
            let text = text.trim();
            let (media_type, parameters) = text.split_once(';').unwrap_or((text, ""));
            let mut range = MediaRange { media_type: media_type.trim(), parameters, quality: 1.0 };
            range.quality = range.parameter("q").and_then(|quality| quality.parse().ok()).unwrap_or(1.0);
            (!range.media_type.is_empty()).then_some(range)
        })
        .collect();
    if ranges.is_empty() {
        ranges.push(MediaRange { media_type: "*/*", parameters: "", quality: 1.0 });
    }
    // Of what is wanted equally the more exact comes first, and then what was said first.
    let stars = |range: &MediaRange<'_>| range.media_type.matches('*').count();
    ranges.sort_by(|a, b| b.quality.total_cmp(&a.quality).then_with(|| stars(a).cmp(&stars(b))));
    ranges
}

/// The format a media type stands for.
pub fn format_of(media_type: &str) -> Option<Format> {
    match media_type {
        "*/*" | "application/*" | "application/json" => Some(Format::Json),
        "application/yaml" | "application/x-yaml" => Some(Format::Yaml),
        protobuf::MEDIA_TYPE => Some(Format::Protobuf),
        cbor::MEDIA_TYPE => Some(Format::Cbor),
        _ => None,
    }
}

/// Chooses the first accepted form among JSON and YAML; `transforms` says whether tables and metadata can be written.
pub fn negotiate(headers: &HeaderMap, query: &Query, transforms: bool) -> Result<Accepted, StatusError> {
    negotiate_offer(headers, query, Offer { transforms, protobuf: false })
}

/// Chooses the first accepted form that can be written.
pub fn negotiate_offer(headers: &HeaderMap, query: &Query, offer: Offer) -> Result<Accepted, StatusError> {
    let chosen = accepted_ranges(headers).iter().find_map(|range| acceptable(range, offer));
    let (format, shape) = chosen.ok_or_else(|| StatusError::not_acceptable(&WRITTEN))?;
    Ok(Accepted { format, shape, pretty: wants_pretty(headers, query), gzip: accepts_gzip(headers) })
}

/// The format of an error for who accepts this; JSON where nothing fits (upstream: `ErrorNegotiated`).
pub fn error_format(headers: &HeaderMap) -> Format {
    accepted_ranges(headers).iter().find_map(|range| format_of(range.media_type)).unwrap_or_default()
}

fn acceptable(range: &MediaRange<'_>, offer: Offer) -> Option<(Format, Shape)> {
    let format = format_of(range.media_type)?;
    let version = match range.parameter("v") {
        None | Some("v1") => "v1",
        Some("v1beta1") => "v1beta1",
        Some(_) => return None,
    };
    // Tables have no protobuf; metadata has, of custom resources too.
    let shape = match (range.parameter("as"), range.parameter("g")) {
        (None, _) if offer.protobuf || format != Format::Protobuf => Shape::Whole,
        (Some("Table"), Some("meta.k8s.io")) if offer.transforms && format != Format::Protobuf => Shape::Table(version),
        (Some("PartialObjectMetadata" | "PartialObjectMetadataList"), Some("meta.k8s.io"))
            if offer.transforms && (version == "v1" || format != Format::Protobuf) =>
        {
            Shape::Metadata(version)
        }
        _ => return None,
    };
    Some((format, shape))
}

fn wants_pretty(headers: &HeaderMap, query: &Query) -> bool {
    if query.has("pretty") {
        return query.is_true("pretty");
    }
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    ["curl", "Wget", "Mozilla/5.0"].iter().any(|person| agent.starts_with(person))
}

/// Whether the client reads gzip.
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| coding.trim().split(';').next() == Some("gzip"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

    fn chosen(accept: &str, offer: Offer) -> Option<(Format, Shape)> {
        let mut headers = HeaderMap::new();
        if !accept.is_empty() {
            headers.insert(header::ACCEPT, HeaderValue::from_str(accept).expect("a header"));
        }
        let accepted = negotiate_offer(&headers, &Query::default(), offer).ok();
        accepted.map(|accepted| (accepted.format, accepted.shape))
    }

    #[test]
    fn the_first_form_that_can_be_written_wins() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        let metadata = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
        let (all, custom) = (Offer { transforms: true, protobuf: true }, Offer { transforms: true, protobuf: false });
        let whole = |format| Some((format, Shape::Whole));
        for (accept, offer, expected) in [
            ("", all, whole(Format::Json)),
            ("application/vnd.kubernetes.protobuf, application/json", all, whole(Format::Protobuf)),
            ("application/vnd.kubernetes.protobuf, application/json", custom, whole(Format::Json)),
            ("application/vnd.kubernetes.protobuf;q=0.5, application/json;q=0.9", all, whole(Format::Json)),
            (PROTOBUF, all, whole(Format::Protobuf)),
            (PROTOBUF, custom, None),
            ("application/vnd.kubernetes.protobuf;stream=watch", all, whole(Format::Protobuf)),
            (table, all, Some((Format::Json, Shape::Table("v1")))),
            (table, Offer::default(), whole(Format::Json)),
            ("application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io", all, None),
            (
                "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
                custom,
                Some((Format::Protobuf, Shape::Metadata("v1"))),
            ),
            (metadata, all, Some((Format::Json, Shape::Metadata("v1")))),
            ("application/cbor, application/json", custom, whole(Format::Cbor)),
            ("application/cbor;as=Table;v=v1;g=meta.k8s.io", all, Some((Format::Cbor, Shape::Table("v1")))),
            ("application/json;q=0.5, application/yaml", all, whole(Format::Yaml)),
            ("*/*, application/yaml", all, whole(Format::Yaml)),
            ("text/html, */*;q=0.1", all, whole(Format::Json)),
            ("text/html", all, None),
        ] {
            assert_eq!(chosen(accept, offer), expected, "{accept}");
        }
    }
}
