//! A reader of the stream that assumes nothing: it parses every byte, and every wait is bounded.

use std::net::SocketAddr;

use bytes::BytesMut;
use evolink_receiver::domain::event::id::EventId;
use serde_json::Value;
use tokio::time::timeout;

use super::seen::Seen;
use crate::support::described;
use crate::support::until::PATIENCE;

pub struct SseReader {
    /// The position in the head of the answer.
    pub begins: i64,
    answer: reqwest::Response,
    buffer: BytesMut,
    pub last_data: Option<String>,
}

/// Something that a stream sent.
#[derive(Debug)]
pub enum Came {
    Event(Seen),
    /// A comment, with the position that it names.
    Comment(i64),
    /// The stream ended, or broke off.
    End {
        is_whole: bool,
    },
}

impl SseReader {
    pub async fn open(address: SocketAddr, query: &str, last: Option<i64>) -> Self {
        let opened = Self::try_open(address, query, last).await;
        opened.expect("the stream begins")
    }

    /// Fails with the status, or with `None` if there was no answer.
    pub async fn try_open(
        address: SocketAddr,
        query: &str,
        last: Option<i64>,
    ) -> Result<Self, Option<u16>> {
        let http = described::client(reqwest::Client::builder().no_proxy().build().unwrap());
        let mut request = http
            .get(format!("http://{address}/v1/events?{query}"))
            .header("accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last.to_string());
        }
        let answer = timeout(PATIENCE, request.send()).await.expect("an answer");
        let answer = answer.map_err(|_| None)?;
        if answer.status() != 200 {
            return Err(Some(answer.status().as_u16()));
        }
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        let begins = answer.headers()["last-event-id"].to_str().unwrap();
        let begins = EventId::parse(begins).unwrap().seq;
        assert!(last.is_none_or(|last| last == begins), "from {begins}");
        Ok(Self {
            answer,
            begins,
            buffer: BytesMut::new(),
            last_data: None,
        })
    }

    /// The next event or comment. A comment is one line, without a blank line of its own.
    pub async fn next(&mut self) -> Came {
        loop {
            if self.buffer.starts_with(b":") {
                if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                    let comment = self.buffer.split_to(end + 1);
                    let place = comment[..end].strip_prefix(b": at ").expect("a place");
                    let place = std::str::from_utf8(place).unwrap();
                    return Came::Comment(EventId::parse(place).unwrap().seq);
                }
            } else if let Some(end) = self.buffer.windows(2).position(|two| two == b"\n\n") {
                let block = self.buffer.split_to(end + 2);
                let block = std::str::from_utf8(&block[..end]).unwrap().to_owned();
                return self.read(&block);
            }
            let chunk = timeout(PATIENCE, self.answer.chunk()).await;
            match chunk.expect("the stream says something within a minute") {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk),
                Ok(None) => {
                    return Came::End {
                        is_whole: self.buffer.is_empty(),
                    };
                }
                Err(_) => return Came::End { is_whole: false },
            }
        }
    }

    fn read(&mut self, block: &str) -> Came {
        let lines: Vec<&str> = block.split('\n').collect();
        let [id, kind, data] = lines[..] else {
            panic!("not three lines: {block:?}");
        };
        let id = id.strip_prefix("id: ").expect("an id");
        let kind = kind.strip_prefix("event: ").expect("a type");
        let data = data.strip_prefix("data: ").expect("data");
        let event: Value = serde_json::from_str(data).unwrap();
        assert_eq!(event["id"], id, "{block}");
        assert_eq!(event["type"], kind, "{block}");
        self.last_data = Some(data.to_owned());
        Came::Event(Seen::of(&event))
    }

    /// The next `count` events.
    pub async fn take(&mut self, count: usize) -> Vec<Seen> {
        let mut seen = Vec::new();
        while seen.len() < count {
            match self.next().await {
                Came::Event(event) => seen.push(event),
                Came::Comment(_) => {}
                Came::End { .. } => panic!("it ended after {seen:?}"),
            }
        }
        seen
    }

    /// The position that a comment names.
    pub async fn comment(&mut self) -> i64 {
        let came = self.next().await;
        let Came::Comment(place) = came else {
            panic!("no comment: {came:?}");
        };
        place
    }

    /// Whether the stream ends, and not in the middle of an event.
    pub async fn ended(&mut self) -> bool {
        let ending = async {
            loop {
                if let Came::End { is_whole } = self.next().await {
                    return is_whole;
                }
            }
        };
        timeout(PATIENCE, ending).await.expect("it ends")
    }
}
