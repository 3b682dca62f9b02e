//! `starling key`: the probe's identity.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Exit, Failure, Outcome, print};
use crate::{
    config::{DATA_DIR, key_file},
    key::{KeyType, ProbeKey},
};

#[derive(Args, Debug)]
pub(super) struct KeyArgs {
    /// The probe's private key file; by default `probe_key` in the data directory.
    #[arg(long, env = "STARLING_KEY_FILE", global = true, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// The data directory.
    #[arg(
        long,
        env = "STARLING_DATA_DIR",
        global = true,
        value_name = "DIR",
        default_value = DATA_DIR
    )]
    data_dir: PathBuf,
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Print the line to register.
    Show,
    /// Make a new Ed25519 key. Refuses to replace one.
    Generate,
    /// Take over an existing private key, for example one of the official probe. Refuses to replace one.
    Import {
        /// The private key file, as OpenSSH or OpenSSL makes it, without a passphrase.
        file: PathBuf,
    },
}

pub(super) fn main(args: &KeyArgs) -> Outcome {
    let path = key_file(args.key_file.as_deref(), &args.data_dir);
    let refused = |error| Failure::new(Exit::OsError, error);
    let key = match &args.command {
        KeyCommand::Show => ProbeKey::load(&path).map_err(refused)?,
        KeyCommand::Generate => {
            ProbeKey::generate(&path, KeyType::Ed25519, &comment(), false).map_err(refused)?
        }
        KeyCommand::Import { file } => ProbeKey::import(file, &path, false).map_err(refused)?,
    };
    print::line(&key.public_line())?;
    Ok(Exit::Done)
}

/// The comment behind a key: the node's name, as installers of the official probe do.
fn comment() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| "starling".to_owned())
}
