//! How ids and positions look in JSON, for documents about it.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::id::{NodeId, TenantId, TimelineId};
use crate::lsn::Lsn;

macro_rules! text_schema {
    ($($name:ident: $description:literal, $pattern:literal;)+) => {$(
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string", "pattern": $pattern, "description": $description,
                })
            }
        }
    )+};
}

text_schema! {
    TenantId: "A tenant", "^[0-9a-fA-F]{32}$";
    TimelineId: "A timeline", "^[0-9a-fA-F]{32}$";
    Lsn: "A position in the WAL", "^[0-9a-fA-F]{1,8}/[0-9a-fA-F]{1,8}$";
}

impl JsonSchema for NodeId {
    fn schema_name() -> Cow<'static, str> {
        "NodeId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 0, "description": "A storage node" })
    }
}
