//! The messages of OpenAPI version 2, as numbers and names (upstream: gnostic-models/openapiv2/OpenAPIv2.proto).

use serde_json::Value;

use super::Kind::{Any, Choice, Flag, Integer, List, Map, Message as Inner, Number, Repeated, Text};
use super::{Entry, Fields, Kind, Message};

const TEXTS: Kind = Repeated(&Text);

const fn message(runs: &'static [Fields]) -> Message {
    Message { runs, extensible: true }
}

const fn map(values: &'static Kind) -> Kind {
    Map { pairs: 1, extensions: None, values }
}

pub(super) static DOCUMENT: Message = message(&[&[
    ("swagger", Text),
    ("info", Inner(&INFO)),
    ("host", Text),
    ("basePath", Text),
    ("schemes", TEXTS),
    ("consumes", TEXTS),
    ("produces", TEXTS),
    ("paths", Map { pairs: 2, extensions: Some(1), values: &Inner(&PATH_ITEM) }),
    ("definitions", map(&Inner(&SCHEMA))),
    ("parameters", map(&Choice(parameter))),
    ("responses", map(&Inner(&RESPONSE))),
    ("security", Repeated(&SECURITY_REQUIREMENT)),
    ("securityDefinitions", map(&Choice(security_definition))),
    ("tags", Repeated(&Inner(&TAG))),
    ("externalDocs", Inner(&EXTERNAL_DOCS)),
]]);

static INFO: Message = message(&[&[
    ("title", Text),
    ("version", Text),
    ("description", Text),
    ("termsOfService", Text),
    ("contact", Inner(&CONTACT)),
    ("license", Inner(&LICENSE)),
]]);

static CONTACT: Message = message(&[&[("name", Text), ("url", Text), ("email", Text)]]);

static LICENSE: Message = message(&[&[("name", Text), ("url", Text)]]);

static TAG: Message = message(&[&[("name", Text), ("description", Text), ("externalDocs", Inner(&EXTERNAL_DOCS))]]);

static EXTERNAL_DOCS: Message = message(&[&[("description", Text), ("url", Text)]]);

static PATH_ITEM: Message = message(&[&[
    ("$ref", Text),
    ("get", Inner(&OPERATION)),
    ("put", Inner(&OPERATION)),
    ("post", Inner(&OPERATION)),
    ("delete", Inner(&OPERATION)),
    ("options", Inner(&OPERATION)),
    ("head", Inner(&OPERATION)),
    ("patch", Inner(&OPERATION)),
    ("parameters", Repeated(&Choice(parameter_or_reference))),
]]);

static OPERATION: Message = message(&[&[
    ("tags", TEXTS),
    ("summary", Text),
    ("description", Text),
    ("externalDocs", Inner(&EXTERNAL_DOCS)),
    ("operationId", Text),
    ("produces", TEXTS),
    ("consumes", TEXTS),
    ("parameters", Repeated(&Choice(parameter_or_reference))),
    ("responses", Map { pairs: 1, extensions: Some(2), values: &Choice(response_or_reference) }),
    ("schemes", TEXTS),
    ("deprecated", Flag),
    ("security", Repeated(&SECURITY_REQUIREMENT)),
]]);

static REFERENCE: Message = Message { runs: &[&[("$ref", Text), ("description", Text)]], extensible: false };

static RESPONSE: Message = message(&[&[
    ("description", Text),
    ("schema", Choice(schema_or_file)),
    ("headers", map(&Inner(&HEADER))),
    ("examples", map(&Any)),
]]);

fn response_or_reference(value: &Value) -> Entry {
    if is_reference(value) { (2, Inner(&REFERENCE)) } else { (1, Inner(&RESPONSE)) }
}

fn schema_or_file(value: &Value) -> Entry {
    if value["type"] == "file" { (2, Inner(&FILE_SCHEMA)) } else { (1, Inner(&SCHEMA)) }
}

fn is_reference(value: &Value) -> bool {
    value.get("$ref").is_some()
}

// Parameters.

fn parameter_or_reference(value: &Value) -> Entry {
    if is_reference(value) { (2, Inner(&REFERENCE)) } else { (1, Choice(parameter)) }
}

fn parameter(value: &Value) -> Entry {
    if value["in"] == "body" { (1, Inner(&BODY_PARAMETER)) } else { (2, Choice(non_body_parameter)) }
}

fn non_body_parameter(value: &Value) -> Entry {
    match value["in"].as_str() {
        Some("header") => (1, Inner(&NAMED_PARAMETER)),
        Some("formData") => (2, Inner(&OPTIONAL_PARAMETER)),
        Some("path") => (4, Inner(&NAMED_PARAMETER)),
        _ => (3, Inner(&OPTIONAL_PARAMETER)),
    }
}

static BODY_PARAMETER: Message =
    message(&[&[("description", Text), ("name", Text), ("in", Text), ("required", Flag), ("schema", Inner(&SCHEMA))]]);

/// In a header or in the path.
static NAMED_PARAMETER: Message = message(&[&PARAMETER, &PRIMITIVE]);

/// In the query or in a form, where the value may be empty.
static OPTIONAL_PARAMETER: Message = message(&[&PARAMETER, &[("allowEmptyValue", Flag)], &PRIMITIVE]);

static HEADER: Message = message(&[&PRIMITIVE, &[("description", Text)]]);

static PRIMITIVES_ITEMS: Message = message(&[&PRIMITIVE]);

static PARAMETER: [(&str, Kind); 4] = [("required", Flag), ("in", Text), ("description", Text), ("name", Text)];

/// What is said of any value that is no object.
static PRIMITIVE: [(&str, Kind); 17] = [
    ("type", Text),
    ("format", Text),
    ("items", Inner(&PRIMITIVES_ITEMS)),
    ("collectionFormat", Text),
    ("default", Any),
    ("maximum", Number),
    ("exclusiveMaximum", Flag),
    ("minimum", Number),
    ("exclusiveMinimum", Flag),
    ("maxLength", Integer),
    ("minLength", Integer),
    ("pattern", Text),
    ("maxItems", Integer),
    ("minItems", Integer),
    ("uniqueItems", Flag),
    ("enum", Repeated(&Any)),
    ("multipleOf", Number),
];

// Schemas.

static SCHEMA: Message = message(&[&[
    ("$ref", Text),
    ("format", Text),
    ("title", Text),
    ("description", Text),
    ("default", Any),
    ("multipleOf", Number),
    ("maximum", Number),
    ("exclusiveMaximum", Flag),
    ("minimum", Number),
    ("exclusiveMinimum", Flag),
    ("maxLength", Integer),
    ("minLength", Integer),
    ("pattern", Text),
    ("maxItems", Integer),
    ("minItems", Integer),
    ("uniqueItems", Flag),
    ("maxProperties", Integer),
    ("minProperties", Integer),
    ("required", TEXTS),
    ("enum", Repeated(&Any)),
    ("additionalProperties", Choice(schema_or_flag)),
    ("type", List(&Text)),
    ("items", List(&Inner(&SCHEMA))),
    ("allOf", Repeated(&Inner(&SCHEMA))),
    ("properties", map(&Inner(&SCHEMA))),
    ("discriminator", Text),
    ("readOnly", Flag),
    ("xml", Inner(&XML)),
    ("externalDocs", Inner(&EXTERNAL_DOCS)),
    ("example", Any),
]]);

fn schema_or_flag(value: &Value) -> Entry {
    if value.is_boolean() { (2, Flag) } else { (1, Inner(&SCHEMA)) }
}

static FILE_SCHEMA: Message = message(&[&[
    ("format", Text),
    ("title", Text),
    ("description", Text),
    ("default", Any),
    ("required", TEXTS),
    ("type", Text),
    ("readOnly", Flag),
    ("externalDocs", Inner(&EXTERNAL_DOCS)),
    ("example", Any),
]]);

static XML: Message =
    message(&[&[("name", Text), ("namespace", Text), ("prefix", Text), ("attribute", Flag), ("wrapped", Flag)]]);

// Security.

/// The names of definitions, each with the scopes needed.
const SECURITY_REQUIREMENT: Kind = map(&List(&Text));

fn security_definition(value: &Value) -> Entry {
    match (value["type"].as_str(), value["flow"].as_str()) {
        (Some("basic"), _) => (1, Inner(&BASIC)),
        (Some("oauth2"), Some("implicit")) => (3, Inner(&OAUTH2_IMPLICIT)),
        (Some("oauth2"), Some("password")) => (4, Inner(&OAUTH2_TOKEN)),
        (Some("oauth2"), Some("application")) => (5, Inner(&OAUTH2_TOKEN)),
        (Some("oauth2"), _) => (6, Inner(&OAUTH2_ACCESS_CODE)),
        _ => (2, Inner(&API_KEY)),
    }
}

static BASIC: Message = message(&[&[("type", Text), ("description", Text)]]);

static API_KEY: Message = message(&[&[("type", Text), ("name", Text), ("in", Text), ("description", Text)]]);

static OAUTH2_IMPLICIT: Message = message(&[&OAUTH2, &[("authorizationUrl", Text), ("description", Text)]]);

/// Of the flows `password` and `application`.
static OAUTH2_TOKEN: Message = message(&[&OAUTH2, &[("tokenUrl", Text), ("description", Text)]]);

static OAUTH2_ACCESS_CODE: Message =
    message(&[&OAUTH2, &[("authorizationUrl", Text), ("tokenUrl", Text), ("description", Text)]]);

static OAUTH2: [(&str, Kind); 3] = [("type", Text), ("flow", Text), ("scopes", map(&Text))];
