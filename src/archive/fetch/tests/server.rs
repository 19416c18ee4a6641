//! A server that sends the bytes that a test gives it, whether they are HTTP or not.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// A request.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    /// All lines of the head, in lower case.
    pub head: String,
    /// Its number, from 0.
    pub number: usize,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        let start = format!("{name}: ");
        self.head.lines().find_map(|line| line.strip_prefix(&start))
    }
}

/// What the server does next. After the last turn it closes the connection.
#[derive(Clone, Debug)]
pub enum Turn {
    Send(Vec<u8>),
    Pause(Duration),
    /// Waits for the test.
    Await(Arc<Notify>),
    /// Sends these bytes again and again, until the client hangs up.
    Endless(Vec<u8>, Duration),
}

pub struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// Ends with the test.
    _tasks: JoinSet<()>,
}

type Turns = dyn Fn(&Asked) -> Vec<Turn> + Send + Sync;

impl Server {
    pub async fn start(turns: impl Fn(&Asked) -> Vec<Turn> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::default();
        let turns: Arc<Turns> = Arc::new(turns);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, turns, Arc::clone(&asked)));
        Self {
            address,
            asked,
            _tasks: tasks,
        }
    }

    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn accept(listener: TcpListener, turns: Arc<Turns>, all: Arc<Mutex<Vec<Asked>>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (turns, all) = (Arc::clone(&turns), Arc::clone(&all));
        connections.spawn(async move {
            // The client may hang up at any time.
            let _ = serve(stream, &*turns, &all).await;
        });
    }
}

async fn serve(
    mut stream: TcpStream,
    turns: &Turns,
    all: &Mutex<Vec<Asked>>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
    let asked = {
        let mut all = all.lock().unwrap();
        let number = all.len();
        all.push(Asked {
            path,
            head: text.to_ascii_lowercase(),
            number,
        });
        all[number].clone()
    };
    // A connection that is closed with unread bytes may lose the answer.
    let body = asked.header("content-length").map(str::parse);
    let mut body = vec![0; body.map_or(0, Result::unwrap)];
    stream.read_exact(&mut body).await?;
    for turn in turns(&asked) {
        match turn {
            Turn::Send(bytes) => stream.write_all(&bytes).await?,
            Turn::Pause(time) => sleep(time).await,
            Turn::Await(go) => go.notified().await,
            Turn::Endless(bytes, pause) => loop {
                stream.write_all(&bytes).await?;
                sleep(pause).await;
            },
        }
    }
    stream.shutdown().await
}
