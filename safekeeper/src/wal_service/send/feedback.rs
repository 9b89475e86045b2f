//! What readers of WAL report back.

use postgres_backend::{BackendReader, CopyStreamEnd};
use pq_proto::StandbyMessage;

use super::Never;
use crate::metrics::RECEIVED_PS_FEEDBACKS;
use crate::timeline::Timeline;
use crate::timeline::senders::WalSenderGuard;
use crate::wal_service::refusal::stream_error;
use crate::wal_service::traffic::Traffic;

/// Records every report until the client ends the stream.
pub(super) async fn listen(
    timeline: &Timeline,
    slot: &WalSenderGuard,
    reader: &mut BackendReader,
    traffic: &Traffic,
) -> Result<Never, CopyStreamEnd> {
    loop {
        let payload = reader.read_copy_message().await?;
        traffic.count_read(payload.len());
        match StandbyMessage::parse(payload) {
            Ok(StandbyMessage::Reply(reply)) => slot.record_standby_reply(reply),
            Ok(StandbyMessage::HotStandbyFeedback(feedback)) => {
                slot.record_hot_standby_feedback(feedback);
            }
            Ok(StandbyMessage::PageserverFeedback(feedback)) => {
                RECEIVED_PS_FEEDBACKS.inc();
                slot.record_pageserver_feedback(feedback);
                timeline.advance_remote_consistent_lsn(feedback.remote_consistent_lsn).await;
            }
            Ok(StandbyMessage::Unknown(kind)) => {
                tracing::warn!("ignoring a message of unknown kind {kind:#04x} from a reader");
            }
            Err(error) => return Err(stream_error(error)),
        }
    }
}
