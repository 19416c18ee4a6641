//! Tests what is asked, where redirects may lead, and what the status means.

use super::*;

#[tokio::test]
async fn the_request_carries_no_secret_and_asks_for_no_compression() {
    let file = png(3, 2, 10);
    let bed = Bed::new(move |_| ok(&file)).await;
    bed.fetch("/0.png?signature=abc").await.unwrap();
    let [asked] = bed.server.asked().try_into().unwrap();
    assert_eq!(asked.path, "/0.png?signature=abc");
    assert_eq!(asked.header("user-agent"), Some("evolink-receiver/test"));
    assert_eq!(asked.header("accept-encoding"), Some("identity"));
    for absent in ["authorization", "cookie", "referer", "range", "x-api-key"] {
        assert_eq!(asked.header(absent), None);
    }
}

#[tokio::test]
async fn redirects_are_followed_up_to_three() {
    let file = png(3, 2, 10);
    let bed = Bed::new(move |asked| match asked.path.as_str() {
        "/301" => head("HTTP/1.1 301 x\nLocation: 302\nContent-Length: 0\nSet-Cookie: a=b\n\n"),
        "/302" => head("HTTP/1.1 302 x\nLocation: /307?x=1\nContent-Length: 0\n\n"),
        "/307?x=1" => head("HTTP/1.1 307 x\nLocation: ./file\nContent-Length: 0\n\n"),
        "/too-many" => head("HTTP/1.1 308 x\nLocation: /301\nContent-Length: 0\n\n"),
        "/loop" => head("HTTP/1.1 302 x\nLocation: /loop\nContent-Length: 0\n\n"),
        _ => ok(&file),
    })
    .await;
    for path in ["/loop", "/too-many"] {
        let failure = bed.failure(path).await;
        assert!(matches!(failure.reason, Reason::TooManyRedirects));
        assert_eq!(failure.next, Next::GiveUp);
    }
    assert_eq!(bed.server.asked().len(), 8);
    bed.fetch("/301").await.unwrap();
    let asked = bed.server.asked();
    assert_eq!(asked.last().unwrap().path, "/file");
    assert!(asked.iter().all(|asked| asked.header("cookie").is_none()));
}

#[tokio::test]
async fn a_redirect_to_a_forbidden_place_is_not_followed() {
    for location in [
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00::1]/",
        "https://evil.example/x.png",
        "//evil.example/x.png",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "data:image/png;base64,AAAA",
        "http://user:pw@127.0.0.1/",
        "http:\\\\10.0.0.1\\",
        "/a b",
        "https://",
        "http://127.0.0.1:0/",
    ] {
        let bed = Bed::new(move |_| {
            head(&format!(
                "HTTP/1.1 302 x\nLocation: {location}\nContent-Length: 0\n\n"
            ))
        })
        .await;
        let failure = bed.failure("/").await;
        let is_refused = matches!(failure.reason, Reason::Url(_));
        assert!(is_refused, "{location}: {failure}");
        assert_eq!(failure.next, Next::GiveUp, "{location}");
        assert_eq!(bed.server.asked().len(), 1, "{location}");
    }
    let bed = Bed::new(|_| head("HTTP/1.1 302 x\nContent-Length: 0\n\n")).await;
    let failure = bed.failure("/").await;
    assert_eq!(
        failure.to_string(),
        "the URL redirects without a usable Location"
    );
}

#[tokio::test]
async fn a_name_is_called_only_where_its_addresses_may_be() {
    let file = png(3, 2, 10);
    let mut bed = Bed::new(move |_| ok(&file)).await;
    let port = bed.server.port();
    // The name is listed, and its address is in a listed network.
    let mirror = format!("http://localhost:{port}/0.png");
    bed.fetch_url(&mirror).await.unwrap();
    // Its address is not.
    for networks in [&["10.0.0.0/8"][..], &[]] {
        let mut rules = rules();
        rules.allow_networks = networks.iter().map(|n| n.parse().unwrap()).collect();
        bed.fetcher = Fetcher::new(rules, small_bounds(), "test", &[]).unwrap();
        for url in [mirror.as_str(), "https://localhost/0.png"] {
            let fetched = bed.fetcher.fetch(&bed.storage, url).await;
            let failure = fetched.unwrap_err();
            assert!(matches!(failure.reason, Reason::Url(_)), "{failure}");
            // The text of the one is refused for ever. The addresses of a name may change.
            let next = match (networks, url == mirror) {
                ([], true) => Next::GiveUp,
                _ => Next::RetryFew,
            };
            assert_eq!(failure.next, next, "{networks:?}, {url}: {failure}");
        }
    }
    assert_eq!(bed.server.asked().len(), 1);
}

#[tokio::test]
async fn a_name_without_an_address_is_tried_again() {
    let mut bed = Bed::new(|_| Vec::new()).await;
    let mut rules = rules();
    rules.allowed_hosts = AllowedHosts::new(&["*.invalid".to_owned()]);
    bed.fetcher = Fetcher::new(rules, small_bounds(), "test", &[]).unwrap();
    let url = "https://no-such-name.invalid/0.png?signature=secret-query";
    let failure = bed.fetch_url(url).await.unwrap_err();
    assert!(is_retry(&failure), "{failure}");
    assert!(!failure.to_string().contains("secret"), "{failure}");
}

#[tokio::test]
async fn an_expired_url_needs_a_fresh_one_and_other_errors_a_later_try() {
    for (status, next) in [
        (403, Next::FreshUrl),
        (404, Next::FreshUrl),
        (410, Next::FreshUrl),
        (500, Next::Retry { after: None }),
        (401, Next::Retry { after: None }),
        (204, Next::Retry { after: None }),
        (206, Next::Retry { after: None }),
        (304, Next::Retry { after: None }),
    ] {
        let bed =
            Bed::new(move |_| head(&format!("HTTP/1.1 {status} x\nContent-Length: 0\n\n"))).await;
        let failure = bed.failure("/secret-path?signature=secret-query").await;
        assert_eq!(failure.next, next, "{status}");
        assert_eq!(failure.to_string(), format!("the server answered {status}"));
    }
}

#[tokio::test]
async fn a_pause_that_the_server_asks_for_is_bounded() {
    for (asked, after) in [
        ("7", Some(7)),
        ("0", Some(1)),
        ("999999999", Some(3600)),
        ("-5", None),
        ("soon", None),
    ] {
        let bed = Bed::new(move |_| {
            head(&format!(
                "HTTP/1.1 429 x\nContent-Length: 0\nRetry-After: {asked}\n\n"
            ))
        })
        .await;
        let after = after.map(Duration::from_secs);
        assert_eq!(
            bed.failure("/").await.next,
            Next::Retry { after },
            "{asked}"
        );
    }
}

#[tokio::test]
async fn no_answer_is_tried_again_and_shows_no_url() {
    let bed = Bed::new(|asked| match asked.path.as_str() {
        "/silent?s=secret" => vec![Turn::Pause(Duration::from_secs(10))],
        "/hangs-up?s=secret" => Vec::new(),
        _ => head("SSH-2.0-OpenSSH\n"),
    })
    .await;
    for path in ["/silent?s=secret", "/hangs-up?s=secret", "/ssh?s=secret"] {
        let failure = bed.failure(path).await;
        assert!(is_retry(&failure), "{failure}");
        assert!(!failure.to_string().contains("secret"), "{failure}");
    }
    let nobody = bed
        .fetch_url("http://127.0.0.1:1/?s=secret")
        .await
        .unwrap_err();
    assert!(is_retry(&nobody));
    assert!(!nobody.to_string().contains("secret"), "{nobody}");
}
