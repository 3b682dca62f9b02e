//! Who is let in, and what registration and INIT answer.

use super::*;

#[test]
fn an_approved_probe_is_assigned_its_controller() {
    let mut stage = Stage::new(|_| {});
    let expected = "OK\nCONTROLLER 192.0.2.1 8443 ssh-rsa AAAA\nREREGISTER 3000\nPROBE_ID 1\n";
    assert_eq!(stage.register(1, BLOCK), expected);
    assert!(stage.register(2, BLOCK).ends_with("PROBE_ID 2\n"));
    assert_eq!(stage.register(1, BLOCK), expected, "a number stays");
}

#[test]
fn a_block_that_is_none_is_refused() {
    let mut stage = Stage::new(|_| {});
    assert!(stage.register(1, b"").starts_with("REFUSED\n"));
    assert!(
        stage
            .register(1, b"GET / HTTP/1.1\n")
            .starts_with("REFUSED\n")
    );
}

#[test]
fn a_stranger_is_refused_or_waits_by_policy() {
    let mut refusing = Stage::new(|config| config.approval = Approval::Listed);
    assert!(!refusing.admits(Role::Registration, 1) && !refusing.admits(Role::Controller, 1));
    let mut patient = Stage::new(|config| {
        config.approval = Approval::Listed;
        config.unknown_keys = UnknownKeys::Pending;
    });
    assert!(patient.admits(Role::Registration, 1));
    assert_eq!(patient.register(1, BLOCK), "OK\n");
    assert!(!patient.admits(Role::Controller, 1));
    assert_eq!(
        patient.request(Request::Approve(ProbeId(1), true)).0,
        Ok(())
    );
    assert!(patient.register(1, BLOCK).starts_with("OK\nCONTROLLER "));
}

#[test]
fn a_suspended_probe_loses_its_session() {
    let mut stage = Stage::new(|_| {});
    stage.keep(1, 1);
    let (result, said) = stage.request(Request::Approve(ProbeId(1), false));
    assert_eq!(result, Ok(()));
    assert!(said.contains(&Output::Drop(ConnectionId(1))));
    assert_eq!(stage.register(1, BLOCK), "OK\n");
    assert!(stage.init(1).starts_with("REFUSED\n"));
}

#[test]
fn each_init_gives_another_session_and_the_same_port() {
    let mut stage = Stage::new(|_| {});
    stage.register(1, BLOCK);
    stage.register(2, BLOCK);
    let (first, second, other) = (stage.init(1), stage.init(1), stage.init(2));
    let ports = [&first, &second, &other].map(|answer| session_in(answer).0);
    assert_eq!(ports, [30_000, 30_000, 30_001]);
    assert_ne!(session_in(&first).1, session_in(&second).1);
    assert_eq!(session_in(&first).1.len(), 64);
}

#[test]
fn init_follows_policy_and_faults() {
    let mut waiting = Stage::new(|config| config.controller.init = InitPolicy::Wait(100));
    waiting.register(1, BLOCK);
    assert_eq!(waiting.init(1), "WAIT\nTIMEOUT 100\n");
    let mut stage = Stage::new(|_| {});
    for fault in [
        ExecFault::PlainOk,
        ExecFault::Silent,
        ExecFault::Text("x".to_owned()),
    ] {
        let fault = Fault::Inits { count: 1, fault };
        assert_eq!(stage.request(Request::Fault(fault)).0, Ok(()));
    }
    let fault = ExecFault::Wait(120);
    stage
        .request(Request::Fault(Fault::Registrations { count: 1, fault }))
        .0
        .unwrap();
    assert_eq!(stage.register(1, BLOCK), "WAIT\nTIMEOUT 120\n");
    stage.register(1, BLOCK);
    assert_eq!(
        [stage.init(1), stage.init(1), stage.init(1)],
        ["OK\n", "", "x"]
    );
    assert!(stage.init(1).starts_with("OK\nREMOTE_PORT "));
    stage
        .request(Request::Fault(Fault::Logins { count: 1 }))
        .0
        .unwrap();
    assert!(!stage.admits(Role::Registration, 1));
    assert!(stage.admits(Role::Registration, 1));
}
