//! Tests bodies: whole ones of each format, and every way in which a body can be bad.

use super::*;

#[tokio::test]
async fn a_file_of_each_format_is_kept_with_its_type_and_size() {
    for (format, file, _) in all() {
        let expected = Digest::of(&file);
        let bytes = file.len() as u64;
        // The type that the server says does not matter.
        let bed = Bed::new(move |_| ok_with("Content-Type: text/html\r\n", &file)).await;
        let fetched = bed.fetch("/0.png").await.unwrap();
        assert_eq!(fetched.sha256, expected);
        assert_eq!(fetched.bytes, bytes);
        assert_eq!(fetched.content_type, format.content_type());
        assert_eq!(bed.storage.bytes_of(expected).await.unwrap(), bytes);
    }
    let bed = Bed::new(|_| ok(&png(30, 20, 300_000))).await;
    let fetched = bed.fetch("/").await.unwrap();
    assert_eq!((fetched.width, fetched.height), (Some(30), Some(20)));
}

#[tokio::test]
async fn a_body_may_come_in_chunks_or_until_the_end_of_the_connection() {
    let file = png(3, 2, 1000);
    let length = file.len();
    let bed = Bed::new(move |asked| {
        let mut turns = match asked.path.as_str() {
            "/chunked" | "/cut" => {
                let start = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                vec![Turn::Send(format!("{start}{length:x}\r\n").into())]
            }
            _ => head("HTTP/1.1 200 OK\nConnection: close\n\n"),
        };
        turns.push(Turn::Send(file.clone()));
        if asked.path == "/chunked" {
            turns.push(Turn::Send(b"\r\n0\r\n\r\n".to_vec()));
        }
        turns
    })
    .await;
    let cut = bed.failure("/cut").await;
    assert!(matches!(cut.reason, Reason::Broken { .. }), "{cut}");
    assert!(is_retry(&cut));
    let chunked = bed.fetch("/chunked").await.unwrap();
    let closed = bed.fetch("/closed").await.unwrap();
    assert_eq!(chunked, closed);
}

#[tokio::test]
async fn a_truncated_body_is_tried_again() {
    let file = png(3, 2, 100_000);
    let length = file.len();
    let bed = Bed::new(move |asked| {
        let cut: usize = asked.path[1..].parse().unwrap();
        let start = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        vec![Turn::Send(start.into()), Turn::Send(file[..cut].to_vec())]
    })
    .await;
    for cut in [0, 1, 1000, length / 2, length - 1] {
        let failure = bed.failure(&format!("/{cut}")).await;
        assert!(is_retry(&failure), "{failure}");
        let is_broken = matches!(
            failure.reason,
            Reason::Broken { got, total, .. } if got == cut as u64 && total == Some(length as u64)
        );
        assert!(is_broken, "{failure}");
    }
}

#[tokio::test]
async fn a_file_that_the_server_itself_has_only_in_part_is_tried_again() {
    let file = png(3, 2, 100_000);
    let bed = Bed::new(move |_| ok(&file[..50_000])).await;
    let failure = bed.failure("/").await;
    assert_eq!(failure.next, Next::RetryFew);
    assert_eq!(
        failure.to_string(),
        "the end of the file is missing: its 50000 bytes are not a whole image/png"
    );
}

#[tokio::test]
async fn what_is_no_media_file_is_given_up_unless_it_may_pass() {
    for (body, reason) in [
        (&b""[..], RefusedContent::Empty),
        (b"<!doctype html><p>Sign in", RefusedContent::Html),
        (b"<?xml version=\"1.0\"?><Error/>", RefusedContent::Xml),
        (b"try again later", RefusedContent::Text),
        (
            b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>",
            RefusedContent::Svg,
        ),
        (b"{\"error\":\"gone\"}", RefusedContent::Json),
        (b"\x7fELF\x02\x01", RefusedContent::Unknown),
    ] {
        let bed = Bed::new(move |_| ok_with("Content-Type: image/png\r\n", body)).await;
        let failure = bed.failure("/0.png").await;
        let next = match reason {
            RefusedContent::Svg | RefusedContent::Unknown => Next::GiveUp,
            // The page of an error, with a status that is wrong.
            _ => Next::RetryFew,
        };
        assert_eq!(failure.next, next, "{failure}");
        let found = match failure.reason {
            Reason::Content(found) => found,
            other => panic!("{other}"),
        };
        assert_eq!(found, reason);
    }
    let bed = Bed::new(|_| ok(&png(60_000, 60_000, 10))).await;
    let failure = bed.failure("/").await;
    assert_eq!(failure.next, Next::GiveUp);
    assert!(failure.to_string().contains("60000x60000"), "{failure}");
}

#[tokio::test]
async fn a_compressed_body_is_refused() {
    for encoding in [
        "gzip",
        "br",
        "identity, gzip",
        "aws-chunked,gzip",
        "x",
        "\u{e9}",
    ] {
        let bed = Bed::new(move |_| {
            ok_with(
                &format!("Content-Encoding: {encoding}\r\n"),
                b"\x1f\x8b\x08\0\0\0\0\0\0\x03",
            )
        })
        .await;
        let failure = bed.failure("/").await;
        assert!(matches!(failure.reason, Reason::Encoded), "{failure}");
        assert_eq!(failure.next, Next::RetryFew);
    }
    for encoding in ["identity", "", "aws-chunked", "Identity, AWS-Chunked", ","] {
        let header = format!("Content-Encoding: {encoding}\r\n");
        let bed = Bed::new(move |_| ok_with(&header, &png(3, 2, 10))).await;
        bed.fetch("/").await.unwrap();
    }
}

#[tokio::test]
async fn a_file_over_its_limit_is_given_up_before_it_has_arrived() {
    let endless = || Turn::Endless(vec![7; 64 * 1024], Duration::ZERO);
    let bed = Bed::new(move |asked| {
        let declared = match asked.path.as_str() {
            "/declared-for-any" => "Content-Length: 999999999999",
            "/declared-for-an-image" => "Content-Length: 524289",
            _ => "Connection: close",
        };
        let mut turns = head(&format!("HTTP/1.1 200 OK\n{declared}\n\n"));
        turns.push(Turn::Send(png(3, 2, 2_000_000)));
        turns.push(endless());
        turns
    })
    .await;
    for (path, media, kibibytes) in [
        ("/declared-for-any", None, 8192),
        ("/declared-for-an-image", Some(Media::Image), 512),
        ("/endless", Some(Media::Image), 512),
    ] {
        let failure = bed.failure(path).await;
        assert_eq!(failure.next, Next::GiveUp);
        let is_too_large = matches!(
            failure.reason,
            Reason::TooLarge { media: found, bytes_max } if found == media && bytes_max == kibibytes * 1024
        );
        assert!(is_too_large, "{path}: {failure}");
    }
}

#[tokio::test]
async fn a_small_file_over_the_limit_of_its_kind_is_given_up() {
    let mut bounds = small_bounds();
    bounds.image.bytes_max = 1000;
    let bed = Bed::with(bounds, |_| ok(&png(3, 2, 2000))).await;
    let failure = bed.failure("/").await;
    assert_eq!(failure.to_string(), "the image has more than 1000 bytes");
}

#[tokio::test]
async fn a_server_that_sends_too_slowly_is_tried_again() {
    let bed = Bed::new(|asked| {
        let mut turns = head("HTTP/1.1 200 OK\nContent-Length: 100000\n\n");
        turns.push(Turn::Send(png(3, 2, 300)));
        turns.push(match asked.path.as_str() {
            "/stalls" => Turn::Pause(Duration::from_secs(30)),
            _ => Turn::Endless(vec![7], Duration::from_millis(10)),
        });
        turns
    })
    .await;
    for path in ["/stalls", "/drips"] {
        let failure = bed.failure(path).await;
        assert!(matches!(failure.reason, Reason::TooSlow), "{failure}");
        assert!(is_retry(&failure));
    }
}

#[tokio::test]
async fn a_transfer_that_takes_too_long_is_tried_again() {
    let mut bounds = small_bounds();
    bounds.image.time_max = Duration::from_millis(700);
    // Fast enough in each window.
    let bed = Bed::with(bounds, |_| {
        let mut turns = head("HTTP/1.1 200 OK\nContent-Length: 400000\n\n");
        turns.push(Turn::Send(png(3, 2, 300)));
        turns.push(Turn::Endless(vec![7; 1000], Duration::from_millis(20)));
        turns
    })
    .await;
    let failure = bed.failure("/").await;
    assert!(matches!(failure.reason, Reason::TookTooLong), "{failure}");
    assert!(is_retry(&failure));
}

#[tokio::test]
async fn raw_pcm_is_kept_if_its_server_says_what_it_is() {
    let samples = [0, 1, 0xff, 0x7f].repeat(1000);
    let bed = Bed::new(move |asked| {
        let said = match asked.path.as_str() {
            "/typed" => "audio/L16; rate=24000",
            _ => "application/octet-stream",
        };
        let length = samples.len();
        let mut turns = head(&format!(
            "HTTP/1.1 200 OK\nContent-Type: {said}\nContent-Length: {length}\n\n"
        ));
        turns.push(Turn::Send(samples.clone()));
        turns
    })
    .await;
    assert!(bed.fetch("/anything").await.is_err());
    for path in ["/typed", "/0.PCM"] {
        let fetched = bed.fetch(path).await.unwrap();
        assert_eq!(fetched.content_type, "audio/pcm", "{path}");
    }
}

#[tokio::test]
async fn a_storage_that_fails_is_tried_again() {
    let bed = Bed::new(|_| ok(&png(3, 2, 10))).await;
    std::fs::remove_dir(bed.folder.path().join("results/tmp")).unwrap();
    let failure = bed.failure("/").await;
    assert!(matches!(failure.reason, Reason::Storage(_)), "{failure}");
    assert!(is_retry(&failure));
}

#[tokio::test]
async fn a_file_for_which_there_is_no_space_is_not_fetched() {
    let mut bed = Bed::new(|asked| {
        let mut turns = match asked.path.as_str() {
            "/declared" => head("HTTP/1.1 200 OK\nContent-Length: 100000\n\n"),
            _ => head("HTTP/1.1 200 OK\nConnection: close\n\n"),
        };
        turns.push(Turn::Send(png(3, 2, 99_943)));
        turns
    })
    .await;
    let place = Place::Folder(bed.folder.path().join("results"));
    bed.storage = Storage::open(&place, u64::MAX).await.unwrap();
    let failure = bed.failure("/declared").await;
    let is_full = matches!(failure.reason, Reason::Storage(StorageError::Full));
    assert!(is_full, "{failure}");
    assert!(is_retry(&failure));
    // Too few bytes to look at the space.
    bed.fetch("/undeclared").await.unwrap();
}
