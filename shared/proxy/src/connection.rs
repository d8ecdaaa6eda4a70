//! One client and its server: what one says is judged piece by piece, and mostly passed on.
use crate::frames::{Piece, Splitter};
use crate::laws::{Gate, Pace, Verdict};
use crate::{End, Shared, Side};
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, sink};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// How long the server may take to accept: it is on this machine.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a side may take to close after it was told.
const GOODBYE: Duration = Duration::from_millis(500);

/// A throttled stream is written in this many parts a second.
const PARTS_PER_SECOND: u64 = 20;

/// Until one side closes, a rule ends it, or the proxy is dropped.
pub(crate) async fn serve(mut client: TcpStream, shared: Arc<Shared>) {
    // A blow that comes while the server is being reached counts.
    let mut strike = shared.strike.subscribe();
    if !shared.laws().admit() {
        return leave(client, End::Reset).await;
    }
    let upstream = *shared.upstream();
    let connected = timeout(CONNECT, TcpStream::connect(upstream)).await;
    let Ok(Ok(mut server)) = connected else { return leave(client, End::Reset).await };
    // A proxy that gathers small packets would be a rule of its own.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let end = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let up = Pump::new(&shared, Side::Client, from_client, to_server);
        let down = Pump::new(&shared, Side::Server, from_server, to_client);
        tokio::select! { biased;
            end = struck(&mut strike) => end,
            passed = passed(up, down) => passed,
        }
    };
    let end = match end {
        // Both sockets stay open, and nobody reads them, until the whole proxy ends or is struck.
        End::Halt => struck(&mut strike).await,
        end => end,
    };
    tokio::join!(leave(client, end), leave(server, end));
}

async fn struck(strike: &mut tokio::sync::watch::Receiver<End>) -> End {
    match strike.changed().await {
        Ok(()) => *strike.borrow_and_update(),
        // The proxy is going, and takes this task along.
        Err(_) => pending().await,
    }
}

async fn passed(up: Pump<'_>, down: Pump<'_>) -> End {
    match tokio::try_join!(up.run(), down.run()) {
        Ok(_) => End::Cut,
        Err(end) => end,
    }
}

async fn leave(mut stream: TcpStream, end: End) {
    if end == End::Reset {
        // Closing throws away what is left, and tells it: the definition of a reset.
        let _ = stream.set_zero_linger();
        return;
    }
    // Closed with something unread, the kernel would make a reset of it, and what was passed on
    // could be lost with it.
    let _ = stream.shutdown().await;
    let _ = timeout(GOODBYE, copy(&mut stream, &mut sink())).await;
}

/// One way through a connection.
struct Pump<'a> {
    shared: &'a Shared,
    side: Side,
    from: ReadHalf<'a>,
    to: WriteHalf<'a>,
    splitter: Splitter,
    /// Confirms that are passed on later, and when.
    held: VecDeque<(Instant, Bytes)>,
}

impl<'a> Pump<'a> {
    fn new(shared: &'a Shared, side: Side, from: ReadHalf<'a>, to: WriteHalf<'a>) -> Self {
        let splitter = Splitter::new(shared.protocol, side);
        Self { shared, side, from, to, splitter, held: VecDeque::new() }
    }

    /// `Ok` at the end of the stream, which is passed on too.
    async fn run(mut self) -> Result<(), End> {
        loop {
            let due = self.held.front().map(|(due, _)| *due);
            let due = due.filter(|_| self.splitter.between_messages());
            tokio::select! { biased;
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    if let Some((_, bytes)) = self.held.pop_front() {
                        self.write(bytes).await?;
                    }
                }
                read = self.from.read_buf(self.splitter.buffer()) => match read {
                    Ok(0) => {
                        self.gate().await?;
                        let _ = self.to.shutdown().await;
                        return Ok(());
                    }
                    Ok(_) => self.pieces().await?,
                    // Whatever happened to this side happens to the other.
                    Err(_) => return Err(End::Reset),
                }
            }
        }
    }

    /// Passes on what has come as a whole.
    async fn pieces(&mut self) -> Result<(), End> {
        self.gate().await?;
        let mut passing = BytesMut::new();
        loop {
            let piece = match self.splitter.next() {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                Err(_) => {
                    self.shared.laws().garbled();
                    return Err(End::Cut);
                }
            };
            let Piece { bytes, .. } = &piece;
            let verdict = self.shared.laws().judge(self.side, &piece);
            let end = match verdict {
                Verdict::Pass => {
                    passing.extend_from_slice(bytes);
                    continue;
                }
                Verdict::Swallow => continue,
                Verdict::Hold(time) => {
                    self.held.push_back((Instant::now() + time, bytes.clone()));
                    continue;
                }
                Verdict::PassThen(end) => {
                    passing.extend_from_slice(bytes);
                    end
                }
                Verdict::HalfThen(end) => {
                    passing.extend_from_slice(&bytes[..bytes.len() / 2]);
                    end
                }
                Verdict::Instead(end) => end,
            };
            self.write(passing.freeze()).await?;
            return Err(end);
        }
        self.write(passing.freeze()).await
    }

    /// Waits while this side is paused; an error if nothing goes through any more.
    async fn gate(&self) -> Result<(), End> {
        let mut changed = self.shared.changed.subscribe();
        loop {
            let gate = self.shared.laws().gate(self.side);
            match gate {
                Gate::Open => return Ok(()),
                Gate::Halted => return Err(End::Halt),
                Gate::Paused if changed.changed().await.is_err() => return Err(End::Cut),
                Gate::Paused => {}
            }
        }
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), End> {
        if bytes.is_empty() {
            return Ok(());
        }
        let Pace { delay, bytes_per_second } = self.shared.laws().pace();
        if let Some(delay) = delay {
            sleep(delay).await;
        }
        let Some(rate) = bytes_per_second else {
            return self.to.write_all(&bytes).await.map_err(|_| End::Reset);
        };
        let part = usize::try_from((rate / PARTS_PER_SECOND).max(1)).unwrap_or(usize::MAX);
        for part in bytes.chunks(part) {
            self.to.write_all(part).await.map_err(|_| End::Reset)?;
            sleep(Duration::from_secs_f64(part.len() as f64 / rate as f64)).await;
        }
        Ok(())
    }
}
