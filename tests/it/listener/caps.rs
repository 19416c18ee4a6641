//! Caps on connections, and that bad connections leave room for good ones.

use std::process::Command;
use std::time::Duration;

use evolink_receiver::http::serve::limits::Limits;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::support::net::echo::{EchoServer, HALF_BODY, HELLO, Transport};

/// Time in which a loop that spins would use more CPU than everything before it.
const FOR_SPINNING: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_connection_over_a_cap_is_closed_at_once_and_room_comes_back() {
    for change in [
        (|limits: &mut Limits| limits.connections_max = 2) as fn(&mut Limits),
        |limits| limits.connections_per_address_max = 2,
    ] {
        let mut limits = Limits::public();
        change(&mut limits);
        let server = EchoServer::start(Transport::Plain, limits).await;
        let mut first = server.connect().await;
        let mut second = server.connect().await;
        for client in [&mut first, &mut second] {
            client.send(HELLO).await;
            assert_eq!(client.read_response().await.status, 200);
        }
        let mut third = server.connect().await;
        assert!(
            third.time_until_closed().await < Duration::from_secs(4),
            "before any timeout"
        );

        drop(first);
        let mut answer = None;
        for _ in 0..500 {
            let mut client = server.connect().await;
            client.send_if_open(HELLO).await;
            answer = client.try_read_response().await;
            if answer.is_some() {
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(answer.expect("room came back").status, 200);
    }
}

/// Uses the default caps. All connections come from one address, as behind a proxy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_request_is_answered_beside_a_thousand_bad_connections_which_all_end() {
    let (body_time_max, drain) = (Duration::from_secs(3), Duration::from_secs(5));
    let server =
        EchoServer::start_with(Transport::Plain, Limits::public(), body_time_max, drain).await;
    let mut bad = Vec::new();
    for number in 0..1000 {
        let mut client = server.connect().await;
        if number % 2 == 0 {
            client.send(HALF_BODY).await;
        }
        bad.push(client);
    }
    let start = Instant::now();
    let mut good = server.connect().await;
    for _ in 0..50 {
        good.send(HELLO).await;
        assert_eq!(good.read_response().await.status, 200);
    }
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "50 requests took {:?}",
        start.elapsed()
    );
    for mut client in bad {
        client.time_until_closed().await;
    }
    assert!(
        start.elapsed() < Duration::from_mins(1),
        "the bad ones took {:?}",
        start.elapsed()
    );
    let mut good = server.connect().await;
    good.send(HELLO).await;
    assert_eq!(good.read_response().await.status, 200);
}

/// Runs itself again in a process with few descriptors, which client and server share.
#[tokio::test]
async fn the_accept_loop_outlives_a_lack_of_descriptors_and_does_not_spin() {
    const IN_CHILD: &str = "EVOLINK_RECEIVER_TEST_FEW_DESCRIPTORS";
    if std::env::var_os(IN_CHILD).is_some() {
        return with_few_descriptors().await;
    }
    let this_test =
        "listener::caps::the_accept_loop_outlives_a_lack_of_descriptors_and_does_not_spin";
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "ulimit -n 64 && exec \"$0\" --exact \"$1\" --nocapture",
    ]);
    command
        .arg(std::env::current_exe().expect("a test binary"))
        .arg(this_test)
        .env(IN_CHILD, "1");
    let run = tokio::task::spawn_blocking(move || command.output());
    let output = run.await.expect("no panic").expect("it runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("1 passed"),
        "the child ran the test"
    );
}

async fn with_few_descriptors() {
    let server = EchoServer::start(Transport::Plain, Limits::public()).await;
    let mut clients = Vec::new();
    while let Ok(client) = TcpStream::connect(server.address).await {
        clients.push(client);
        assert!(clients.len() < 64, "descriptors are short");
        // Lets the server accept for as long as it can.
        sleep(Duration::from_millis(1)).await;
    }
    // One more than the server can accept: it waits in the backlog.
    clients.pop();
    let waiting = TcpStream::connect(server.address)
        .await
        .expect("the backlog has room");
    sleep(FOR_SPINNING).await;
    drop((clients, waiting));
    let used = cpu_ticks();
    assert!(
        used < 60,
        "the loop spins: {used} hundredths of a second of CPU in little more than one second"
    );

    let mut client = server.connect().await;
    client.send(HELLO).await;
    assert_eq!(client.read_response().await.status, 200);
}

/// User and system time that this process has used, in hundredths of a second.
fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let (_name, fields) = stat.rsplit_once(") ").expect("a name in parentheses");
    fields
        .split(' ')
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().expect("a number"))
        .sum()
}
