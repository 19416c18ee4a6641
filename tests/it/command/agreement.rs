//! `check` and `serve` judge the surroundings alike: what one calls an error, the other refuses to
//! start with, under the same key. Ports and locks are left out: `check` may run beside the service.

use std::fs;

use crate::support::process::Place;

/// A fault of a place that has been in use, the key that names it, and the exit code of `serve`.
struct Fault {
    key: &'static str,
    exit: i32,
    cause: fn(&Place),
}

const FAULTS: [Fault; 6] = [
    Fault {
        key: "callback_tokens.key_file",
        exit: 78,
        cause: |place| fs::write(place.data().join("callback_tokens.key"), "no ring").unwrap(),
    },
    Fault {
        key: "forward.secret_file",
        exit: 78,
        cause: |place| {
            place.configure("[forward]\n", "[forward]\nallowed_hosts = [\"app\"]\n");
            fs::write(place.data().join("forward.whsec"), "no secret").unwrap();
        },
    },
    Fault {
        key: "public.tls",
        exit: 78,
        cause: |place| {
            let file = place.data().join("tls.pem");
            fs::write(&file, "no certificate").unwrap();
            let file = file.display();
            let files = format!("mode = \"files\", cert_file = \"{file}\", key_file = \"{file}\",");
            place.configure("mode = \"self-signed\",", &files);
        },
    },
    Fault {
        key: "evolink.api_key_file",
        exit: 78,
        cause: |place| {
            let file = place.data().join("evolink.key");
            fs::write(&file, "").unwrap();
            let in_file = format!("api_key_file = \"{}\"", file.display());
            place.configure("api_key = \"not-a-key\"", &in_file);
        },
    },
    Fault {
        key: "store",
        exit: 65,
        cause: |place| fs::write(place.database(), [7; 8192]).unwrap(),
    },
    Fault {
        key: "archive.url",
        exit: 78,
        cause: |place| {
            place.configure("enabled = false", "enabled = true");
            fs::write(place.data().join("results"), "a file").unwrap();
        },
    },
];

/// The keys of the lines that report errors.
fn errors_of_check(place: &Place) -> Vec<String> {
    let lines = place.check();
    let errors = lines.lines().filter_map(|line| line.strip_prefix("error"));
    let keys = errors.map(|line| line.trim_start().split(':').next().unwrap().to_owned());
    keys.collect()
}

#[tokio::test]
async fn what_check_calls_an_error_is_what_serve_refuses_to_start_with() {
    for Fault { key, exit, cause } in FAULTS {
        let place = Place::new();
        if key == "store" && place.store().file().is_none() {
            continue;
        }
        place.start().await.stop().await;
        cause(&place);
        let found = errors_of_check(&place);
        assert!(
            matches!(&*found, [one] if one.starts_with(key)),
            "{key}: {found:?}"
        );
        let ended = place.run_to_end().await;
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(exit), "{key}: {said}");
        assert!(said.contains(key), "{key}: {said}");
    }
}

#[tokio::test]
async fn serve_names_all_faults_of_its_files_at_once_as_check_does() {
    let place = Place::new();
    place.start().await.stop().await;
    let of_files = &FAULTS[..4];
    for fault in of_files {
        (fault.cause)(&place);
    }
    let found = errors_of_check(&place);
    let ended = place.run_to_end().await;
    let said = String::from_utf8_lossy(&ended.stderr);
    for fault in of_files {
        assert!(
            found.iter().any(|key| key.starts_with(fault.key)),
            "{}: {found:?}",
            fault.key
        );
        assert!(said.contains(fault.key), "{}: {said}", fault.key);
    }
}
