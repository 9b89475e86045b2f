//! Writes JSON values as YAML, for people who read the OpenAPI document.
//!
//! Texts are in double quotes with JSON's escapes, which YAML has, too.

use std::fmt::Write;

use serde_json::Value;

/// Appends a value, which stands in a block of its own that many spaces deep.
pub fn write_block(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, field) in fields {
                let _ = write!(out, "{:depth$}{}:", "", Key(name));
                write_after_mark(out, field, depth);
            }
        }
        Value::Array(elements) if !elements.is_empty() => {
            for element in elements {
                let _ = write!(out, "{:depth$}-", "");
                write_after_mark(out, element, depth);
            }
        }
        scalar => {
            let _ = writeln!(out, "{:depth$}{scalar}", "");
        }
    }
}

fn write_after_mark(out: &mut String, value: &Value, depth: usize) {
    let is_block = match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(elements) => !elements.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    if is_block {
        out.push('\n');
        write_block(out, value, depth + 2);
    } else {
        let _ = writeln!(out, " {value}");
    }
}

/// A name, in quotes unless it is plainly a text.
struct Key<'a>(&'a str);

impl std::fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let is_path = self.0.starts_with('/');
        let is_word = self.0.len() > 3 && self.0.starts_with(|c: char| c.is_ascii_alphabetic());
        let is_simple = self.0.chars().all(|c| c.is_ascii_alphanumeric() || "_-/{}.".contains(c));
        let is_constant = matches!(self.0.to_ascii_lowercase().as_str(), "true" | "false" | "null");
        match (is_path || is_word) && is_simple && !is_constant {
            true => f.write_str(self.0),
            false => write!(f, "{}", Value::from(self.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(value: &Value, expected: &str) {
        let mut out = String::new();
        write_block(&mut out, value, 0);
        assert_eq!(out, expected);
    }

    #[test]
    fn nested_values_are_indented() {
        let value = json!({"list": [1, {"name": "x: \"y\""}], "none": {}, "null": null});
        check(&value, "list:\n  - 1\n  -\n    name: \"x: \\\"y\\\"\"\nnone: {}\n\"null\": null\n");
    }

    #[test]
    fn names_that_could_be_something_else_are_quoted() {
        check(&json!({"200": 1}), "\"200\": 1\n");
        check(&json!({"no": 1}), "\"no\": 1\n");
        check(&json!({"$ref": 1}), "\"$ref\": 1\n");
        check(&json!({"/v1/tenant/{id}": 1}), "/v1/tenant/{id}: 1\n");
    }
}
