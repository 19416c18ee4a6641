//! A receiver's place with an archive.

use crate::support::process::Place;

/// Has the receivers of `place` archive, with these settings of `[archive]`.
pub fn archive_in(place: &Place, settings: &str) {
    let mut settings = settings.to_owned();
    if !settings.contains("min_free") {
        settings.push_str("\nmin_free = \"0B\"");
    }
    let off = "[archive]\nenabled = false";
    place.configure(off, &format!("[archive]\nenabled = true\n{settings}"));
}
