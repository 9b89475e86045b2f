//! Generation numbers: which attachment of a tenant wrote an object.
//!
//! A tenant gets a higher generation each time it is attached to a pageserver. Object names
//! carry the generation of their writer, so two nodes never overwrite each other's objects.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A generation, or none for objects written before generations existed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Generation {
    /// No generation: names carry no suffix.
    #[default]
    None,
    /// A generation issued by the control plane.
    Valid(u32),
}

impl Generation {
    /// Whether there is no generation.
    pub fn is_none(&self) -> bool {
        matches!(self, Generation::None)
    }

    /// The number, if there is one.
    pub fn into_option(self) -> Option<u32> {
        match self {
            Generation::None => None,
            Generation::Valid(number) => Some(number),
        }
    }

    /// Suffix of remote object names: empty, or `-` and eight hexadecimal digits.
    pub fn remote_suffix(&self) -> String {
        match self {
            Generation::None => String::new(),
            Generation::Valid(number) => format!("-{number:08x}"),
        }
    }

    /// Suffix of local layer file names: empty, or `-v1-` and eight hexadecimal digits.
    pub fn local_suffix(&self) -> String {
        match self {
            Generation::None => String::new(),
            Generation::Valid(number) => format!("-v1-{number:08x}"),
        }
    }

    /// Parses the part of a remote suffix that follows the dash.
    pub fn parse_suffix(digits: &str) -> Option<Generation> {
        let valid = digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        valid.then(|| u32::from_str_radix(digits, 16).ok()).flatten().map(Generation::Valid)
    }

    /// The generation before this one; before the first there is none.
    pub fn previous(self) -> Generation {
        match self {
            Generation::None | Generation::Valid(0) => Generation::None,
            Generation::Valid(number) => Generation::Valid(number - 1),
        }
    }

    /// The generation after this one.
    pub fn next(self) -> Generation {
        match self {
            Generation::None => Generation::Valid(1),
            Generation::Valid(number) => Generation::Valid(number + 1),
        }
    }
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Generation::None => f.write_str("<none>"),
            Generation::Valid(number) => write!(f, "{number:08x}"),
        }
    }
}

impl Serialize for Generation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Generation::None => Err(serde::ser::Error::custom(
                "an absent generation cannot be written; skip the field instead",
            )),
            Generation::Valid(number) => serializer.serialize_u32(*number),
        }
    }
}

impl<'de> Deserialize<'de> for Generation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u32::deserialize(deserializer).map(Generation::Valid)
    }
}
