//! Tests how a broken transfer of a large file is continued.

use super::*;

const MIB: usize = 1024 * 1024;

fn large_bounds() -> Bounds {
    let mut bounds = small_bounds();
    bounds.image.bytes_max = 16 * MIB as u64;
    bounds
}

/// Sends at most `cut` bytes of what was asked for.
fn broken(file: &[u8], asked: &Asked, etag: &str, cut: usize) -> Vec<Turn> {
    let length = file.len();
    let start: usize = asked
        .header("range")
        .and_then(|range| range.strip_prefix("bytes="))
        .and_then(|range| range.strip_suffix('-'))
        .map_or(0, |start| start.parse().unwrap());
    let status = match start {
        0 => "200 OK".to_owned(),
        _ => format!(
            "206 Partial Content\r\nContent-Range: bytes {start}-{}/{length}",
            length - 1
        ),
    };
    let left = length - start;
    let start_line = format!("HTTP/1.1 {status}\r\nETag: {etag}\r\n");
    let head = format!("{start_line}Content-Length: {left}\r\n\r\n");
    let sent = &file[start..length.min(start + cut)];
    vec![Turn::Send(head.into()), Turn::Send(sent.to_vec())]
}

#[tokio::test]
async fn a_transfer_that_breaks_goes_on_where_it_broke() {
    let file = png(3, 2, 5 * MIB);
    let expected = Digest::of(&file);
    let bed = Bed::with(large_bounds(), move |asked| {
        broken(&file, asked, "\"v1\"", 2 * MIB)
    })
    .await;
    let fetched = bed.fetch("/0.png?signature=x").await.unwrap();
    assert_eq!(fetched.sha256, expected);
    let asked = bed.server.asked();
    assert_eq!(asked.len(), 3);
    let ranges: Vec<_> = asked.iter().map(|asked| asked.header("range")).collect();
    assert_eq!(
        ranges,
        [None, Some("bytes=2097152-"), Some("bytes=4194304-")]
    );
    assert_eq!(asked[1].header("if-range"), Some("\"v1\""));
    assert_eq!(asked[2].path, "/0.png?signature=x");
}

#[tokio::test]
async fn a_transfer_without_proof_of_the_same_file_is_not_continued() {
    for etag in ["W/\"v1\"", "v1"] {
        let file = png(3, 2, 5 * MIB);
        let bed = Bed::with(large_bounds(), move |asked| {
            broken(&file, asked, etag, 2 * MIB)
        })
        .await;
        let failure = bed.failure("/").await;
        assert!(is_retry(&failure));
        assert!(matches!(failure.reason, Reason::Broken { .. }), "{failure}");
        assert_eq!(bed.server.asked().len(), 1);
    }
}

#[tokio::test]
async fn the_rest_of_another_file_is_not_taken() {
    for change in ["etag", "start", "all", "gone"] {
        let file = png(3, 2, 5 * MIB);
        let bed = Bed::with(large_bounds(), move |asked| {
            let etag = match (change, asked.number) {
                ("etag", 1) => "\"v2\"",
                _ => "\"v1\"",
            };
            let mut other = asked.clone();
            match (change, asked.number) {
                ("start", 1) => other.head = "range: bytes=1000-".to_owned(),
                ("all", 1) => other.head.clear(),
                ("gone", 1) => return head("HTTP/1.1 410 Gone\nContent-Length: 0\n\n"),
                _ => {}
            }
            broken(&file, &other, etag, 2 * MIB)
        })
        .await;
        let failure = bed.failure("/").await;
        assert_eq!(bed.server.asked().len(), 2, "{change}");
        assert!(is_retry(&failure));
        if change == "gone" {
            // The whole file may be asked for once more.
            assert!(matches!(failure.reason, Reason::Broken { .. }), "{failure}");
        } else {
            assert!(matches!(failure.reason, Reason::NotTheRest), "{failure}");
        }
    }
}

#[tokio::test]
async fn the_rest_is_asked_for_where_the_whole_file_was() {
    let file = png(3, 2, 5 * MIB);
    let expected = Digest::of(&file);
    let bed = Bed::with(large_bounds(), move |asked| match asked.path.as_str() {
        // A URL that works once.
        "/0.png" => head(&format!(
            "HTTP/1.1 302 x\nLocation: /signed-{}\nContent-Length: 0\n\n",
            asked.number
        )),
        path if path == format!("/signed-{}", asked.number - 1) => {
            broken(&file, asked, "\"v1\"", 3 * MIB)
        }
        _ => head("HTTP/1.1 403 x\nContent-Length: 0\n\n"),
    })
    .await;
    let fetched = bed.fetch("/0.png").await.unwrap();
    assert_eq!(fetched.sha256, expected);
    let asked = bed.server.asked();
    let paths: Vec<_> = asked.iter().map(|asked| asked.path.as_str()).collect();
    assert_eq!(paths, ["/0.png", "/signed-0", "/0.png", "/signed-2"]);
}

#[tokio::test]
async fn what_has_arrived_is_not_given_up_for_a_few_failures() {
    for (failures, is_kept) in [(3, true), (4, false)] {
        let file = png(3, 2, 5 * MIB);
        let expected = Digest::of(&file);
        let bed = Bed::with(large_bounds(), move |asked| match asked.number {
            1 => Vec::new(),
            2 => head("HTTP/1.1 503 x\nContent-Length: 0\n\n"),
            3 if failures == 3 => vec![Turn::Pause(Duration::from_secs(10))],
            3 | 4 if failures == 4 => head("HTTP/1.1 429 x\nContent-Length: 0\n\n"),
            _ => broken(&file, asked, "\"v1\"", 3 * MIB),
        })
        .await;
        let fetched = bed.fetch("/").await;
        assert_eq!(bed.server.asked().len(), 5);
        match fetched {
            Ok(fetched) if is_kept => assert_eq!(fetched.sha256, expected),
            Err(failure) if !is_kept => {
                assert!(is_retry(&failure));
                assert_eq!(failure.to_string(), "the server answered 429");
            }
            other => panic!("{failures}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_failure_that_does_not_pass_ends_the_transfer() {
    for (answer, next) in [
        ("400 x\n", Next::Retry { after: None }),
        (
            "503 x\nRetry-After: 600\n",
            Next::Retry {
                after: Some(Duration::from_mins(10)),
            },
        ),
        ("302 x\nLocation: https://evil.example/\n", Next::GiveUp),
    ] {
        let file = png(3, 2, 5 * MIB);
        let bed = Bed::with(large_bounds(), move |asked| match asked.number {
            0 => broken(&file, asked, "\"v1\"", 3 * MIB),
            _ => head(&format!("HTTP/1.1 {answer}Content-Length: 0\n\n")),
        })
        .await;
        assert_eq!(bed.failure("/").await.next, next, "{answer}");
        assert_eq!(bed.server.asked().len(), 2, "{answer}");
    }
}

#[tokio::test]
async fn more_than_the_rest_is_not_taken() {
    let file = png(3, 2, 5 * MIB);
    let length = file.len();
    let bed = Bed::with(large_bounds(), move |asked| match asked.number {
        0 => broken(&file, asked, "\"v1\"", 3 * MIB),
        _ => {
            let start = 3 * MIB;
            let range = format!("bytes {start}-{}/{length}", length - 1);
            let mut turns = head(&format!(
                "HTTP/1.1 206 x\nETag: \"v1\"\nContent-Range: {range}\nConnection: close\n\n"
            ));
            turns.push(Turn::Send(file[start..].to_vec()));
            turns.push(Turn::Send(b"<script>".to_vec()));
            turns
        }
    })
    .await;
    let failure = bed.failure("/").await;
    assert!(matches!(failure.reason, Reason::NotTheRest), "{failure}");
    assert!(is_retry(&failure));
}

#[tokio::test]
async fn a_server_that_always_hangs_up_is_given_up_soon() {
    // Too little each time.
    let file = png(3, 2, 5 * MIB);
    let bed = Bed::with(large_bounds(), move |asked| {
        broken(
            &file,
            asked,
            "\"v1\"",
            if asked.number == 0 { MIB } else { 1000 },
        )
    })
    .await;
    let failure = bed.failure("/").await;
    assert!(matches!(failure.reason, Reason::Broken { .. }), "{failure}");
    assert_eq!(bed.server.asked().len(), 2);
    // Too often.
    let file = png(3, 2, 10 * MIB);
    let bed = Bed::with(large_bounds(), move |asked| {
        broken(&file, asked, "\"v1\"", MIB)
    })
    .await;
    assert!(is_retry(&bed.failure("/").await));
    assert_eq!(bed.server.asked().len(), 6);
}
