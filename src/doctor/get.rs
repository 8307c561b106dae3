//! One request of HTTP over a connection of its own.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::reach::{Unreached, reach};
use crate::tls::Caller;

/// Bytes of an answer that are read at most.
const LONGEST: u64 = 16 << 20;

/// What was answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: String,
}

/// GET. `None`: what answers does not speak HTTP.
pub(super) async fn get(
    address: SocketAddr,
    path: &str,
    tls: Option<&Caller>,
    patience: Duration,
) -> Result<Option<Reply>, Unreached> {
    let stream = reach(address, patience).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let talk = async {
        match tls {
            None => exchange(stream, &request).await,
            Some(tls) => exchange(tls.connect(stream, patience).await?, &request).await,
        }
    };
    let bytes = tokio::time::timeout(patience, talk).await.map_err(|_| Unreached::Silent(patience))??;
    Ok(read(&String::from_utf8_lossy(&bytes)))
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, request: &str) -> Result<Vec<u8>, Unreached> {
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut bytes = Vec::new();
    let ended = stream.take(LONGEST).read_to_end(&mut bytes).await;
    // What came before a connection broke is an answer.
    if bytes.is_empty() {
        ended?;
    }
    Ok(bytes)
}

fn read(text: &str) -> Option<Reply> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Reply { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_status_and_a_body_and_anything_else_is_none() {
        let body = "{\"alive\":true}".to_owned();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{body}");
        assert_eq!(read(&answer), Some(Reply { status: 200, body }));
        for other in ["", "SSH-2.0-x\r\n", "HTTP/1.1 fine\r\n\r\n", "220 mail\r\n\r\n"] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
