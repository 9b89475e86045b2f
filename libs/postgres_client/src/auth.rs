//! Logging in: trust, clear-text, MD5 and SCRAM-SHA-256 passwords.

use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use pq_proto::ServerMessage;
use pq_proto::client::{write_password, write_sasl_initial_response, write_sasl_response};
use pq_proto::server_message::Authentication;

use crate::connect::ConnectOptions;
use crate::error::Error;
use crate::stream::{MessageReader, MessageWriter};

const ACTIVITY: &str = "logging in";

/// Answers the server's questions until it accepts the session.
pub(crate) async fn authenticate(
    reader: &mut MessageReader,
    writer: &mut MessageWriter,
    options: &ConnectOptions,
) -> Result<(), Error> {
    loop {
        match next_step(reader).await? {
            Authentication::Ok => return Ok(()),
            Authentication::CleartextPassword => {
                write_password(&mut writer.buffer, password(options)?)?;
                writer.flush().await?;
            }
            Authentication::Md5Password(salt) => {
                let hash = md5_hash(options.user.as_bytes(), password(options)?, salt);
                write_password(&mut writer.buffer, hash.as_bytes())?;
                writer.flush().await?;
            }
            Authentication::Sasl(mechanisms) => {
                scram(reader, writer, password(options)?, &mechanisms).await?;
            }
            Authentication::SaslContinue(_) | Authentication::SaslFinal(_) => {
                let text = "the server continues a SASL exchange that was not begun";
                return Err(Error::Authentication(text.to_owned()));
            }
            Authentication::Unsupported(method) => {
                let text = format!(
                    "the server asks for method {method}, which is not supported; \
                     allow scram-sha-256, md5, password or trust in its pg_hba.conf"
                );
                return Err(Error::Authentication(text));
            }
        }
    }
}

async fn next_step(reader: &mut MessageReader) -> Result<Authentication, Error> {
    loop {
        match reader.next().await? {
            ServerMessage::Authentication(step) => return Ok(step),
            ServerMessage::ErrorResponse(report) => return Err(report.into()),
            // The server speaks an older minor version or ignores options of ours: both are fine.
            ServerMessage::NegotiateProtocolVersion => {}
            other => return Err(Error::Unexpected { message: other.name(), activity: ACTIVITY }),
        }
    }
}

fn password(options: &ConnectOptions) -> Result<&[u8], Error> {
    let missing = || {
        let text = format!("the server wants a password for user {:?}, none is set", options.user);
        Error::Authentication(text)
    };
    options.password.as_deref().map(str::as_bytes).ok_or_else(missing)
}

/// The four steps of SCRAM. The server must prove that it knows the password too.
async fn scram(
    reader: &mut MessageReader,
    writer: &mut MessageWriter,
    password: &[u8],
    mechanisms: &[String],
) -> Result<(), Error> {
    if !mechanisms.iter().any(|mechanism| mechanism == SCRAM_SHA_256) {
        let text = format!("the server offers {mechanisms:?}, only {SCRAM_SHA_256} is supported");
        return Err(Error::Authentication(text));
    }
    let failed = |error: std::io::Error| Error::Authentication(error.to_string());
    let mut exchange = ScramSha256::new(password, ChannelBinding::unsupported());
    write_sasl_initial_response(&mut writer.buffer, SCRAM_SHA_256, exchange.message())?;
    writer.flush().await?;

    let Authentication::SaslContinue(challenge) = next_step(reader).await? else {
        return Err(Error::Authentication("the server broke off the SCRAM exchange".to_owned()));
    };
    exchange.update(&challenge).map_err(failed)?;
    write_sasl_response(&mut writer.buffer, exchange.message())?;
    writer.flush().await?;

    let Authentication::SaslFinal(proof) = next_step(reader).await? else {
        return Err(Error::Authentication("the server did not prove its identity".to_owned()));
    };
    exchange.finish(&proof).map_err(failed)
}
