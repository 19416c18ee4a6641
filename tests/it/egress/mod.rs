//! Deliveries in a lab network: every address in the world is a trap that records its callers, and
//! DNS lies. Only permitted addresses may be called. Each test also calls some of those, so that
//! zero calls elsewhere proves something.

mod literals;
mod names;
mod receiver;
mod redirects;
mod roots;

use std::net::SocketAddr;

use evolink_receiver::config::{Config, Forward};
use evolink_receiver::egress::{self, Egress, NoAnswer};
use url::Url;

use crate::support::machine::own_network;

/// The address where the receiver would listen if there were one.
const OURS: &str = "127.0.0.1:8000";

/// Whether this process is inside the lab. If not, the test runs there in another process, or is
/// skipped.
fn is_inside(name: &str) -> bool {
    is_inside_with(name, &[])
}

fn is_inside_with(name: &str, env: &[(&str, &str)]) -> bool {
    own_network::is_inside_lab(&format!("egress::{name}"), env)
}

fn egress(allowed: &[&str], networks: &[&str]) -> Egress {
    let forward = Forward {
        allowed_hosts: allowed.iter().map(ToString::to_string).collect(),
        allow_networks: networks.iter().map(|n| n.parse().unwrap()).collect(),
        ..Config::default().forward
    };
    let ours: SocketAddr = OURS.parse().unwrap();
    Egress::new(egress::rules(&forward, &[ours]), "test").unwrap()
}

/// The status of a delivery to an app's own address.
async fn own(egress: &Egress, url: &str) -> Result<u16, NoAnswer> {
    let request = egress.own(url).map_err(NoAnswer::Refused)?;
    let answer = request.body("outcome").send().await?;
    Ok(answer.status().as_u16())
}

/// The status of a delivery to a standing endpoint.
async fn standing(egress: &Egress, url: &str) -> Result<u16, NoAnswer> {
    let url = Url::parse(url).unwrap();
    let request = egress.standing(&url).map_err(NoAnswer::Refused)?;
    let answer = request.body("outcome").send().await?;
    Ok(answer.status().as_u16())
}

fn is_refused(result: &Result<u16, NoAnswer>) -> bool {
    matches!(result, Err(NoAnswer::Refused(_)))
}
