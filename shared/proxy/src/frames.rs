//! Parts a stream of bytes where its protocol does, however it was cut on the way.
use crate::{Protocol, Side};
use bytes::{Bytes, BytesMut};
use std::collections::HashMap;

/// The largest frame or message: brokers and databases send far smaller ones, so a larger one is
/// another protocol.
const PIECE_MAX_BYTES: usize = 64 * 1024 * 1024;

/// Room for one read.
const READ_BYTES: usize = 64 * 1024;

/// Type, channel and size; behind the payload comes [`FRAME_END`].
const FRAME_HEAD_BYTES: usize = 7;
const FRAME_END: u8 = 0xCE;

/// What an AMQP client says first, and a broker that does not like it.
const GREETING_BYTES: usize = 8;

/// (class, method) of what matters here.
const PUBLISH: (u16, u16) = (60, 40);
const RETURN: (u16, u16) = (60, 50);
const DELIVER: (u16, u16) = (60, 60);
const GET_OK: (u16, u16) = (60, 71);
const ACK: (u16, u16) = (60, 80);
const NACK: (u16, u16) = (60, 120);

/// What a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Publish,
    Deliver,
    Return,
    /// From a client: of a delivery. From a broker: of a publish.
    Ack,
    Header,
    Body,
    Heartbeat,
    /// The answer of PostgreSQL to a COMMIT.
    Committed,
    Other,
}

/// What may not be parted, unless a rule says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) bytes: Bytes,
    pub(crate) kind: Kind,
    /// True of the first body frame of a published message.
    pub(crate) first_body: bool,
    /// True of the last piece of a published message.
    pub(crate) ends_publish: bool,
}

/// Not the protocol that it was said to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Garbled;

/// A message of which the head has come and something is missing.
#[derive(Debug)]
struct Content {
    published: bool,
    /// None before its header.
    left: Option<u64>,
    begun: bool,
}

/// One side's stream.
#[derive(Debug)]
pub(crate) struct Splitter {
    protocol: Protocol,
    side: Side,
    buffer: BytesMut,
    greeted: bool,
    /// By channel.
    contents: HashMap<u16, Content>,
}

impl Splitter {
    pub(crate) fn new(protocol: Protocol, side: Side) -> Self {
        // What a client says to PostgreSQL is of no interest.
        let blind = protocol == Protocol::Postgres && side == Side::Client;
        let protocol = if blind { Protocol::Bytes } else { protocol };
        let (buffer, contents) = (BytesMut::new(), HashMap::new());
        Self { protocol, side, buffer, greeted: false, contents }
    }

    /// Where bytes are read into.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        self.buffer.reserve(READ_BYTES);
        &mut self.buffer
    }

    /// True if something may be put in between: no message is half through.
    pub(crate) fn between_messages(&self) -> bool {
        self.contents.is_empty()
    }

    /// The next whole piece, if it is there.
    pub(crate) fn next(&mut self) -> Result<Option<Piece>, Garbled> {
        if self.buffer.is_empty() {
            return Ok(None);
        }
        match self.protocol {
            Protocol::Amqp => self.amqp(),
            Protocol::Postgres => self.postgres(),
            Protocol::Bytes => Ok(self.take(self.buffer.len(), Kind::Other)),
        }
    }

    fn take(&mut self, bytes: usize, kind: Kind) -> Option<Piece> {
        let bytes = (self.buffer.len() >= bytes).then(|| self.buffer.split_to(bytes).freeze())?;
        Some(Piece { bytes, kind, first_body: false, ends_publish: false })
    }

    fn amqp(&mut self) -> Result<Option<Piece>, Garbled> {
        if !self.greeted && self.buffer[0] == b'A' {
            let greeting = self.take(GREETING_BYTES, Kind::Other);
            self.greeted = greeting.is_some();
            return Ok(greeting);
        }
        if self.buffer.len() < FRAME_HEAD_BYTES {
            return Ok(None);
        }
        self.greeted = true;
        let channel = u16::from_be_bytes([self.buffer[1], self.buffer[2]]);
        let payload = number(&self.buffer[3..7]) as usize;
        let whole = FRAME_HEAD_BYTES + payload + 1;
        if whole > PIECE_MAX_BYTES {
            return Err(Garbled);
        }
        let kind = self.buffer[0];
        let Some(mut piece) = self.take(whole, Kind::Other) else { return Ok(None) };
        if piece.bytes[whole - 1] != FRAME_END {
            return Err(Garbled);
        }
        let payload = piece.bytes.slice(FRAME_HEAD_BYTES..whole - 1);
        match kind {
            1 => piece.kind = self.method(channel, &payload)?,
            2 => self.header(channel, &payload, &mut piece)?,
            3 => self.body(channel, &payload, &mut piece)?,
            8 => piece.kind = Kind::Heartbeat,
            _ => return Err(Garbled),
        }
        Ok(Some(piece))
    }

    fn method(&mut self, channel: u16, payload: &[u8]) -> Result<Kind, Garbled> {
        if payload.len() < 4 {
            return Err(Garbled);
        }
        let [class, method] = [&payload[..2], &payload[2..4]].map(|word| number(word) as u16);
        let kind = match (class, method) {
            PUBLISH => Kind::Publish,
            DELIVER | GET_OK => Kind::Deliver,
            RETURN => Kind::Return,
            ACK | NACK => Kind::Ack,
            // Nothing comes any more on a channel that is closed.
            (20, 40 | 41) => {
                self.contents.remove(&channel);
                Kind::Other
            }
            _ => Kind::Other,
        };
        if matches!(kind, Kind::Publish | Kind::Deliver | Kind::Return) {
            let published = kind == Kind::Publish && self.side == Side::Client;
            self.contents.insert(channel, Content { published, left: None, begun: false });
        }
        Ok(kind)
    }

    fn header(&mut self, channel: u16, payload: &[u8], piece: &mut Piece) -> Result<(), Garbled> {
        piece.kind = Kind::Header;
        let size = payload.get(4..12).ok_or(Garbled)?;
        let Some(content) = self.contents.get_mut(&channel) else { return Ok(()) };
        content.left = Some(number(size));
        self.settle(channel, piece);
        Ok(())
    }

    fn body(&mut self, channel: u16, payload: &[u8], piece: &mut Piece) -> Result<(), Garbled> {
        piece.kind = Kind::Body;
        let Some(content) = self.contents.get_mut(&channel) else { return Ok(()) };
        let left = content.left.ok_or(Garbled)?;
        piece.first_body = content.published && !content.begun;
        content.begun = true;
        content.left = Some(left.checked_sub(payload.len() as u64).ok_or(Garbled)?);
        self.settle(channel, piece);
        Ok(())
    }

    /// Ends a message of which everything has come.
    fn settle(&mut self, channel: u16, piece: &mut Piece) {
        if self.contents.get(&channel).is_some_and(|content| content.left == Some(0)) {
            let content = self.contents.remove(&channel);
            piece.ends_publish = content.is_some_and(|content| content.published);
        }
    }

    /// The server's messages: a letter, a length that counts itself, and the rest.
    fn postgres(&mut self) -> Result<Option<Piece>, Garbled> {
        if !self.greeted && matches!(self.buffer[0], b'N' | b'S') {
            // The answer to a question for encryption is one letter. Behind a yes all is secret.
            if self.buffer[0] == b'S' {
                self.protocol = Protocol::Bytes;
            }
            return Ok(self.take(1, Kind::Other));
        }
        self.greeted = true;
        if self.buffer.len() < 5 {
            return Ok(None);
        }
        let length = number(&self.buffer[1..5]) as usize;
        if !(4..PIECE_MAX_BYTES).contains(&length) {
            return Err(Garbled);
        }
        let Some(mut piece) = self.take(1 + length, Kind::Other) else { return Ok(None) };
        if piece.bytes[0] == b'C' && piece.bytes[5..] == b"COMMIT\0"[..] {
            piece.kind = Kind::Committed;
        }
        Ok(Some(piece))
    }
}

/// Big endian.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![kind];
        frame.extend(channel.to_be_bytes());
        frame.extend((payload.len() as u32).to_be_bytes());
        frame.extend(payload);
        frame.push(FRAME_END);
        frame
    }

    fn method(channel: u16, (class, method): (u16, u16)) -> Vec<u8> {
        frame(1, channel, &[class.to_be_bytes(), method.to_be_bytes()].concat())
    }

    fn header(channel: u16, size: u64) -> Vec<u8> {
        frame(2, channel, &[&[0, 60, 0, 0][..], &size.to_be_bytes(), &[0, 0]].concat())
    }

    /// What a client says: hello, a heartbeat, and three messages, the last of them empty.
    fn client() -> Vec<Vec<u8>> {
        vec![
            b"AMQP\x00\x00\x09\x01".to_vec(),
            method(0, (10, 11)),
            frame(8, 0, &[]),
            method(1, PUBLISH),
            header(1, 5),
            method(2, PUBLISH),
            frame(3, 1, &[FRAME_END, 1]),
            header(2, 4),
            frame(3, 2, b"AMQP"),
            frame(3, 1, &[3, 4, 5]),
            method(1, PUBLISH),
            header(1, 0),
            method(1, ACK),
        ]
    }

    /// All pieces of a stream that comes in parts of these lengths.
    fn split(protocol: Protocol, side: Side, parts: &[&[u8]]) -> Vec<Piece> {
        let (mut splitter, mut pieces) = (Splitter::new(protocol, side), Vec::new());
        for part in parts {
            splitter.buffer().extend_from_slice(part);
            while let Some(piece) = splitter.next().unwrap() {
                pieces.push(piece);
            }
        }
        assert!(splitter.buffer.is_empty() && splitter.between_messages());
        pieces
    }

    #[test]
    fn frames_are_found_wherever_the_stream_is_cut() {
        let stream = client().concat();
        let whole = split(Protocol::Amqp, Side::Client, &[&stream]);
        let bytes: Vec<_> = whole.iter().map(|piece| piece.bytes.to_vec()).collect();
        assert_eq!(bytes, client());
        for at in 0..=stream.len() {
            let (left, right) = stream.split_at(at);
            assert_eq!(split(Protocol::Amqp, Side::Client, &[left, right]), whole, "{at}");
        }
        let single: Vec<_> = stream.chunks(1).collect();
        assert_eq!(split(Protocol::Amqp, Side::Client, &single), whole);
    }

    #[test]
    fn a_published_message_ends_with_its_last_body_frame_or_with_an_empty_header() {
        let pieces = split(Protocol::Amqp, Side::Client, &[&client().concat()]);
        let at = |what: fn(&Piece) -> bool| {
            let found = pieces.iter().enumerate().filter(|(_, piece)| what(piece));
            found.map(|(at, _)| at).collect::<Vec<_>>()
        };
        assert_eq!(at(|piece| piece.kind == Kind::Publish), [3, 5, 10]);
        assert_eq!(at(|piece| piece.ends_publish), [8, 9, 11]);
        assert_eq!(at(|piece| piece.first_body), [6, 8]);
        assert_eq!(at(|piece| piece.kind == Kind::Heartbeat), [2]);
        assert_eq!(at(|piece| piece.kind == Kind::Ack), [12]);
    }

    #[test]
    fn nothing_is_put_into_the_middle_of_a_message() {
        let mut splitter = Splitter::new(Protocol::Amqp, Side::Server);
        let returned = [method(1, RETURN), header(1, 2), frame(3, 1, b"{}")];
        let between = returned.map(|frame| {
            splitter.buffer().extend_from_slice(&frame);
            let piece = splitter.next().unwrap().unwrap();
            assert!(!piece.ends_publish && !piece.first_body, "it is the broker's");
            splitter.between_messages()
        });
        assert_eq!(between, [false, false, true]);
    }

    #[test]
    fn another_protocol_is_told_from_amqp() {
        for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[1, 0, 0, 0, 0, 0, 1, 7, 7]] {
            let mut splitter = Splitter::new(Protocol::Amqp, Side::Client);
            splitter.buffer().extend_from_slice(garbage);
            assert_eq!(splitter.next(), Err(Garbled));
        }
    }

    #[test]
    fn the_answer_to_a_commit_is_found_wherever_the_stream_is_cut() {
        let message = |letter: u8, text: &[u8]| {
            let length = (text.len() as u32 + 4).to_be_bytes();
            [&[letter][..], &length, text].concat()
        };
        let all = [
            b"N".to_vec(),
            message(b'R', &[0, 0, 0, 0]),
            message(b'C', b"BEGIN\0"),
            message(b'D', b"COMMIT\0"),
            message(b'C', b"COMMIT\0"),
            message(b'Z', b"I"),
        ];
        let stream = all.concat();
        for at in 0..=stream.len() {
            let (left, right) = stream.split_at(at);
            let pieces = split(Protocol::Postgres, Side::Server, &[left, right]);
            let commits = pieces.iter().map(|piece| piece.kind == Kind::Committed);
            assert_eq!(commits.collect::<Vec<_>>(), [false, false, false, false, true, false]);
        }
    }
}
