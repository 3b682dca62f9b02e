//! `starling key`: the probe's identity.

use super::{Exit, Failure, KeyArgs, KeyCommand, Outcome, print};
use crate::{
    config::key_file,
    key::{KeyType, ProbeKey},
};

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
