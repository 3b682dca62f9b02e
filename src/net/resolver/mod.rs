//! Names to addresses, for everyone: an asynchronous stub resolver that asks the system's servers itself, since
//! a static binary has no name service of the C library (`packet-measurements` section 1.4).
//!
//! Nothing is cached. A look-up never blocks anything else; beyond [`LOOKUPS`] at once, further ones wait their
//! turn.

mod files;
pub mod message;

use std::{
    collections::HashMap,
    fmt::{self, Display, Formatter},
    io,
    net::{IpAddr, SocketAddr, SocketAddrV6},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use hickory_proto::rr::RecordType;
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use tokio::{net::UdpSocket, sync::Semaphore};

use files::{Hosts, ResolverFile};
pub use files::{literal, reverse};
use message::{Meaning, Question};

use super::Config;
use crate::{
    clock::{Clock, Tick},
    measurement::machine::{Family, ResolveError},
};

/// Look-ups at once.
pub const LOOKUPS: usize = 64;

/// How often a file is looked at for changes.
const CHECK: Duration = Duration::from_secs(1);

/// Read of a file at most: more is no hosts file.
const LARGEST_FILE: u64 = 4 << 20;

/// Files that are remembered: the two of the system and one for each interface that a run named.
const FILES: usize = 64;

/// How the system's resolver file stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// When it was last written; `None` if it is not there.
    pub modified: Option<SystemTime>,
    /// What comes of reading it.
    pub loaded: Loaded,
}

/// What comes of reading the resolver file (`dns-measurement` section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// It names a server.
    Well,
    /// It cannot be read; a server on this host is asked.
    Unreadable,
    /// It names no server; one on this host is asked.
    NoServer,
}

impl Display for Loaded {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Well => "it names a server",
            Self::Unreadable => {
                "it cannot be read, so names are asked for on this host, where a server must be"
            }
            Self::NoServer => {
                "it names no server, so names are asked for on this host, where one must be"
            }
        })
    }
}

impl Loaded {
    /// The number that stands for it in the line for the controller.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Well => 0,
            Self::Unreadable => 1,
            Self::NoServer => 6,
        }
    }
}

/// The resolver.
#[derive(Debug)]
pub struct Resolver {
    clock: Clock,
    hosts_file: PathBuf,
    resolver_file: PathBuf,
    port: u16,
    turns: Semaphore,
    chance: Mutex<StdRng>,
    hosts: Mutex<HashMap<PathBuf, Watched<Hosts>>>,
    files: Mutex<HashMap<PathBuf, Watched<ResolverFile>>>,
}

impl Resolver {
    pub(super) fn new(config: &Config, clock: Clock) -> Self {
        Self {
            clock,
            hosts_file: config.hosts_file.clone(),
            resolver_file: config.resolver_file.clone(),
            port: config.resolver_port,
            turns: Semaphore::new(LOOKUPS),
            chance: Mutex::new(StdRng::seed_from_u64(config.seed)),
            hosts: Mutex::default(),
            files: Mutex::default(),
        }
    }

    /// The addresses of a name, those of the hosts file or else those of the first server that knows. For both
    /// families, IPv4 addresses come first, and it is enough that one family has some.
    ///
    /// # Errors
    /// The name does not exist, or nobody could tell.
    pub async fn lookup(
        &self,
        name: &str,
        family: Family,
        interface: Option<&str>,
    ) -> Result<Vec<IpAddr>, ResolveError> {
        let hosts = read(
            &self.hosts,
            &self.hosts_file,
            self.clock.tick(),
            Hosts::parse,
        );
        match hosts.find(name, family) {
            Some(found) if found.is_empty() => return Err(ResolveError::Failed),
            Some(found) => return Ok(found),
            None => {}
        }
        let path = self.path(interface);
        let file = read(&self.files, &path, self.clock.tick(), ResolverFile::parse);
        match family {
            Family::V4 => self.search(&file, name, false).await,
            Family::V6 => self.search(&file, name, true).await,
            Family::Both => {
                let (four, six) = tokio::join!(
                    self.search(&file, name, false),
                    self.search(&file, name, true)
                );
                match (four, six) {
                    (Ok(four), Ok(six)) => Ok([four, six].concat()),
                    (Ok(found), Err(_)) | (Err(_), Ok(found)) => Ok(found),
                    (Err(ResolveError::NotKnown), Err(ResolveError::NotKnown)) => {
                        Err(ResolveError::NotKnown)
                    }
                    (Err(_), Err(_)) => Err(ResolveError::Failed),
                }
            }
        }
    }

    /// The name of an address: that of the hosts file, or else what its PTR record says. `None` if it has none or
    /// nobody could tell. A name is what a stranger says of himself; nothing follows from it.
    pub async fn name_of(&self, address: IpAddr) -> Option<String> {
        let now = self.clock.tick();
        let hosts = read(&self.hosts, &self.hosts_file, now, Hosts::parse);
        if let Some(name) = hosts.name_of(address) {
            return Some(name.to_owned());
        }
        let file = read(&self.files, &self.path(None), now, ResolverFile::parse);
        match self.ask(&file, &reverse(address), RecordType::PTR).await {
            Meaning::Named(name) => Some(name),
            _ => None,
        }
    }

    /// The `nameserver` entries of the resolver file as they stand, at most three.
    #[must_use]
    pub fn nameservers(&self, interface: Option<&str>) -> Vec<String> {
        match read_limited(&self.path(interface)) {
            Ok(content) => files::nameservers(&content),
            Err(error) => {
                tracing::debug!(%error, "resolver file not read");
                Vec::new()
            }
        }
    }

    /// How the system's resolver file stands. Reads it: may block.
    pub(super) fn look(&self) -> Look {
        let path = &self.resolver_file;
        let modified = std::fs::metadata(path).and_then(|file| file.modified());
        Look {
            modified: modified.ok(),
            loaded: match read_limited(path) {
                Ok(content) if files::nameservers(&content).is_empty() => Loaded::NoServer,
                Ok(_) => Loaded::Well,
                Err(_) => Loaded::Unreadable,
            },
        }
    }

    /// The resolver file of an interface if it has one, the system's otherwise.
    fn path(&self, interface: Option<&str>) -> PathBuf {
        // A device's name has no slash; anything else is not one.
        interface
            .filter(|name| !name.is_empty() && !name.contains('/'))
            .map(|name| {
                let mut path = self.resolver_file.clone().into_os_string();
                path.push(".");
                path.push(name);
                PathBuf::from(path)
            })
            .filter(|path| path.exists())
            .unwrap_or_else(|| self.resolver_file.clone())
    }

    /// Tries the name as it stands and with the domains of the search list.
    async fn search(
        &self,
        file: &ResolverFile,
        name: &str,
        v6: bool,
    ) -> Result<Vec<IpAddr>, ResolveError> {
        let mut result = Err(ResolveError::NotKnown);
        for candidate in file.candidates(name) {
            let rtype = if v6 { RecordType::AAAA } else { RecordType::A };
            result = match self.ask(file, &candidate, rtype).await {
                Meaning::Addresses(found) => Ok(found),
                Meaning::NotKnown => Err(ResolveError::NotKnown),
                _ => Err(ResolveError::Failed),
            };
            if result != Err(ResolveError::NotKnown) {
                break;
            }
        }
        result
    }

    /// Asks the servers in turn until one tells.
    async fn ask(&self, file: &ResolverFile, name: &str, rtype: RecordType) -> Meaning {
        // Closed only with the process.
        let _turn = self.turns.acquire().await;
        let mut refused = 0;
        for server in file.servers.iter().cycle().take(file.attempts) {
            let Some(question) = self.question(name, rtype) else {
                return Meaning::Failed;
            };
            let answer = self.exchange(server, &question);
            match tokio::time::timeout(file.timeout, answer).await {
                Ok(Ok(Meaning::Refused | Meaning::Foreign)) => {
                    refused += 1;
                    if refused == file.servers.len() {
                        return Meaning::Failed;
                    }
                }
                Ok(Ok(meaning)) => return meaning,
                Ok(Err(error)) => tracing::debug!(%error, "name server not reached"),
                Err(_) => tracing::debug!("name server timed out"),
            }
        }
        Meaning::Failed
    }

    fn question(&self, name: &str, rtype: RecordType) -> Option<Question> {
        let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
        let id = chance.random();
        let mut bits = 0_u64;
        let mut left = 0;
        Question::new(name, rtype, id, || {
            if left == 0 {
                (bits, left) = (chance.next_u64(), 64);
            }
            left -= 1;
            bits >>= 1;
            bits & 1 == 1
        })
    }

    /// Sends a question from a new port and waits for its answer, as long as the caller likes. A server that cannot be
    /// reached is not waited for: the next try follows at once.
    async fn exchange(
        &self,
        (address, interface): &(IpAddr, Option<String>),
        question: &Question,
    ) -> io::Result<Meaning> {
        let server = match (address, interface) {
            (IpAddr::V6(address), Some(interface)) => {
                let scope = nix::net::if_::if_nametoindex(interface.as_str())?;
                SocketAddrV6::new(*address, self.port, 0, scope).into()
            }
            _ => SocketAddr::new(*address, self.port),
        };
        let any = match address {
            IpAddr::V4(_) => IpAddr::from([0_u8; 4]),
            IpAddr::V6(_) => IpAddr::from([0_u16; 8]),
        };
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(server).await?;
        socket.send(&question.wire).await?;
        let mut buffer = vec![0; 4_096];
        loop {
            let length = socket.recv(&mut buffer).await?;
            match question.read(&buffer[..length]) {
                Meaning::Foreign => {}
                meaning => return Ok(meaning),
            }
        }
    }
}

/// A file and what it said when it last changed.
#[derive(Debug)]
struct Watched<T> {
    checked: Tick,
    changed: Option<SystemTime>,
    value: Arc<T>,
}

/// The value of a file, read anew when its modification time changed. A file that cannot be read is empty.
fn read<T>(
    files: &Mutex<HashMap<PathBuf, Watched<T>>>,
    path: &Path,
    now: Tick,
    parse: impl Fn(&str) -> T,
) -> Arc<T> {
    let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = files.get_mut(path) {
        if now.since(known.checked) < CHECK {
            return Arc::clone(&known.value);
        }
        known.checked = now;
        if known.changed == modified(path) {
            return Arc::clone(&known.value);
        }
    }
    if files.len() >= FILES {
        files.clear();
    }
    let changed = modified(path);
    let content = read_limited(path).unwrap_or_else(|error| {
        tracing::debug!(%error, ?path, "not read, taken as empty");
        Vec::new()
    });
    let value = Arc::new(parse(&String::from_utf8_lossy(&content)));
    let watched = Watched {
        checked: now,
        changed,
        value: Arc::clone(&value),
    };
    files.insert(path.to_owned(), watched);
    value
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path)
        .and_then(|file| file.modified())
        .ok()
}

fn read_limited(path: &Path) -> io::Result<Vec<u8>> {
    use io::Read;
    let mut content = Vec::new();
    std::fs::File::open(path)?
        .take(LARGEST_FILE)
        .read_to_end(&mut content)?;
    Ok(content)
}
