//! A machine without root certificates, like many small containers.

use evolink_receiver::egress::NoAnswer;

use super::{egress, is_inside_with, own, standing};
use crate::support::machine::traps::Traps;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_http_needs_no_certificates_of_authorities() {
    let none = [("SSL_CERT_FILE", "/dev/null"), ("SSL_CERT_DIR", "/nowhere")];
    let name = "roots::plain_http_needs_no_certificates_of_authorities";
    if !is_inside_with(name, &none) {
        return;
    }
    let usual = reqwest::Client::builder().no_proxy().build();
    assert!(usual.is_err(), "there are certificates");
    let traps = Traps::set().await;
    let egress = egress(&["8.8.8.8"], &[]);
    assert_eq!(own(&egress, "http://8.8.8.8/").await, Ok(204));
    assert_eq!(standing(&egress, "http://10.0.0.1/").await, Ok(204));
    let https = own(&egress, "https://8.8.8.8/?canary-query").await;
    let Err(NoAnswer::Failed(why)) = https else {
        panic!("{https:?}");
    };
    assert!(!why.contains("canary-query"), "{why}");
    let called = ["10.0.0.1:80", "8.8.8.8:80", "8.8.8.8:443"];
    let mut expected = called.map(|address| (address.to_owned(), 1)).to_vec();
    let mut noted = traps.called().await;
    expected.sort();
    noted.sort();
    assert_eq!(noted, expected);
}
