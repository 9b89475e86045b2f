//! The OpenAPI document, made from the table of routes and the types of their handlers, and a page
//! that shows it.

use std::fmt::Write;

use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use http_server::document::Body;
use serde_json::{Map, Value, json};

use super::routes::{Access, Api, Documented};
use super::yaml;

/// The version that the schemas are written for.
const VERSION: &str = "3.0.3";
const ERROR: &str = "#/components/schemas/Error";

/// Renders the document in YAML.
pub fn render(api: &Api) -> String {
    let mut document = String::new();
    // One part after the other, so that it reads from the general to the particular.
    for part in [
        json!({ "openapi": VERSION }),
        json!({ "info": {
            "title": "Pageserver management API",
            "description": "Attach tenants, create timelines, look at layers",
            "version": "1.0",
        } }),
        json!({ "paths": paths(&api.documented) }),
        json!({ "components": components(&api.schemas) }),
    ] {
        yaml::write_block(&mut document, &part, 0);
    }
    document
}

fn components(schemas: &Map<String, Value>) -> Value {
    let mut schemas = schemas.clone();
    let error = json!({
        "type": "object", "required": ["msg"], "properties": { "msg": { "type": "string" } },
    });
    schemas.insert("Error".to_owned(), error);
    json!({
        "securitySchemes": { "JWT": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" } },
        "schemas": schemas,
    })
}

fn paths(routes: &[Documented]) -> Map<String, Value> {
    let mut paths = common_paths();
    for route in routes {
        let path =
            paths.entry(route.path.clone()).or_insert_with(|| match parameters(&route.path) {
                parameters if parameters.is_empty() => json!({}),
                parameters => json!({ "parameters": parameters }),
            });
        path[route.method] = operation(route);
    }
    paths
}

/// The routes that come with every daemon.
fn common_paths() -> Map<String, Value> {
    let text = json!({ "text/plain": { "schema": { "type": "string" } } });
    let metrics = json!({ "get": {
        "summary": "Metrics in the Prometheus text format",
        "responses": { "200": { "description": "OK", "content": text } },
    } });
    let failpoints = json!({ "put": {
        "summary": "Configures failpoints (test builds)",
        "security": [{ "JWT": [] }],
        "responses": { "200": { "description": "OK" }, "default": failure() },
    } });
    [("/metrics".to_owned(), metrics), ("/v1/failpoints".to_owned(), failpoints)]
        .into_iter()
        .collect()
}

fn parameters(path: &str) -> Vec<Value> {
    let name = |part: &str| Some(part.strip_prefix('{')?.strip_suffix('}')?.to_owned());
    let parameter = |name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } });
    path.split('/').filter_map(name).map(parameter).collect()
}

fn operation(route: &Documented) -> Value {
    let Documented { access, summary, bodies, .. } = route;
    let mut success = json!({ "description": "OK" });
    if let Some(body) = &bodies.response {
        success["content"] = content(body);
    }
    let mut operation = json!({
        "summary": summary,
        "responses": { bodies.status: success, "default": failure() },
    });
    if *access != Access::Open {
        operation["security"] = json!([{ "JWT": [] }]);
    }
    if let Some(body) = &bodies.request {
        operation["requestBody"] = json!({ "required": body.required, "content": content(body) });
    }
    operation
}

fn content(body: &Body) -> Value {
    json!({ body.media_type: { "schema": body.schema } })
}

fn failure() -> Value {
    let schema = json!({ "schema": { "$ref": ERROR } });
    json!({ "description": "Failure", "content": { "application/json": schema } })
}

/// Answers with the document.
pub fn document(document: &str) -> Response {
    ([(header::CONTENT_TYPE, "application/yaml")], document.to_owned()).into_response()
}

/// Answers with a page that lists the routes.
pub fn page(routes: &[Documented]) -> Response {
    let mut html = String::from(
        "<!DOCTYPE html><html><head><meta charset=\"utf-8\"><title>Pageserver API</title></head>\
         <body><h1>Pageserver management API</h1><p><a href=\"/swagger.yml\">OpenAPI document</a></p>\
         <table>",
    );
    for Documented { method, path, access, summary, .. } in routes {
        let method = method.to_uppercase();
        let _ = write!(
            html,
            "<tr><td>{method}</td><td><code>{path}</code></td><td>{access:?}</td><td>{summary}</td></tr>"
        );
    }
    html.push_str("</table></body></html>");
    Html(html).into_response()
}
