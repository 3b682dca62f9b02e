//! What can be reached: the internet of each family, names, registration servers.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::Finding;
use crate::{
    agent,
    config::{Config, Source},
    measurement::machine::Family,
    net::Net,
    session::{RegistrationServer, ssh},
};

pub(super) async fn findings(config: &Config, net: &Net, network: bool) -> Vec<Finding> {
    let mut findings = routes();
    findings.push(resolver());
    // A configuration that cannot be used has been told of.
    let servers = agent::servers(&config.registration.servers).unwrap_or_default();
    if !servers.is_empty() && servers.iter().all(|server| server.host_key.is_none()) {
        findings.push(Finding::problem(
            "registration",
            "no server's host key is known, and none is trusted on first use",
            "add a server with its host_key to the configuration",
        ));
    }
    for server in servers {
        findings.extend(registration(&server, net, network, &config.source).await);
    }
    findings
}

fn routes() -> Vec<Finding> {
    let (v4, v6) = (
        agent::has_route(
            Ipv4Addr::UNSPECIFIED.into(),
            Ipv4Addr::new(192, 0, 2, 1).into(),
        ),
        agent::has_route(
            Ipv6Addr::UNSPECIFIED.into(),
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
        ),
    );
    [("IPv4", v4, v6), ("IPv6", v6, v4)]
        .map(|(family, has, other)| match (has, other) {
            (true, _) => Finding::ok(family, "there is a route to the internet"),
            (false, true) => Finding::warning(
                family,
                "no route to the internet: nothing is measured over it",
                "ask for it where you get your connection, if you want it measured",
            ),
            (false, false) => Finding::problem(
                family,
                "no route to the internet",
                "connect the host; a probe needs one of both families",
            ),
        })
        .into()
}

fn resolver() -> Finding {
    let text = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .map(str::trim)
        .filter(|server| {
            server
                .split('%')
                .next()
                .is_some_and(|ip| ip.parse::<IpAddr>().is_ok())
        })
        .collect();
    if servers.is_empty() {
        Finding::problem(
            "DNS",
            "/etc/resolv.conf names no server",
            "write `nameserver ADDRESS` into it",
        )
    } else {
        Finding::ok("DNS", format!("servers {}", servers.join(", ")))
    }
}

async fn registration(
    server: &RegistrationServer,
    net: &Net,
    network: bool,
    source: &Source,
) -> Vec<Finding> {
    const WHAT: &str = "registration";
    let place = format!("{} port {}", server.host, server.port);
    if server.host_key.is_none() {
        return vec![Finding::warning(
            WHAT,
            format!("{place} is skipped: its host key is not known"),
            "add its host_key to the configuration",
        )];
    }
    if !network {
        return vec![Finding::ok(
            WHAT,
            format!("{place}, host key known; not tried without --network"),
        )];
    }
    let mut findings = Vec::new();
    if server.host.parse::<IpAddr>().is_err() {
        findings.push(match net.lookup(&server.host, Family::Both).await {
            Ok(addresses) => Finding::ok(
                "DNS",
                format!("{} has {} addresses", server.host, addresses.len()),
            ),
            Err(error) => Finding::problem(
                "DNS",
                format!("{} has no address: {error}", server.host),
                "check that the servers of /etc/resolv.conf answer",
            ),
        });
    }
    let (resolve, sources) = (
        agent::resolve_through(net.clone()),
        agent::session_sources(source),
    );
    findings.push(match ssh::greet(server, &resolve, sources).await {
        Ok(()) => Finding::ok(WHAT, format!("{place} answers with its known host key")),
        // Its own words name the remedy.
        Err(failure) => Finding::error(WHAT, format!("{place}: {failure}")),
    });
    findings
}
