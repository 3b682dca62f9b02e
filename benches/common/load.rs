//! Processes that keep both processors busy.

use std::process::{Child, Command, Stdio};

/// What goes on beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Load {
    /// Nothing beside
    Idle,
    /// Six processes that only count
    Hogs,
}

impl Load {
    pub(crate) const ALL: [Self; 2] = [Self::Idle, Self::Hogs];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Hogs => "6 hogs",
        }
    }
}

pub(crate) struct Hogs(Vec<Child>);

impl Hogs {
    pub(crate) fn start(count: usize) -> Self {
        let own = std::env::current_exe().expect("the running binary has a path");
        let hog = || {
            let mut command = Command::new(&own);
            command.arg("--hog").stdin(Stdio::null());
            command.spawn().expect("this program runs")
        };
        Self((0..count).map(|_| hog()).collect())
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        for hog in &mut self.0 {
            // One that is gone already is as good.
            let _ = hog.kill();
            let _ = hog.wait();
        }
    }
}

/// What a hog does, until it is killed or its parent is gone.
pub(crate) fn burn() -> ! {
    let parent = nix::unistd::getppid();
    let mut number = 0_u64;
    loop {
        for _ in 0..1_000_000_000 {
            number = std::hint::black_box(number.wrapping_mul(31).wrapping_add(7));
        }
        if nix::unistd::getppid() != parent {
            std::process::exit(0);
        }
    }
}
