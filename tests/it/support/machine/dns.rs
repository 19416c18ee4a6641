//! A DNS server that lies: a test sets the answers for each name, one per look-up. No answer may be
//! cached (TTL 0).

use std::collections::HashMap;
use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

use tempfile::NamedTempFile;

use super::own_network::run;

const ADDRESS: &str = "127.0.0.53";
const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;

/// An answer about a name.
#[derive(Clone, Debug)]
pub enum Answer {
    Addresses(Vec<IpAddr>),
    /// Another name, with its addresses in the same answer.
    Alias(&'static str, Vec<IpAddr>),
    NoSuchName,
    Silence,
}

/// An answer with these addresses.
pub fn at(addresses: &[&str]) -> Answer {
    Answer::Addresses(addresses.iter().map(|a| a.parse().unwrap()).collect())
}

/// The answers for each name, one per look-up. The last one is repeated.
#[derive(Clone, Default)]
pub struct Dns(Arc<Mutex<HashMap<String, Name>>>);

#[derive(Default)]
struct Name {
    answers: Vec<Answer>,
    /// Questions by type. Each look-up asks for A and for AAAA, in either order.
    asked: HashMap<u16, usize>,
}

impl Dns {
    /// From now on every process in this network uses this DNS server and no other.
    pub fn start() -> Self {
        // Longer than we wait for a name.
        Self::start_waited_for(6)
    }

    /// Makes every process wait this many seconds for an answer.
    pub fn start_waited_for(seconds: u32) -> Self {
        let socket = UdpSocket::bind((ADDRESS, 53)).unwrap();
        let resolv =
            format!("nameserver {ADDRESS}\noptions timeout:{seconds} attempts:1\nsearch .\n");
        replace("/etc/resolv.conf", &resolv);
        replace(
            "/etc/hosts",
            "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 itself.internal\n",
        );
        replace("/etc/nsswitch.conf", "hosts: files dns\n");
        let dns = Self::default();
        let own = dns.clone();
        thread::spawn(move || own.serve(&socket));
        dns
    }

    pub fn say(&self, name: &str, answers: &[Answer]) {
        let answers = answers.to_vec();
        let name = name.trim_end_matches('.').to_owned();
        let asked = HashMap::new();
        self.0.lock().unwrap().insert(name, Name { answers, asked });
    }

    /// The number of look-ups of a name since its answers were set.
    pub fn asked(&self, name: &str) -> usize {
        let names = self.0.lock().unwrap();
        names[name.trim_end_matches('.')]
            .asked
            .get(&A)
            .copied()
            .unwrap_or(0)
    }

    fn serve(&self, socket: &UdpSocket) {
        let mut question = [0; 512];
        loop {
            let (length, from) = socket.recv_from(&mut question).unwrap();
            if let Some(answer) = self.answer(&question[..length]) {
                socket.send_to(&answer, from).unwrap();
            }
        }
    }

    fn answer(&self, question: &[u8]) -> Option<Vec<u8>> {
        let (name, end) = read_name(question, 12)?;
        let kind = u16::from_be_bytes([*question.get(end)?, *question.get(end + 1)?]);
        let said = self.said(&name.to_ascii_lowercase(), kind);
        let (code, records) = match said {
            Answer::Silence => return None,
            Answer::NoSuchName => (3, Vec::new()),
            Answer::Addresses(addresses) => (0, records(None, &addresses, kind)),
            Answer::Alias(alias, addresses) => (0, records(Some(alias), &addresses, kind)),
        };
        let mut answer = question[..2].to_vec();
        // A response, with recursion desired and available.
        answer.extend([0x81, 0x80 | code, 0, 1]);
        answer.extend(u16::try_from(records.len()).unwrap().to_be_bytes());
        answer.extend([0, 0, 0, 0]);
        answer.extend(&question[12..end + 4]);
        answer.extend(records.concat());
        Some(answer)
    }

    fn said(&self, name: &str, kind: u16) -> Answer {
        let mut names = self.0.lock().unwrap();
        let Some(known) = names.get_mut(name) else {
            return Answer::NoSuchName;
        };
        let asked = known.asked.entry(kind).or_default();
        let turn = (*asked).min(known.answers.len() - 1);
        *asked += 1;
        known.answers[turn].clone()
    }
}

fn records(alias: Option<&str>, addresses: &[IpAddr], kind: u16) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    // A pointer to the name in the question.
    let mut owner = vec![0xc0, 12];
    if let Some(alias) = alias {
        records.push(record(&owner, CNAME, &written(alias)));
        owner = written(alias);
    }
    for address in addresses {
        match address {
            IpAddr::V4(v4) if kind == A => records.push(record(&owner, A, &v4.octets())),
            IpAddr::V6(v6) if kind == AAAA => records.push(record(&owner, AAAA, &v6.octets())),
            _ => {}
        }
    }
    records
}

fn record(owner: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
    let mut record = owner.to_vec();
    record.extend(kind.to_be_bytes());
    // Class IN, TTL 0.
    record.extend([0, 1, 0, 0, 0, 0]);
    record.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    record.extend(data);
    record
}

fn written(name: &str) -> Vec<u8> {
    let mut written = Vec::new();
    for label in name.split('.') {
        written.push(u8::try_from(label.len()).unwrap());
        written.extend(label.as_bytes());
    }
    written.push(0);
    written
}

/// A name in the question, and where it ends. Questions contain no pointers.
fn read_name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        labels.push(String::from_utf8_lossy(message.get(at..at + length)?).into_owned());
        at += length;
    }
}

/// Replaces a file for this process and its children, until they end.
fn replace(file: &str, content: &str) {
    let mut other = NamedTempFile::new().unwrap();
    other.write_all(content.as_bytes()).unwrap();
    let (_, other) = other.keep().unwrap();
    run("mount", &["--bind", other.to_str().unwrap(), file]);
    // The content remains where it is mounted.
    fs::remove_file(other).unwrap();
}
