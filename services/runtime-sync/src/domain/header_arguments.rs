//! Which arguments of a tool a modern server wants repeated in HTTP headers (`x-mcp-header`, revision 2026-07-28).
//!
//! A tool whose annotations are not valid must be dropped on streamable HTTP, and only there. Nothing here builds a
//! request (see `session::call`).

use std::collections::HashSet;

use serde_json::{Map, Value};

/// The annotation's key in a schema.
const ANNOTATION: &str = "x-mcp-header";

/// How many arguments of one tool may be repeated; every one costs work with every call.
pub const MAX_HEADERS: usize = 32;

/// An argument that is repeated in the header `Mcp-Param-<header>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderArgument {
    /// The path of property names to the argument.
    pub path: Vec<String>,
    /// The header's name without `Mcp-Param-`.
    pub header: String,
}

/// Whether header annotations mean anything on a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderRule {
    /// Modern servers over HTTP: they are obeyed, and must be valid.
    Obeyed,
    /// Everybody else: they are a schema keyword like any other.
    Ignored,
}

/// The annotations break a rule of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid header annotation")]
pub struct InvalidAnnotation;

/// The annotated arguments of an input schema.
pub fn find(schema: &str, rule: HeaderRule) -> Result<Vec<HeaderArgument>, InvalidAnnotation> {
    // Nearly every schema leaves here, without being parsed.
    if rule == HeaderRule::Ignored || !schema.contains(ANNOTATION) {
        return Ok(Vec::new());
    }
    let schema: Map<String, Value> = serde_json::from_str(schema).map_err(|_| InvalidAnnotation)?;
    if schema.contains_key(ANNOTATION) || has_stray(&schema, true) {
        return Err(InvalidAnnotation);
    }
    let mut found = Vec::new();
    collect(schema.get("properties"), &mut Vec::new(), &mut found)?;
    let mut seen = HashSet::new();
    if found
        .iter()
        .all(|argument: &HeaderArgument| seen.insert(argument.header.to_ascii_lowercase()))
    {
        Ok(found)
    } else {
        Err(InvalidAnnotation)
    }
}

/// Walks `properties` only: an annotation anywhere else has no path to an argument.
fn collect(
    properties: Option<&Value>,
    path: &mut Vec<String>,
    found: &mut Vec<HeaderArgument>,
) -> Result<(), InvalidAnnotation> {
    let Some(Value::Object(properties)) = properties else {
        return Ok(());
    };
    for (name, schema) in properties {
        path.push(name.clone());
        if let Some(header) = schema.get(ANNOTATION) {
            let header = header.as_str().ok_or(InvalidAnnotation)?;
            let kind = schema.get("type").and_then(Value::as_str);
            let primitive = matches!(kind, Some("string" | "integer" | "boolean"));
            if header.is_empty() || !header.chars().all(is_token) || !primitive {
                return Err(InvalidAnnotation);
            }
            // A primitive has no properties that an argument could be found at.
            let is_dead_end = map_has_stray(schema.get("properties"), false);
            if found.len() == MAX_HEADERS || is_dead_end {
                return Err(InvalidAnnotation);
            }
            found.push(HeaderArgument {
                path: path.clone(),
                header: header.to_owned(),
            });
        } else {
            collect(schema.get("properties"), path, found)?;
        }
        path.pop();
    }
    Ok(())
}

/// RFC 9110, section 5.6.2.
fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

/// Whether an annotation stands off the chain of `properties` that starts at the root.
fn has_stray(schema: &Map<String, Value>, on_chain: bool) -> bool {
    schema.iter().any(|(key, value)| match key.as_str() {
        ANNOTATION => !on_chain,
        "properties" => map_has_stray(Some(value), on_chain),
        "$defs" | "definitions" | "dependentSchemas" | "patternProperties" => {
            map_has_stray(Some(value), false)
        }
        // Instance data, not schemas.
        "default" | "const" | "enum" | "examples" => false,
        _ => value_has_stray(value, false),
    })
}

/// The same for each schema of a map.
fn map_has_stray(map: Option<&Value>, on_chain: bool) -> bool {
    map.and_then(Value::as_object)
        .is_some_and(|map| map.values().any(|value| value_has_stray(value, on_chain)))
}

/// The same for what may be a schema or a list of them.
fn value_has_stray(value: &Value, on_chain: bool) -> bool {
    match value {
        Value::Object(schema) => has_stray(schema, on_chain),
        Value::Array(items) => items.iter().any(|item| value_has_stray(item, false)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{HeaderRule, InvalidAnnotation, MAX_HEADERS, find};

    #[test]
    fn a_tool_may_have_only_so_many_annotations() {
        let schema = |count: usize| {
            let properties: Vec<_> = (0..count)
                .map(|n| format!(r#""a{n}":{{"type":"string","x-mcp-header":"H{n}"}}"#))
                .collect();
            format!(r#"{{"properties":{{{}}}}}"#, properties.join(","))
        };
        let found = find(&schema(MAX_HEADERS), HeaderRule::Obeyed).unwrap();
        assert_eq!(found.len(), MAX_HEADERS);
        assert_eq!(
            find(&schema(MAX_HEADERS + 1), HeaderRule::Obeyed),
            Err(InvalidAnnotation)
        );
    }

    #[test]
    fn nested_properties_are_found_with_their_path() {
        let schema = r#"{"type":"object","properties":{"a":{"type":"object","properties":
            {"region":{"type":"string","x-mcp-header":"Region"}}}}}"#;
        let found = find(schema, HeaderRule::Obeyed).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path, ["a", "region"]);
        assert_eq!(found[0].header, "Region");
    }

    #[test]
    fn invalid_annotations_are_refused_where_they_are_obeyed_and_only_there() {
        for schema in [
            r#"{"x-mcp-header":"A"}"#,
            r#"{"properties":{"a":{"type":"string","x-mcp-header":""}}}"#,
            r#"{"properties":{"a":{"type":"string","x-mcp-header":"no space"}}}"#,
            r#"{"properties":{"a":{"type":"string","x-mcp-header":7}}}"#,
            r#"{"properties":{"a":{"type":"object","x-mcp-header":"A"}}}"#,
            r#"{"properties":{"a":{"type":"number","x-mcp-header":"A"}}}"#,
            r#"{"properties":{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string","x-mcp-header":"a"}}}"#,
            r#"{"properties":{"a":{"type":"array","items":{"type":"string","x-mcp-header":"A"}}}}"#,
            r#"{"properties":{"a":{"type":"string","x-mcp-header":"A","properties":{"b":{"type":"string","x-mcp-header":"B"}}}}}"#,
            r#"{"oneOf":[{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}]}"#,
        ] {
            assert_eq!(
                find(schema, HeaderRule::Obeyed),
                Err(InvalidAnnotation),
                "{schema}"
            );
            assert_eq!(find(schema, HeaderRule::Ignored), Ok(vec![]), "{schema}");
        }
    }

    #[test]
    fn instance_data_is_not_mistaken_for_a_schema() {
        let schema = r#"{"properties":{"a":{"type":"object","default":{"x-mcp-header":"A"}}}}"#;
        assert_eq!(find(schema, HeaderRule::Obeyed), Ok(vec![]));
    }
}
