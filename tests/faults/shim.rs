//! The agent's wall clock and disk, in the bench's hands: a library of a few lines under the real binary.

use std::{
    fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
};

/// Compiles the library; `None`, said loudly, where there is no C compiler.
pub(crate) fn build(folder: &Path) -> Option<PathBuf> {
    let (source, library) = (folder.join("shim.c"), folder.join("shim.so"));
    fs::write(&source, include_str!("shim.c")).expect("the folder is ours");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-o"])
        .arg(&library)
        .arg(&source)
        .arg("-ldl")
        .output();
    match built {
        Ok(output) if output.status.success() => Some(library),
        Ok(output) => {
            println!("NOT TESTED: clock jumps and slow disks, since cc failed:");
            println!("{}", String::from_utf8_lossy(&output.stderr));
            None
        }
        Err(error) => {
            println!(
                "NOT TESTED: clock jumps and slow disks, since there is no C compiler: {error}"
            );
            None
        }
    }
}

/// What the library under one agent does.
#[derive(Clone, Debug)]
pub(crate) struct Shim {
    pub(crate) library: PathBuf,
    pub(crate) orders: PathBuf,
}

impl Shim {
    pub(crate) fn new(library: &Path, orders: PathBuf) -> Self {
        fs::write(&orders, [0; 16]).expect("the folder is ours");
        Self {
            library: library.to_owned(),
            orders,
        }
    }

    /// Sets the wall clock so many seconds away from the true time.
    pub(crate) fn clock(&self, seconds: i64) {
        self.write(0, seconds);
    }

    /// Makes each write and sync take so long.
    pub(crate) fn disk(&self, milliseconds: i64) {
        self.write(8, milliseconds);
    }

    fn write(&self, at: u64, value: i64) {
        let file = fs::OpenOptions::new()
            .write(true)
            .open(&self.orders)
            .expect("the file was made");
        file.write_all_at(&value.to_ne_bytes(), at)
            .expect("the file can be written");
    }
}
