//! The halves of a socket, plain or encrypted.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tls::ServerTls;
use tls::server_stream::TlsStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// The half that is read from.
#[derive(Debug)]
pub(crate) enum ReadSocket {
    Plain(OwnedReadHalf),
    Encrypted(ReadHalf<TlsStream<TcpStream>>),
}

/// The half that is written to.
#[derive(Debug)]
pub(crate) enum WriteSocket {
    Plain(OwnedWriteHalf),
    Encrypted(WriteHalf<TlsStream<TcpStream>>),
}

pub(crate) fn plain(socket: TcpStream) -> (ReadSocket, WriteSocket) {
    let (read, write) = socket.into_split();
    (ReadSocket::Plain(read), WriteSocket::Plain(write))
}

/// Agrees with the client on encryption. The halves must be plain ones of one socket.
pub(crate) async fn encrypt(
    halves: (ReadSocket, WriteSocket),
    tls: &ServerTls,
) -> io::Result<(ReadSocket, WriteSocket)> {
    let (ReadSocket::Plain(read), WriteSocket::Plain(write)) = halves else {
        return Err(io::Error::other("the connection is encrypted already"));
    };
    let socket = read.reunite(write).map_err(io::Error::other)?;
    let (read, write) = tokio::io::split(tls.acceptor().accept(socket).await?);
    Ok((ReadSocket::Encrypted(read), WriteSocket::Encrypted(write)))
}

impl ReadSocket {
    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(self, Self::Encrypted(_))
    }

    /// Whether both are halves of the same socket.
    pub(crate) fn is_pair_of(&self, other: &WriteSocket) -> bool {
        match (self, other) {
            (Self::Plain(read), WriteSocket::Plain(write)) => {
                std::ptr::eq(read.as_ref(), write.as_ref())
            }
            (Self::Encrypted(read), WriteSocket::Encrypted(write)) => read.is_pair_of(write),
            (Self::Plain(_), WriteSocket::Encrypted(_))
            | (Self::Encrypted(_), WriteSocket::Plain(_)) => false,
        }
    }
}

impl AsyncRead for ReadSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(context, buffer),
            Self::Encrypted(socket) => Pin::new(socket).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for WriteSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Self::Encrypted(socket) => Pin::new(socket).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(context),
            Self::Encrypted(socket) => Pin::new(socket).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Self::Encrypted(socket) => Pin::new(socket).poll_shutdown(context),
        }
    }
}
