//! What this kernel can confine a process with, found out by asking it.

use std::fs;

use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
};

use super::Finding;
use crate::agent::CALLS_CAN_BE_FILTERED;

pub(super) fn findings() -> Vec<Finding> {
    vec![landlock(), seccomp()]
}

/// A set of rules that is made and never put into force tells which rights the kernel knows.
fn landlock() -> Finding {
    const WHAT: &str = "landlock";
    let knows = |abi: ABI| {
        Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(abi))
            .and_then(Ruleset::create)
    };
    match knows(ABI::V1) {
        Ok(_) if knows(ABI::V5).is_ok() => Finding::ok(WHAT, "the kernel can confine file access"),
        Ok(_) => Finding::ok(
            WHAT,
            "the kernel can confine file access, but for rights that newer ones have",
        ),
        Err(_) => Finding::warning(
            WHAT,
            "the kernel does not confine file access",
            "nothing breaks; use Linux 5.13 or newer with landlock in its `lsm=` parameter",
        ),
    }
}

fn seccomp() -> Finding {
    const WHAT: &str = "seccomp";
    if !CALLS_CAN_BE_FILTERED {
        return Finding::warning(
            WHAT,
            format!(
                "no system call filter on this architecture ({})",
                std::env::consts::ARCH
            ),
            "nothing breaks; the system's user and capabilities confine the probe",
        );
    }
    let offers = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail")
        .is_ok_and(|actions| actions.contains("errno"));
    // The kernel tells of a process's filter only if it can have one.
    let tells = fs::read_to_string("/proc/self/status")
        .is_ok_and(|text| text.lines().any(|line| line.starts_with("Seccomp:")));
    if offers || tells {
        Finding::ok(WHAT, "the kernel can filter system calls")
    } else {
        Finding::warning(
            WHAT,
            "the kernel cannot filter system calls",
            "nothing breaks; another kernel would confine the probe better",
        )
    }
}
