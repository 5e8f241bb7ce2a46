//! A cheap HTTP/1.1 client for load: one connection kept open, answers read by their length.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(8 * 1024) })
    }

    /// `line` is the method and the path, `headers` whole lines each ended by CRLF.
    pub(crate) async fn request(
        &mut self,
        line: &str,
        headers: &str,
        body: &[u8],
    ) -> Result<Answer> {
        let length = body.len();
        let mut request = format!(
            "{line} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {length}\r\n\r\n"
        )
        .into_bytes();
        request.extend_from_slice(body);
        self.stream.write_all(&request).await?;
        self.answer().await
    }

    async fn answer(&mut self) -> Result<Answer> {
        loop {
            if let Some((status, head, length)) = head(&self.buffer)? {
                while self.buffer.len() < head + length {
                    self.fill().await?;
                }
                let rest = self.buffer.split_off(head + length);
                let body = self.buffer.split_off(head);
                self.buffer = rest;
                return Ok(Answer { status, body });
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// Status, length of the head and length of the body, once the head is whole.
fn head(bytes: &[u8]) -> Result<Option<(u16, usize, usize)>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&bytes[..end]).map_err(Error::other)?;
    let status = text.get(9..12).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| Error::other("no HTTP status"))?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    match length {
        Some(length) => Ok(Some((status, end + 4, length))),
        None if status == 204 || status == 304 => Ok(Some((status, end + 4, 0))),
        None => Err(Error::other("an answer without content-length")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_cut_by_its_length() {
        let bytes = b"HTTP/1.1 202 Accepted\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1";
        assert_eq!(head(bytes).unwrap(), Some((202, 44, 3)));
        assert_eq!(head(&bytes[..30]).unwrap(), None);
        assert!(head(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
