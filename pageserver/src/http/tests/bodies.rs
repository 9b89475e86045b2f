//! The documented bodies against what handlers read and answer.

use http_server::document::Bodies;
use serde_json::Map;

use super::super::info::unloadable_info;
use super::super::routes::{self, Api, Documented};
use super::*;

/// Alternatives of a schema that are tried. No schema has more.
const MAX_ALTERNATIVES: usize = 5;

/// Schemas, and those that they refer to.
struct Schemas(Map<String, Value>);

impl Schemas {
    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let Some(reference) = schema.get("$ref") else { return schema };
        let name = reference.as_str().unwrap().rsplit('/').next().unwrap();
        self.0.get(name).unwrap_or_else(|| panic!("{name} is not defined"))
    }

    fn alternatives<'a>(&'a self, schema: &'a Value) -> Option<&'a Vec<Value>> {
        ["oneOf", "anyOf"].iter().find_map(|name| schema.get(name)?.as_array())
    }

    /// A value of the schema, with every property; `pick` says which alternatives.
    fn example(&self, schema: &Value, pick: usize) -> Value {
        let schema = self.resolve(schema);
        if let Some(alternatives) = self.alternatives(schema) {
            return self.example(&alternatives[pick % alternatives.len()], pick);
        }
        if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
            return self.example_of_all(schema, parts, pick);
        }
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            return values[pick % values.len()].clone();
        }
        match schema["type"].as_str() {
            Some("object") if schema["additionalProperties"].is_object() => {
                json!({ "any name": self.example(&schema["additionalProperties"], pick) })
            }
            Some("object") => {
                let properties = schema["properties"].as_object().unwrap().iter();
                let examples =
                    properties.map(|(name, schema)| (name.clone(), self.example(schema, pick)));
                Value::Object(examples.collect())
            }
            Some("array") => json!([self.example(&schema["items"], pick)]),
            Some("integer") => json!(schema["minimum"].as_u64().unwrap_or(0).max(1)),
            Some("boolean") => json!(true),
            Some("string") => match schema["pattern"].as_str() {
                None => json!("10s"),
                Some(pattern) if pattern.contains("{32}") => json!("5a".repeat(16)),
                Some(_) => json!("0/10"),
            },
            other => panic!("no example of {other:?}: {schema}"),
        }
    }

    /// Several parts, and properties beside them.
    fn example_of_all(&self, schema: &Value, parts: &[Value], pick: usize) -> Value {
        let mut whole = Map::new();
        let own = schema.get("properties").map(|own| json!({"type": "object", "properties": own}));
        for part in parts.iter().chain(&own) {
            match self.example(part, pick) {
                Value::Object(fields) => whole.extend(fields),
                other => return other,
            }
        }
        Value::Object(whole)
    }

    /// Why a value is not one of the schema.
    fn check(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let schema = self.resolve(schema);
        if value.is_null() && schema["nullable"] == true {
            return Ok(());
        }
        if let Some(alternatives) = self.alternatives(schema) {
            let outcomes: Vec<_> = alternatives.iter().map(|one| self.check(one, value)).collect();
            let fits = outcomes.iter().any(Result::is_ok);
            return if fits { Ok(()) } else { Err(format!("{value} is none of: {outcomes:?}")) };
        }
        if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
            // Each part documents some of the properties.
            return parts.iter().try_for_each(|part| self.check_part(part, value));
        }
        if let Some(values) = schema.get("enum").and_then(Value::as_array)
            && !values.contains(value)
        {
            return Err(format!("{value} is not among {values:?}"));
        }
        let fits = match schema.get("type").and_then(Value::as_str) {
            None => true,
            Some("object") => value.is_object(),
            Some("array") => value.is_array(),
            Some("integer") => value.is_u64(),
            Some("boolean") => value.is_boolean(),
            Some("string") => value.is_string(),
            Some(other) => return Err(format!("unknown type {other}")),
        };
        if !fits {
            return Err(format!("{value} is not of type {}", schema["type"]));
        }
        self.check_members(schema, value)
    }

    /// A value against one of several schemas that apply to it together.
    fn check_part(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let properties = self.resolve(schema).get("properties").and_then(Value::as_object);
        let (Some(properties), Some(fields)) = (properties, value.as_object()) else {
            return self.check(schema, value);
        };
        let own = fields.iter().filter(|(name, _)| properties.contains_key(*name));
        self.check(schema, &Value::Object(own.map(|(k, v)| (k.clone(), v.clone())).collect()))
    }

    fn check_members(&self, schema: &Value, value: &Value) -> Result<(), String> {
        for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            let name = name.as_str().unwrap();
            value.get(name).ok_or_else(|| format!("{name} is missing in {value}"))?;
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, member) in value.as_object().into_iter().flatten() {
            match properties.and_then(|properties| properties.get(name)) {
                Some(schema) => self.check(schema, member).map_err(|e| format!("{name}: {e}"))?,
                None if properties.is_some() => return Err(format!("{name} is not documented")),
                None => {
                    if let Some(values @ Value::Object(_)) = schema.get("additionalProperties") {
                        self.check(values, member)?;
                    }
                }
            }
        }
        for element in value.as_array().into_iter().flatten() {
            if let Some(items) = schema.get("items") {
                self.check(items, element)?;
            }
        }
        Ok(())
    }
}

fn api() -> (Vec<Documented>, Schemas) {
    let Api { documented, schemas, .. } = routes::all();
    (documented, Schemas(schemas))
}

fn concrete(path: &str, server: &Server) -> String {
    path.replace("{tenant_shard_id}", &server.tenant.to_string())
        .replace("{timeline_id}", &TimelineId::generate().to_string())
        .replace("{layer_file_name}", "x")
}

/// Routes that read JSON, with its schema.
fn with_request_body(documented: &[Documented]) -> impl Iterator<Item = (&Documented, Value)> {
    documented.iter().filter_map(|route| {
        let body = route.bodies.request.as_ref()?;
        Some((route, body.schema.clone().to_value()))
    })
}

const UNPARSED: &str = "Failed to parse json request";

#[tokio::test]
async fn documented_requests_are_parsed() {
    let server = Server::start().await;
    let (documented, schemas) = api();
    for (route, schema) in with_request_body(&documented) {
        for pick in 0..MAX_ALTERNATIVES {
            let body = schemas.example(&schema, pick);
            let path = concrete(&route.path, &server);
            let (_, answer) =
                server.call(&route.method.to_uppercase(), &path, Some(body.clone())).await;
            assert!(!message(&answer).contains(UNPARSED), "{path}: {body}: {answer}");
        }
    }
}

#[tokio::test]
async fn requests_without_a_required_property_are_refused() {
    let server = Server::start().await;
    let (documented, schemas) = api();
    let mut refused = 0;
    for (route, schema) in with_request_body(&documented) {
        let path = concrete(&route.path, &server);
        let whole = schemas.example(&schema, 0);
        let required = schemas.resolve(&schema).get("required").and_then(Value::as_array);
        for name in required.into_iter().flatten().filter_map(Value::as_str) {
            let mut body = whole.clone();
            body.as_object_mut().unwrap().remove(name).unwrap();
            let (status, answer) =
                server.call(&route.method.to_uppercase(), &path, Some(body)).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{path} without {name}");
            assert!(message(&answer).contains(UNPARSED), "{path} without {name}: {answer}");
            refused += 1;
        }
        let (status, _) = server.call(&route.method.to_uppercase(), &path, Some(json!([[]]))).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path} with something else");
    }
    assert!(refused > 5, "the schemas require something");
}

#[tokio::test]
async fn answers_are_as_documented() {
    let server = Server::start().await;
    server.put_location(json!(1)).await;
    let body = json!({"tenant_id": server.tenant, "gc_period": "20s", "eviction_policy":
        {"kind": "LayerAccessThreshold", "period": "1m", "threshold": "1h"}});
    server.call("PUT", "/v1/tenant/config", Some(body)).await;
    let (documented, schemas) = api();
    let requests = [
        ("/v1/top_tenants", json!({"order_by": "resident_size", "limit": 1})),
        ("/v1/disk_usage_eviction/run", json!({"evict_bytes": 1})),
    ];
    let mut checked = 0;
    for route in &documented {
        let Bodies { response: Some(body), .. } = &route.bodies else { continue };
        let request = requests.iter().find(|(path, _)| *path == route.path);
        if route.method != "get" && request.is_none() {
            continue;
        }
        let path = concrete(&route.path, &server);
        let request = request.map(|(_, body)| body.clone());
        let (status, answer) = server.call(&route.method.to_uppercase(), &path, request).await;
        if status.is_success() {
            let schema = body.schema.clone().to_value();
            schemas.check(&schema, &answer).unwrap_or_else(|why| panic!("{path}: {why}"));
            checked += 1;
        }
    }
    assert!(checked >= 9, "{checked} routes answered");
}

#[test]
fn descriptions_of_timelines_are_as_documented() {
    let (_, schemas) = api();
    let shard = TenantShardId::unsharded(TenantId::generate());
    let info = unloadable_info(shard, TimelineId::generate(), "torn".to_owned());
    let value = serde_json::to_value(info).unwrap();
    schemas.check(&schemas.0["TimelineInfo"], &value).unwrap();
}

#[test]
fn every_schema_that_is_referred_to_is_defined() {
    fn visit(schemas: &Schemas, value: &Value) {
        schemas.resolve(value);
        let members = value.as_object().into_iter().flat_map(Map::values);
        for part in members.chain(value.as_array().into_iter().flatten()) {
            visit(schemas, part);
        }
    }
    let (documented, schemas) = api();
    for definition in schemas.0.values() {
        visit(&schemas, definition);
    }
    for Documented { bodies, .. } in &documented {
        for body in bodies.request.iter().chain(&bodies.response) {
            visit(&schemas, &body.schema.clone().to_value());
        }
    }
}
