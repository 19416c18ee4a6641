//! What the pages load: only files of this origin, which are small and may be kept for ever.

use std::collections::BTreeSet;
use std::fs;

use super::{Browser, PAGES};
use crate::support::app::TestApp;

/// Everything that the program contains for the dashboard, except the templates.
const BYTES_MAX: u64 = 400 * 1024;

/// The values of the attributes `name` in `html`.
fn attributes<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
    let begin = format!(" {name}=\"");
    let rest = html.split(&begin).skip(1);
    rest.map(|rest| rest.split('"').next().unwrap()).collect()
}

/// Whether an attribute of `html` is a script, such as `onclick`.
fn has_handler(html: &str) -> bool {
    html.split(" on").skip(1).any(|rest| {
        let name: &str = rest
            .split(|c: char| !c.is_ascii_lowercase())
            .next()
            .unwrap();
        !name.is_empty() && rest[name.len()..].starts_with('=')
    })
}

#[tokio::test]
async fn a_page_loads_and_runs_only_files_of_this_origin() {
    let app = TestApp::start().await;
    let browser = Browser::of(&app);
    let mut files = BTreeSet::new();
    for page in PAGES {
        let answer = browser.get(page).await;
        assert_eq!(answer.status, 200, "{page}: {answer:?}");
        let html = &answer.text;
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none';"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        for source in policy.split(';').flat_map(|part| part.split(' ')) {
            assert!(!source.contains("://") && source != "*", "{policy}");
        }
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("same-origin"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(
            !html.contains(" style=") && !html.contains("<style"),
            "{page}"
        );
        assert!(!has_handler(html), "{page} has a handler");
        for script in html.split("<script").skip(1) {
            assert!(script.split('>').next().unwrap().contains("src="), "{page}");
        }
        for address in ["src", "href", "action"]
            .map(|name| attributes(html, name))
            .concat()
        {
            let is_ours = address.starts_with('/') && !address.starts_with("//");
            assert!(is_ours || address.starts_with('#'), "{page}: {address}");
            if address.starts_with("/assets/") {
                files.insert(address.to_owned());
            }
        }
    }
    assert!(files.len() >= 7, "{files:?}");
    for file in files {
        let answer = browser.get(&file).await;
        assert_eq!(answer.status, 200, "{file}");
        let kept = answer.header("cache-control").unwrap();
        assert!(kept.contains("immutable"), "{file}: {kept}");
        let old = file.replace("/assets/", "/assets/0");
        let old = browser.get(&old).await;
        assert_eq!(old.header("cache-control"), Some("no-store"), "{file}");
    }
    assert_eq!(browser.get("/assets/x/secret.js").await.status, 404);
    app.stop().await.0.unwrap();
}

#[test]
fn all_files_together_are_small() {
    let folder = fs::read_dir("src/http/dashboard/assets").unwrap();
    let files = folder.map(|file| file.unwrap());
    let files = files.filter(|file| file.path().extension() != Some("rs".as_ref()));
    let bytes: u64 = files.map(|file| file.metadata().unwrap().len()).sum();
    assert!(bytes < BYTES_MAX, "{bytes}");
    assert!(bytes > 50_000, "{bytes}: are they there?");
}
