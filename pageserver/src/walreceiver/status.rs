//! What a timeline's receiver is doing, as text for people: wait timeouts and the API show it.

use std::sync::{Arc, Mutex, PoisonError};

/// The text of a timeline without a running receiver.
const NOT_ACTIVE: &str = "Not active";

/// Shared between the receiver, which sets the text, and whoever shows it.
#[derive(Clone, Debug, Default)]
pub struct WalReceiverStatus {
    text: Arc<Mutex<Option<String>>>,
}

impl WalReceiverStatus {
    /// The text.
    pub fn text(&self) -> String {
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        text.clone().unwrap_or_else(|| NOT_ACTIVE.to_owned())
    }

    pub(super) fn set(&self, text: Option<String>) {
        *self.text.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }
}
