//! The OpenAPI document, made from the table of routes, and a page that shows it.

use std::collections::BTreeMap;
use std::fmt::Write;

use axum::http::header;
use axum::response::{Html, IntoResponse, Response};

use super::routes::{Access, Documented};

/// What the document begins with.
const HEAD: &str = "openapi: \"3.0.2\"
info:
  title: Pageserver management API
  description: Attach tenants, create timelines, look at layers
  version: \"1.0\"
servers:
  - url: \"\"
components:
  securitySchemes:
    JWT:
      type: http
      scheme: bearer
      bearerFormat: JWT
  schemas:
    Error:
      type: object
      required: [msg]
      properties:
        msg:
          type: string
paths:
";

/// The routes that come with every daemon.
const COMMON: [(&str, &str, Access, &str); 2] = [
    ("get", "/metrics", Access::Open, "Metrics in the Prometheus text format"),
    ("put", "/v1/failpoints", Access::Node, "Configures failpoints (test builds)"),
];

/// Renders the document in YAML.
pub fn render(routes: &[Documented]) -> String {
    let common = COMMON.map(|(method, path, access, summary)| Documented {
        method,
        path: path.to_owned(),
        access,
        summary,
    });
    let mut by_path: BTreeMap<&str, Vec<&Documented>> = BTreeMap::new();
    for route in routes.iter().chain(&common) {
        by_path.entry(&route.path).or_default().push(route);
    }
    let mut document = HEAD.to_owned();
    for (path, routes) in by_path {
        // Writing to a string cannot fail.
        let _ = writeln!(document, "  {path}:");
        render_parameters(&mut document, path);
        for route in routes {
            render_route(&mut document, route);
        }
    }
    document
}

fn render_parameters(document: &mut String, path: &str) {
    let names: Vec<&str> = path
        .split('/')
        .filter_map(|part| part.strip_prefix('{').and_then(|part| part.strip_suffix('}')))
        .collect();
    if names.is_empty() {
        return;
    }
    document.push_str("    parameters:\n");
    for name in names {
        let _ = writeln!(
            document,
            "      - name: {name}\n        in: path\n        required: true\n        schema:\n          type: string"
        );
    }
}

fn render_route(document: &mut String, route: &Documented) {
    let Documented { method, access, summary, .. } = route;
    let _ = writeln!(document, "    {method}:\n      summary: \"{summary}\"");
    if *access != Access::Open {
        document.push_str("      security:\n        - JWT: []\n");
    }
    document.push_str(
        "      responses:\n        \"200\":\n          description: OK\n        default:\n          \
         description: Failure\n          content:\n            application/json:\n              \
         schema:\n                $ref: \"#/components/schemas/Error\"\n",
    );
}

/// Answers with the document.
pub fn yaml(document: &str) -> Response {
    ([(header::CONTENT_TYPE, "application/yaml")], document.to_owned()).into_response()
}

/// Answers with a page that lists the routes.
pub fn page(routes: &[Documented]) -> Response {
    let mut html = String::from(
        "<!DOCTYPE html><html><head><meta charset=\"utf-8\"><title>Pageserver API</title></head>\
         <body><h1>Pageserver management API</h1><p><a href=\"/swagger.yml\">OpenAPI document</a></p>\
         <table>",
    );
    for Documented { method, path, access, summary } in routes {
        let method = method.to_uppercase();
        let _ = write!(
            html,
            "<tr><td>{method}</td><td><code>{path}</code></td><td>{access:?}</td><td>{summary}</td></tr>"
        );
    }
    html.push_str("</table></body></html>");
    Html(html).into_response()
}
