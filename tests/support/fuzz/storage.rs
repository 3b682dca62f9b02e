//! Results at rest: whatever lies in the directory, what is posted of it is whole RESULT lines, and nothing that was
//! good is lost.

use std::{fs, path::Path};

use starling::{
    clock::Tick,
    spool::{
        Input, Limits, Name, Number, Seal,
        disk::Store,
        segment::{Crc, is_line, scan},
    },
};

use super::bytes::{Bytes, pieces};

/// A file's name and its contents: the first line is the name, the rest is what is scanned.
pub(crate) fn segment(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let name = String::from_utf8_lossy(bytes.line()).parse::<Name>();
    let contents = bytes.rest();
    let promised = name.as_ref().ok().and_then(|name| name.seal());
    if let Ok(name) = name {
        assert_eq!(name.to_string().parse(), Ok(name));
    }
    let found = scan(contents, promised);
    assert_eq!(found.all, seal(contents));
    let good = usize::try_from(found.good.len).expect("no longer than the contents");
    assert_eq!(found.good, seal(&contents[..good]));
    let lines: Vec<&[u8]> = contents[..good]
        .split_inclusive(|byte| *byte == b'\n')
        .collect();
    assert_eq!(lines.len() as u64, found.lines);
    assert!(lines.into_iter().all(is_line));
    let next = contents[good..].split_inclusive(|byte| *byte == b'\n');
    assert!(next.take(1).all(|line| !is_line(line)));
    assert_eq!(found.nul, contents.contains(&0));
    assert!(scan(contents, Some(found.all)).keeps_promise);
    let mut crc = Crc::default();
    for piece in pieces(contents, 7) {
        crc = Crc::resume(crc.value());
        crc.add(piece);
    }
    assert_eq!(crc.value(), found.all.crc);
}

fn seal(contents: &[u8]) -> Seal {
    Seal {
        len: contents.len() as u64,
        crc: Crc::of(contents),
    }
}

const LIMITS: Limits = Limits {
    budget: 1 << 20,
    segment: 4096,
    memory: 1 << 16,
    sync_after: std::time::Duration::from_secs(60),
    pack_after: std::time::Duration::from_secs(600),
};

/// A directory of files: it is opened, read, added to, and opened again.
pub(crate) fn spool(data: &[u8]) {
    // Memory where there is some: a disk would be the bottleneck.
    let shared = Path::new("/dev/shm");
    let folder = if shared.is_dir() {
        tempfile::tempdir_in(shared)
    } else {
        tempfile::tempdir()
    };
    let folder = folder.expect("a temporary directory can be made");
    let mut bytes = Bytes::new(data);
    let mut whole = Vec::new();
    while !bytes.is_empty() && whole.len() < 16 {
        whole.extend(file(&mut bytes, folder.path()));
    }
    let strangers = foreign(folder.path());
    let (mut store, _) = Store::open(folder.path(), LIMITS, Tick::default()).expect("it is ours");
    store.handle(Tick::default(), Input::Append("RESULT new\n".to_owned()));
    let kept = lines(&mut store);
    assert_eq!(kept.last().map(Vec::as_slice), Some(&b"RESULT new\n"[..]));
    for line in whole {
        assert!(kept.contains(&line), "a good line is lost");
    }
    store.handle(Tick::from_secs(1), Input::Flush);
    drop(store);
    let (mut store, _) = Store::open(folder.path(), LIMITS, Tick::default()).expect("it is ours");
    assert_eq!(lines(&mut store), kept, "another start changes nothing");
    store.handle(Tick::from_secs(601), Input::Kept);
    while store
        .spool()
        .deadline()
        .is_some_and(|at| at <= Tick::from_secs(2000))
    {
        let at = store.spool().deadline().expect("just seen");
        store.handle(at, Input::Deadline);
        if store.spool().deadline() == Some(at) {
            break;
        }
    }
    assert_eq!(lines(&mut store), kept, "compressed, they are the same");
    let all: Vec<Number> = store.spool().sealed().map(|sealed| sealed.number).collect();
    store.handle(Tick::from_secs(3000), Input::Uploaded(all));
    assert_eq!(store.spool().sealed().count(), 0);
    assert_eq!(foreign(folder.path()), strangers, "what is not ours stays");
}

/// How many files of others there are.
fn foreign(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).expect("the directory is ours");
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name.starts_with("foreign")).count()
}

/// Everything that would be posted now.
fn lines(store: &mut Store) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let (sealed, _) = store.collect(Tick::default(), u64::MAX);
    for sealed in sealed {
        let (Some(read), _) = store.read(Tick::default(), sealed.number) else {
            continue;
        };
        assert_eq!(read.len() as u64, sealed.len);
        let lines: Vec<_> = read
            .split_inclusive(|byte| *byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect();
        assert!(lines.iter().all(|line| is_line(line)));
        assert_eq!(lines.len() as u64, sealed.lines);
        all.extend(lines);
    }
    all
}

/// Makes one file of the directory; the lines that must be kept of it.
fn file(bytes: &mut Bytes<'_>, folder: &Path) -> Vec<Vec<u8>> {
    let (form, number) = (bytes.byte(), bytes.byte());
    let mut contents = Vec::new();
    for _ in 0..form >> 4 & 3 {
        contents.extend(format!("RESULT {number} {}\n", bytes.byte()).bytes());
    }
    contents.extend_from_slice(bytes.chunk());
    let number = Number(number.into());
    let good = scan(&contents, None).good.len;
    let good = contents[..usize::try_from(good).expect("no longer than the contents")].to_vec();
    // What is sealed was whole lines then, whatever came behind them since.
    let mut promised = seal(&good);
    let damaged = form & 0x40 != 0;
    if damaged {
        promised.crc ^= 1 + u32::from(bytes.byte());
    }
    let name = match form & 7 {
        0 | 1 => Name::Open(number),
        2 | 3 => Name::Sealed(number, promised),
        4 => Name::Packed(number, promised),
        5 => Name::Temp(number),
        6 => Name::Bad(number),
        _ => {
            let name = format!("foreign{}", number.0);
            fs::write(folder.join(name), &contents).expect("the directory is ours");
            return Vec::new();
        }
    };
    let taken = fs::read_dir(folder).expect("the directory is ours");
    let prefix = number.to_string();
    let mut taken = taken.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    if taken.any(|taken| taken.starts_with(&prefix)) {
        // Which of two files with one number counts is not for this test to say.
        return Vec::new();
    }
    if matches!(name, Name::Packed(..)) && form & 0x80 == 0 {
        contents = miniz_oxide::deflate::compress_to_vec_zlib(&good, 6);
    }
    fs::write(folder.join(name.to_string()), &contents).expect("the directory is ours");
    let kept = match name {
        Name::Open(_) => true,
        Name::Sealed(..) => !damaged,
        Name::Packed(..) => !damaged && form & 0x80 == 0,
        _ => false,
    };
    let lines = good
        .split_inclusive(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec);
    lines.filter(|_| kept).collect()
}
