//! Floors: the least a program can do for the same traffic, each a process of its own so that its
//! processor time can be read beside the platform's in the same run.

use std::io::IoSlice;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::failure::Failure;

/// Frames of one write, as the gateway aims at.
const FRAMES_PER_WRITE: usize = 64;

const UPGRADED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Floor {
    /// Writes the same frames to every socket, 64 a write
    Fanout { clients: usize, frames: usize, size: usize },
    /// Answers 204 without looking
    Http,
    /// Answers every request with a body of this many bytes
    Page { size: usize },
}

pub(crate) async fn run(floor: Floor) -> Result<(), Failure> {
    let told = |error| Failure::failed("the floor", error);
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(told)?;
    let port = listener.local_addr().map_err(told)?.port();
    crate::table::line(&port.to_string())?;
    match floor {
        Floor::Fanout { clients, frames, size } => {
            fanout(listener, clients, frames, size).await.map_err(told)
        }
        Floor::Http => {
            answer(listener, "HTTP/1.1 204 No Content\r\n\r\n".into()).await.map_err(told)
        }
        Floor::Page { size } => {
            let body = "x".repeat(size);
            let page = format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n{body}");
            answer(listener, page.into()).await.map_err(told)
        }
    }
}

async fn fanout(
    listener: TcpListener,
    clients: usize,
    frames: usize,
    size: usize,
) -> std::io::Result<()> {
    let frame: Bytes = text_frame(size).into();
    let everybody = Arc::new(Barrier::new(clients));
    let mut writers = JoinSet::new();
    for _ in 0..clients {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        writers.spawn(write_all(stream, frame.clone(), frames, Arc::clone(&everybody)));
    }
    while let Some(written) = writers.join_next().await {
        written.map_err(std::io::Error::other)??;
    }
    Ok(())
}

async fn write_all(
    mut stream: TcpStream,
    frame: Bytes,
    frames: usize,
    everybody: Arc<Barrier>,
) -> std::io::Result<()> {
    let mut request = [0; 1024];
    let _read = stream.read(&mut request).await?;
    stream.write_all(UPGRADED).await?;
    everybody.wait().await;
    let total = frames * frame.len();
    let mut written = 0;
    while written < total {
        let first = written % frame.len();
        let left = (total - written).div_ceil(frame.len());
        let mut slices = vec![IoSlice::new(&frame); left.min(FRAMES_PER_WRITE)];
        slices[0] = IoSlice::new(&frame[first..]);
        written += stream.write_vectored(&slices).await?;
    }
    // The measuring side closes; what it has not read yet must not be cut off.
    let _closed = stream.read(&mut request).await?;
    Ok(())
}

fn text_frame(size: usize) -> Vec<u8> {
    let payload = size.saturating_sub(4);
    let length = u16::try_from(payload).unwrap_or(u16::MAX).to_be_bytes();
    let mut frame = vec![0x81, 126, length[0], length[1]];
    frame.resize(4 + payload, b'x');
    frame
}

/// Reads requests by their length and gives each the same answer, until nobody asks any more.
async fn answer(listener: TcpListener, answer: Bytes) -> std::io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        connections.spawn(serve(stream, answer.clone()));
    }
}

async fn serve(mut stream: TcpStream, answer: Bytes) -> std::io::Result<()> {
    let mut buffer = Vec::with_capacity(16 * 1024);
    loop {
        while let Some(length) = request_length(&buffer) {
            buffer.drain(..length);
            stream.write_all(&answer).await?;
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

fn request_length(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let whole = end + length.unwrap_or(0);
    (bytes.len() >= whole).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_whole_with_its_body() {
        let request = b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\nab";
        assert_eq!(request_length(request), Some(request.len()));
        assert_eq!(request_length(&request[..request.len() - 1]), None);
    }

    #[test]
    fn a_frame_has_the_size_asked_for() {
        assert_eq!(text_frame(200).len(), 200);
    }
}
