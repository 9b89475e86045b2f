//! At which LSN a request is answered.

use utils::Lsn;

use super::directory::{ServedTimeline, WaitError};
use super::requests::RequestError;

/// Chooses the LSN to read at, waiting for WAL if it has not arrived.
///
/// A primary asks for [`Lsn::MAX`] and says since when the page is unchanged, which may be far
/// below the cutoff; so only the request LSN is compared with it.
pub(super) async fn read_lsn<T: ServedTimeline>(
    timeline: &T,
    request_lsn: Lsn,
    not_modified_since: Lsn,
) -> Result<Lsn, RequestError> {
    if request_lsn < not_modified_since {
        return Err(RequestError::BadRequest(format!(
            "invalid request with request LSN {request_lsn} and not_modified_since {not_modified_since}"
        )));
    }
    let cutoff = timeline.gc_cutoff_lsn();
    if request_lsn < cutoff {
        return Err(RequestError::BadRequest(if request_lsn == Lsn::INVALID {
            "invalid LSN(0) in request".to_owned()
        } else {
            format!(
                "tried to request a page version that was garbage collected. \
                 requested at {request_lsn} gc cutoff {cutoff}"
            )
        }));
    }
    let last = timeline.last_record().last;
    if not_modified_since <= last {
        return Ok(last.min(request_lsn));
    }
    timeline.wait_lsn(not_modified_since).await.map_err(|error| match error {
        WaitError::Timeout(text) => RequestError::LsnTimeout(text),
        WaitError::BadState(text) => RequestError::Reconnect(text),
        WaitError::ShuttingDown => RequestError::Shutdown,
    })?;
    Ok(not_modified_since)
}
