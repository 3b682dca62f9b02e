//! Confinement: what the process can do without is given up before it talks to anybody.
//!
//! Three layers, each by itself: capabilities, file access (Landlock) and system calls (seccomp). What a kernel does not
//! have is said and no failure: a probe on an old kernel still measures. Must be called while the process has a single
//! thread, for each layer is inherited and none reaches back.

use std::{
    collections::BTreeMap, env, fs, os::unix::fs::DirBuilderExt as _,
    os::unix::fs::MetadataExt as _, path::PathBuf,
};

use caps::{CapSet, Capability, CapsHashSet};
use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetStatus, path_beneath_rules,
};
use nix::libc;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use crate::config::Config;
pub use crate::observe::status::Layer;

/// The newest file rights that we were written for; older kernels have fewer.
const RIGHTS: ABI = ABI::V5;
/// What chance, resolver, certificates and reports read.
const READ: &[&str] = &[
    // Where the C library is linked in, chance is read from here.
    "/dev/urandom",
    "/dev/random",
    "/etc",
    "/proc",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/usr/lib/ssl",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/usr/share/pki",
    "/usr/lib/os-release",
];
/// What no measurement, no file and no socket of ours needs: programs, other processes, mounts, modules, the clock.
const REFUSED: &[libc::c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_init_module,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_move_mount,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
];

impl Layer {
    fn holds(words: impl Into<String>) -> Self {
        Self {
            holds: true,
            words: words.into(),
        }
    }

    fn lacks(words: impl Into<String>) -> Self {
        Self {
            holds: false,
            words: words.into(),
        }
    }
}

/// Gives up what is not needed. `readable` are further files that are read later.
#[must_use]
pub fn confine(config: &Config, readable: &[PathBuf], writable: &[PathBuf]) -> Vec<Layer> {
    // A rule needs its directory; why it cannot be made is said when the agent starts.
    let _ = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&config.data_dir);
    let privileges = match nix::sys::prctl::set_no_new_privs() {
        Ok(()) => Layer::holds("no new privileges"),
        Err(errno) => Layer::lacks(format!("no_new_privs: {}", errno.desc())),
    };
    let files = if config.confine.landlock {
        files(config, readable, writable)
    } else {
        Layer::holds("landlock: off by configuration")
    };
    let calls = if config.confine.seccomp {
        calls()
    } else {
        Layer::holds("seccomp: off by configuration")
    };
    vec![capabilities(config), privileges, files, calls]
}

/// Keeps raw sockets, if we may have them, and nothing else.
fn capabilities(config: &Config) -> Layer {
    let mut wanted = vec![Capability::CAP_NET_RAW];
    // Root whose data belongs to another user would lose its own data directory.
    if nix::unistd::geteuid().is_root()
        && fs::metadata(&config.data_dir).is_ok_and(|meta| meta.uid() != 0)
    {
        wanted.push(Capability::CAP_DAC_OVERRIDE);
    }
    match keep(&wanted) {
        Ok(kept) if kept.is_empty() => Layer::holds("no capabilities"),
        Ok(kept) => Layer::holds(format!("capabilities: {} only", kept.join(", "))),
        Err(error) => Layer::lacks(format!("capabilities cannot be dropped: {error}")),
    }
}

fn keep(wanted: &[Capability]) -> Result<Vec<String>, caps::errors::CapsError> {
    // First the sets that need a capability to be changed.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        for capability in caps::read(None, CapSet::Bounding)? {
            if !wanted.contains(&capability) {
                caps::drop(None, CapSet::Bounding, capability)?;
            }
        }
    }
    caps::clear(None, CapSet::Ambient)?;
    let kept: CapsHashSet = caps::read(None, CapSet::Permitted)?
        .into_iter()
        .filter(|capability| wanted.contains(capability))
        .collect();
    // Only what is too much: a service manager that left no more than this may refuse the call as well.
    let wanted: CapsHashSet = wanted.iter().copied().collect();
    if !caps::read(None, CapSet::Inheritable)?.is_subset(&wanted) {
        caps::clear(None, CapSet::Inheritable)?;
    }
    for set in [CapSet::Effective, CapSet::Permitted] {
        if caps::read(None, set)? != kept {
            caps::set(None, set, &kept)?;
        }
    }
    let mut names: Vec<String> = kept.iter().map(ToString::to_string).collect();
    names.sort();
    Ok(names)
}

/// Reads what is listed, writes the data directory, sees nothing else.
fn files(config: &Config, readable: &[PathBuf], writable: &[PathBuf]) -> Layer {
    let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"]
        .into_iter()
        .filter_map(env::var_os)
        .map(PathBuf::from);
    let read = READ
        .iter()
        .map(PathBuf::from)
        .chain(named)
        .chain(readable.iter().cloned())
        .chain([config.key_file()]);
    let write = writable.iter().cloned().chain([config.data_dir.clone()]);
    match rule(read, write) {
        Ok(RulesetStatus::FullyEnforced) => {
            Layer::holds("landlock: files outside the data directory cannot be written")
        }
        Ok(RulesetStatus::PartiallyEnforced) => Layer::holds(
            "landlock: files outside the data directory cannot be written, as far as this kernel goes",
        ),
        Ok(RulesetStatus::NotEnforced) => Layer::lacks("landlock: this kernel does not have it"),
        Err(error) => Layer::lacks(format!("landlock: {error}")),
    }
}

fn rule(
    read: impl Iterator<Item = PathBuf>,
    write: impl Iterator<Item = PathBuf>,
) -> Result<RulesetStatus, landlock::RulesetError> {
    let all = AccessFs::from_all(RIGHTS);
    // Device rights are none of ours, and nothing is executed.
    let write_rights =
        all & !AccessFs::Execute & !AccessFs::IoctlDev & !AccessFs::MakeBlock & !AccessFs::MakeChar;
    let read_rights = AccessFs::ReadFile | AccessFs::ReadDir;
    // What is not there needs no rule; the library leaves it out.
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .create()?
        .add_rules(path_beneath_rules(read, read_rights))?
        .add_rules(path_beneath_rules(write, write_rights))?
        .restrict_self()?;
    Ok(status.ruleset)
}

/// Whether filters of system calls can be made for the machine that this was built for: 32-bit ARM has none here.
pub const CALLS_CAN_BE_FILTERED: bool = cfg!(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
));

/// Refuses system calls that nothing here makes.
fn calls() -> Layer {
    if !CALLS_CAN_BE_FILTERED {
        return Layer::lacks(format!(
            "seccomp: no system call filter on this architecture ({})",
            env::consts::ARCH
        ));
    }
    match filter()
        .and_then(|program| seccompiler::apply_filter(&program).map_err(|error| error.to_string()))
    {
        Ok(()) => Layer::holds(format!(
            "seccomp: {} system calls refused, programs cannot be started",
            REFUSED.len()
        )),
        Err(error) => Layer::lacks(format!("seccomp: {error}")),
    }
}

#[allow(
    clippy::useless_conversion,
    reason = "numbers of system calls are 32 bits wide on 32-bit machines"
)]
fn filter() -> Result<BpfProgram, String> {
    let arch = env::consts::ARCH
        .try_into()
        .map_err(|error: seccompiler::BackendError| error.to_string())?;
    let rules: BTreeMap<i64, _> = REFUSED
        .iter()
        .map(|call| ((*call).into(), vec![]))
        .collect();
    let refuse = u32::try_from(libc::EPERM).unwrap_or(1);
    SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(refuse),
        arch,
    )
    .and_then(BpfProgram::try_from)
    .map_err(|error| error.to_string())
}
