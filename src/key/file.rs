//! Small secret files on disk: written whole or not at all, readable by their owner alone.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};

/// A file's text and its permission bits, of the same open file.
pub(crate) struct Private {
    pub(crate) text: String,
    pub(crate) mode: u32,
}

/// Reads a text file of at most `max` octets.
///
/// # Errors
/// It is missing, unreadable, not a regular file, longer, or not UTF-8.
pub fn read_private(path: &Path, max: u64) -> io::Result<String> {
    read(path, max).map(|private| private.text)
}

/// As [`read_private`], with the permission bits.
pub(crate) fn read(path: &Path, max: u64) -> io::Result<Private> {
    let file = File::open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        ));
    }
    if meta.len() > max {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} octets, more than {max}", meta.len()),
        ));
    }
    let mut text = String::new();
    file.take(max).read_to_string(&mut text)?;
    Ok(Private {
        text,
        mode: meta.permissions().mode() & 0o777,
    })
}

/// Writes a file of mode 0600 and syncs it and its name: after a power cut there is the old file or the new
/// one. Without `replace` an existing file fails with `AlreadyExists`. Written by root, it belongs to the owner of its
/// directory.
///
/// # Errors
/// Whatever the file system says.
pub fn write_private(path: &Path, content: &[u8], replace: bool) -> io::Result<()> {
    write(path, content, 0o600, replace)
}

/// As [`write_private`], for everybody to read, always replacing.
pub(crate) fn write_public(path: &Path, content: &[u8]) -> io::Result<()> {
    write(path, content, 0o644, true)
}

fn write(path: &Path, content: &[u8], mode: u32, replace: bool) -> io::Result<()> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
        _ => PathBuf::from("."),
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)?;
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a file name"))?;
    let mut temp_name = std::ffi::OsString::from(".");
    temp_name.push(name);
    temp_name.push(format!(".{}.new", std::process::id()));
    let temp = dir.join(temp_name);
    let written = write_temp(&temp, content, mode, &dir).and_then(|()| put(&temp, path, replace));
    if written.is_err() {
        let _ = fs::remove_file(&temp);
    }
    written?;
    File::open(&dir)?.sync_all()
}

fn write_temp(temp: &Path, content: &[u8], mode: u32, dir: &Path) -> io::Result<()> {
    // Left over by a process of the same number that died: nobody else uses the name.
    match fs::remove_file(temp) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(temp)?;
    file.write_all(content)?;
    // What root writes into a service's directory is the service's to read.
    let owner = fs::metadata(dir)?;
    if nix::unistd::geteuid().is_root() && owner.uid() != 0 {
        fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
    }
    // The umask may have taken bits away, never added any.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.sync_all()
}

fn put(temp: &Path, path: &Path, replace: bool) -> io::Result<()> {
    if replace {
        return fs::rename(temp, path);
    }
    // A link fails where a rename would silently replace.
    match fs::hard_link(temp, path) {
        Ok(()) => fs::remove_file(temp),
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => Err(cause),
        // A file system without links: the caller has looked before.
        Err(_) => fs::rename(temp, path),
    }
}
