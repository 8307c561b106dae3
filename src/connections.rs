//! The connections of a listener: each is a task, there are only so many at a time, and they end together.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// After a connection that could not be taken: out of descriptors, most likely, and those that end give some back.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves who connects, at most `most` at once, and tells of each one beyond these. Once it has `ended`, nobody is taken any
/// more, and the open connections are waited for.
pub(crate) async fn accept<Served: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    most: usize,
    mut ended: watch::Receiver<bool>,
    serve: impl Fn(TcpStream, IpAddr) -> Served,
    too_many: impl Fn(),
) {
    let seats = Arc::new(Semaphore::new(most));
    let mut tasks = JoinSet::new();
    loop {
        while tasks.try_join_next().is_some() {}
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = ended.wait_for(|ended| *ended) => break,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("a connection was lost before it began: {error}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Ok(seat) = Arc::clone(&seats).try_acquire_owned() else {
            too_many();
            continue;
        };
        let served = serve(stream, from.ip());
        tasks.spawn(async move {
            served.await;
            drop(seat);
        });
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Those beyond the most are told of and closed, and the open ones are heard to their end after the end.
    #[test]
    fn there_are_so_many_at_once_and_they_end_before_it_does() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            let (end, ended) = watch::channel(false);
            let refused = Arc::new(AtomicUsize::new(0));
            let task = {
                let refused = Arc::clone(&refused);
                let echo = |mut stream: TcpStream, _| async move {
                    let mut heard = Vec::new();
                    stream.read_to_end(&mut heard).await.expect("read");
                    stream.write_all(&heard).await.expect("written");
                };
                let too_many = move || {
                    refused.fetch_add(1, Ordering::Relaxed);
                };
                tokio::spawn(accept(listener, 2, ended, echo, too_many))
            };
            let mut open = Vec::new();
            for _ in 0..2 {
                let mut stream = TcpStream::connect(address).await.expect("connected");
                stream.write_all(b"here").await.expect("written");
                open.push(stream);
            }
            let mut third = TcpStream::connect(address).await.expect("connected");
            assert_eq!(third.read(&mut [0; 1]).await.expect("closed"), 0, "it is one too many");
            assert_eq!(refused.load(Ordering::Relaxed), 1);
            end.send_replace(true);
            for mut stream in open {
                stream.shutdown().await.expect("said all");
                let mut heard = String::new();
                stream.read_to_string(&mut heard).await.expect("read");
                assert_eq!(heard, "here");
            }
            task.await.expect("it ends");
        });
    }
}
