//! What probes look like (`packet-measurements` sections 3.3 to 3.5).

use super::super::{
    Paris,
    probe::{next_path, same_path},
};
use super::*;
use crate::{
    measurement::machine::{Fragment, SocketKind},
    wire::checksum::{Sum, checksum},
};

const FILLER: &[u8] = b"http://atlas.ripe.net Atlas says Hi!";

#[test]
fn an_icmp_probe_has_the_path_for_a_checksum() {
    let mut run = Script::probing("-I 198.51.100.7");
    assert_eq!(run.socket.clone().unwrap().kind, SocketKind::IcmpProbe);
    let probe = run.probe();
    assert_eq!((probe.tag, probe.hop_limit), (1, Some(1)));
    assert_eq!(probe.bytes.len(), 48);
    // Type, code, checksum 1, identifier, sequence 1.
    assert_eq!(probe.bytes[..8], [8, 0, 0, 1, 0x10, 0x07, 0, 1]);
    assert_eq!(checksum(&probe.bytes), 0);
    assert_eq!(&probe.bytes[10..46], FILLER);
    assert_eq!(probe.bytes[46..], [0, 0]);
    run.deadline();
    assert_eq!(run.probe().bytes[..8], [8, 0, 0, 1, 0x10, 0x07, 0, 2]);
}

#[test]
fn without_paris_an_icmp_probe_has_no_adjustment() {
    let mut run = Script::probing("-I -a 0 198.51.100.7");
    let probe = run.probe();
    assert_eq!(probe.bytes[8..10], [0, 0]);
    assert_eq!(checksum(&probe.bytes), 0);
}

/// The checksum that the kernel will compute.
fn udp_checksum(run: &Script, probe: &Packet) -> u16 {
    Udp::new((run.local, PORT), (run.target, probe.port), &probe.bytes).checksum
}

#[test]
fn a_udp_probe_has_its_number_for_a_checksum_and_the_path_for_a_port() {
    let mut run = Script::probing("198.51.100.7");
    for number in 1..=3 {
        let probe = run.probe();
        assert_eq!(probe.port, 33434 + 1);
        assert_eq!(probe.bytes.len(), 40);
        assert_eq!(&probe.bytes[2..38], FILLER);
        assert_eq!(udp_checksum(&run, &probe), number);
        run.deadline();
    }
}

#[test]
fn without_paris_a_udp_probe_has_its_number_for_a_port() {
    let mut run = Script::probing("-a 0 198.51.100.7");
    for number in 1..=3 {
        let probe = run.probe();
        assert_eq!(probe.port, 33434 + number);
        // The port is 20480 + 7.
        assert_eq!(udp_checksum(&run, &probe), 8);
        run.deadline();
    }
}

#[test]
fn an_icmpv6_probe_carries_its_block() {
    let mut run = Script::probing("-6 -I 2001:db8:7::7");
    let probe = run.probe();
    assert_eq!(probe.bytes.len(), 48);
    assert_eq!(probe.bytes[..8], [128, 0, 0, 0, 0x10, 0x07, 0, 1]);
    let block = &probe.bytes[8..40];
    assert_eq!(block[2..4], [0, 0]);
    assert_eq!(
        block[4..16],
        [0, 0, 0x10, 0x07, 0, 0, 0x10, 0x07, 0, 0, 0, 1]
    );
    assert_eq!(
        block[16..32],
        [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    );
    assert_eq!(&probe.bytes[40..], &FILLER[..8]);
    // The kernel's checksum will be the path and one.
    let sum = Sum::of_pseudo_header(run.local, run.target, protocol::ICMPV6, 48);
    assert_eq!(sum.plus(&probe.bytes).checksum(), 2);
}

#[test]
fn a_udp_probe_over_ipv6_is_not_adjusted() {
    let mut run = Script::probing("-6 -S 0 2001:db8:7::7");
    let probe = run.probe();
    assert_eq!((probe.port, probe.bytes.len()), (33435, 32));
    assert_eq!(probe.bytes[..4], [0; 4]);
    assert_eq!(probe.bytes[8..12], [0, 0, 0, 7]);
}

#[test]
fn a_tcp_probe_is_a_syn_with_data() {
    let mut run = Script::probing("-T -p 443 198.51.100.7");
    let probe = run.probe();
    assert_eq!(probe.port, 443);
    assert_eq!(probe.bytes.len(), 60);
    assert_eq!(
        probe.bytes[..16],
        [0x50, 0x07, 1, 187, 0, 7, 0, 1, 0, 0, 0, 0, 0x50, 2, 0, 0]
    );
    assert_eq!(&probe.bytes[20..56], FILLER);
    let sum = Sum::of_pseudo_header(run.local, run.target, protocol::TCP, 60);
    assert_eq!(sum.plus(&probe.bytes).checksum(), 0);
    run.deadline();
    assert_eq!(run.probe().bytes[4..8], [0, 7, 0, 2]);
    assert_eq!(
        Script::probing("-T -S 0 198.51.100.7").probe().bytes.len(),
        20
    );
}

#[test]
fn small_payloads_are_raised_and_the_header_tells_what_was_asked() {
    let mut run = Script::probing("-I -S 0 198.51.100.7");
    assert_eq!(run.probe().bytes.len(), 10);
    run.tell(Input::Stop);
    assert!(run.line().contains("\"size\":0, "));
}

#[test]
fn the_socket_is_as_asked() {
    let socket = |line: &str| Script::probing(line).socket.unwrap();
    let plain = socket("-T -t 184 -i eth0 198.51.100.7");
    assert_eq!(plain.kind, SocketKind::TcpProbe);
    assert_eq!((plain.tos, plain.fragment), (184, Fragment::Allowed));
    assert_eq!(plain.bind.as_deref(), Some("eth0"));
    assert_eq!(socket("-F 198.51.100.7").fragment, Fragment::Never);
    // Option headers are of IPv6.
    let v4 = socket("-H 8 -D 8 198.51.100.7");
    assert!(v4.hop_by_hop.is_empty() && v4.destination_options.is_empty());
    assert_eq!(
        socket("-6 -D 5 2001:db8:7::7").destination_options,
        [0, 0, 1, 4, 0, 0, 0, 0]
    );
}

#[test]
fn paths_follow_each_other_and_begin_again() {
    let cycle = |modulus, base| Paris::Cycle { modulus, base };
    let mut carried = None;
    let mut paths = Vec::new();
    for _ in 0..5 {
        carried = next_path(cycle(4, 10), carried);
        paths.push(carried.unwrap());
    }
    assert_eq!(paths, [11, 12, 13, 10, 11]);
    assert_eq!(next_path(cycle(1, 9), None), Some(9));
    assert_eq!(next_path(cycle(16, 0), None), Some(1));
    assert_eq!(next_path(Paris::Off, Some(3)), None);
    assert_eq!(same_path(cycle(16, 5), None), Some(5));
    assert_eq!(same_path(cycle(16, 5), Some(7)), Some(7));
    assert_eq!(next_path(Paris::Fixed(0), None), Some(0));
}

#[test]
fn a_replay_has_the_numbers_of_the_recordings() {
    let mut run = Script::replaying("-6 -I 2001:db8:7::7");
    let probe = run.probe().bytes;
    assert_eq!(probe[4..8], [0, 42, 0, 1]);
    assert_eq!(probe[12..24], [0, 0, 0, 42, 0, 0, 0, 0, 0, 0, 0, 1]);
}
