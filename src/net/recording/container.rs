//! The records of a recording, and the C structures in them (`replay-vectors` sections 2 and 4).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// Octets of a record before its data: type and length.
const HEADER: usize = 12;
/// Octets of an `addrinfo`.
pub(crate) const ADDRINFO: usize = 48;
/// Octets of an IPv4 socket address, and of any that was cut.
const SOCKADDR_V4: usize = 16;
/// Octets of an IPv6 socket address.
const SOCKADDR_V6: usize = 28;
/// Address families as Linux numbers them.
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// Why a recording cannot be read on. Offsets are in octets from the start of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordingError {
    /// Another record comes next.
    #[error("offset {offset}: wrong type, expected {expected}, got {found}")]
    WrongType {
        /// Where the record begins.
        offset: usize,
        /// The type that the run needs next.
        expected: i32,
        /// The type that is there.
        found: i32,
    },
    /// A record is larger than what it is for.
    #[error("offset {offset}: record of {length} octets, at most {limit} fit")]
    TooLong {
        /// Where the record begins.
        offset: usize,
        /// What its header says.
        length: u64,
        /// What fits.
        limit: usize,
    },
    /// The file ends within a record, or where one is needed.
    #[error("offset {offset}: the recording ends here, a record of type {expected} is needed")]
    End {
        /// Where the record begins or should begin.
        offset: usize,
        /// The type that the run needs next.
        expected: i32,
    },
    /// The data of a record is not what it should be.
    #[error("offset {offset}: bad {what}")]
    Malformed {
        /// Where the record begins.
        offset: usize,
        /// What should be there.
        what: &'static str,
    },
}

/// Reads records in order.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// From the first record on.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// Where the next record begins.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// Whether every record was taken.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.rest().is_empty()
    }

    /// The type of the next record, which stays; `None` at the end.
    #[must_use]
    pub fn peek(&self) -> Option<i32> {
        self.rest()
            .first_chunk()
            .map(|kind| i32::from_le_bytes(*kind))
    }

    /// Takes the next record, which must be of type `kind` and hold at most `limit` octets.
    ///
    /// # Errors
    /// Another record, a larger one, or none.
    pub fn take(&mut self, kind: i32, limit: usize) -> Result<&'a [u8], RecordingError> {
        let offset = self.offset;
        let end = RecordingError::End {
            offset,
            expected: kind,
        };
        let Some(found) = self.peek() else {
            return Err(end);
        };
        if found != kind {
            return Err(RecordingError::WrongType {
                offset,
                expected: kind,
                found,
            });
        }
        let (header, rest) = self.rest().split_at_checked(HEADER).ok_or(end.clone())?;
        let length = header[4..]
            .iter()
            .rev()
            .fold(0, |length, octet| length << 8 | u64::from(*octet));
        let Some(length) = usize::try_from(length)
            .ok()
            .filter(|length| *length <= limit)
        else {
            return Err(RecordingError::TooLong {
                offset,
                length,
                limit,
            });
        };
        let data = rest.get(..length).ok_or(end)?;
        self.offset += HEADER + length;
        Ok(data)
    }

    /// Takes a record of exactly `N` octets.
    ///
    /// # Errors
    /// Another record, or one of another length.
    pub fn take_array<const N: usize>(
        &mut self,
        kind: i32,
        what: &'static str,
    ) -> Result<[u8; N], RecordingError> {
        let offset = self.offset;
        let data = self.take(kind, N)?;
        data.try_into()
            .map_err(|_| RecordingError::Malformed { offset, what })
    }

    /// Takes a 32-bit number.
    ///
    /// # Errors
    /// Another record, or one of another length.
    pub fn take_i32(&mut self, kind: i32, what: &'static str) -> Result<i32, RecordingError> {
        self.take_array(kind, what).map(i32::from_le_bytes)
    }

    /// Takes a socket address. An IPv6 address that was cut after 16 octets lacks its low half, which reads as zeros.
    ///
    /// # Errors
    /// Another record, or one that is no socket address.
    pub fn take_address(&mut self, kind: i32) -> Result<SocketAddr, RecordingError> {
        let offset = self.offset;
        let data = self.take(kind, SOCKADDR_V6)?;
        socket_address(data).ok_or(RecordingError::Malformed {
            offset,
            what: "socket address",
        })
    }

    /// Takes an `addrinfo`. Says whether another one follows it (its next pointer is not null).
    ///
    /// # Errors
    /// Another record, or one of another length.
    pub fn take_addrinfo(&mut self, kind: i32) -> Result<bool, RecordingError> {
        let data: [u8; ADDRINFO] = self.take_array(kind, "addrinfo")?;
        Ok(data[40..] != [0; 8])
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.offset..).unwrap_or_default()
    }
}

/// A socket address as Linux lays it out.
fn socket_address(data: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_le_bytes(*data.first_chunk()?);
    let port = u16::from_be_bytes([*data.get(2)?, *data.get(3)?]);
    match (family, data.len()) {
        (AF_INET, SOCKADDR_V4) => {
            let octets: [u8; 4] = data[4..8].try_into().ok()?;
            Some(SocketAddr::new(Ipv4Addr::from(octets).into(), port))
        }
        (AF_INET6, SOCKADDR_V4 | SOCKADDR_V6) => {
            let mut whole = [0; SOCKADDR_V6];
            whole[..data.len()].copy_from_slice(data);
            let octets: [u8; 16] = whole[8..24].try_into().ok()?;
            let scope = u32::from_le_bytes([whole[24], whole[25], whole[26], whole[27]]);
            let address = SocketAddrV6::new(Ipv6Addr::from(octets), port, 0, scope);
            Some(SocketAddr::V6(address))
        }
        _ => None,
    }
}

/// Writes records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// Nothing written yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a record.
    pub fn put(&mut self, kind: i32, data: &[u8]) {
        self.0.extend(kind.to_le_bytes());
        let length = u64::try_from(data.len()).expect("a length fits in 64 bits");
        self.0.extend(length.to_le_bytes());
        self.0.extend(data);
    }

    /// Adds a socket address.
    pub fn put_address(&mut self, kind: i32, address: SocketAddr) {
        let mut data = Vec::with_capacity(SOCKADDR_V6);
        match address {
            SocketAddr::V4(v4) => {
                data.extend(AF_INET.to_le_bytes());
                data.extend(v4.port().to_be_bytes());
                data.extend(v4.ip().octets());
                data.resize(SOCKADDR_V4, 0);
            }
            SocketAddr::V6(v6) => {
                data.extend(AF_INET6.to_le_bytes());
                data.extend(v6.port().to_be_bytes());
                data.extend([0; 4]);
                data.extend(v6.ip().octets());
                data.extend(v6.scope_id().to_le_bytes());
            }
        }
        self.put(kind, &data);
    }

    /// Adds an `addrinfo` for `address`, `more` of which follow.
    pub fn put_addrinfo(&mut self, kind: i32, address: IpAddr, more: bool) {
        let (family, length) = match address {
            IpAddr::V4(_) => (AF_INET, SOCKADDR_V4),
            IpAddr::V6(_) => (AF_INET6, SOCKADDR_V6),
        };
        let length = u32::try_from(length).expect("16 or 28");
        let mut data = Vec::with_capacity(ADDRINFO);
        data.extend(0x8000_0000u32.to_le_bytes());
        data.extend(u32::from(family).to_le_bytes());
        data.extend(2u32.to_le_bytes());
        data.extend(17u32.to_le_bytes());
        data.extend(length.to_le_bytes());
        data.resize(40, 0);
        data.extend(u64::from(more).to_le_bytes());
        self.put(kind, &data);
    }

    /// The recording.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn records_are_read_as_specified() {
        let bytes = [
            4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 59, // type 4, one octet
            0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, // type -1, empty
        ];
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.peek(), Some(4));
        assert_eq!(reader.take(4, 1), Ok(&[59][..]));
        assert_eq!(reader.take(-1, 0), Ok(&[][..]));
        assert!(reader.is_at_end());
        assert_eq!(reader.peek(), None);
    }

    #[test]
    fn what_does_not_fit_says_where() {
        let bytes = [4, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 59];
        let take = |kind, limit| Reader::new(&bytes).take(kind, limit).unwrap_err();
        assert_eq!(
            take(5, 9).to_string(),
            "offset 0: wrong type, expected 5, got 4"
        );
        assert_eq!(
            take(4, 1).to_string(),
            "offset 0: record of 2 octets, at most 1 fit"
        );
        assert!(matches!(take(4, 9), RecordingError::End { offset: 0, .. }));
        let endless = [4, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255];
        assert!(matches!(
            Reader::new(&endless).take(4, 9),
            Err(RecordingError::TooLong { .. })
        ));
    }

    #[test]
    fn addresses_are_laid_out_as_linux_does() {
        let mut writer = Writer::new();
        writer.put_address(3, "198.51.100.9:80".parse().unwrap());
        assert_eq!(
            writer.finish()[HEADER..],
            [2, 0, 0, 80, 198, 51, 100, 9, 0, 0, 0, 0, 0, 0, 0, 0]
        );
        let mut cut = vec![10, 0, 0, 58, 0, 0, 0, 0];
        cut.extend([0x20, 1, 0x0d, 0xb8, 0, 1, 0, 2]);
        assert_eq!(
            socket_address(&cut),
            Some("[2001:db8:1:2::]:58".parse().unwrap())
        );
        assert_eq!(socket_address(&cut[..15]), None);
        assert_eq!(socket_address(&[]), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            records in proptest::collection::vec((any::<i32>(), proptest::collection::vec(any::<u8>(), 0..40)), 0..8),
            address in any::<(IpAddr, u16)>(),
            more in any::<bool>(),
        ) {
            let address = SocketAddr::from(address);
            let mut writer = Writer::new();
            for (kind, data) in &records {
                writer.put(*kind, data);
            }
            writer.put_address(1, address);
            writer.put_addrinfo(2, address.ip(), more);
            let bytes = writer.finish();
            let mut reader = Reader::new(&bytes);
            for (kind, data) in &records {
                prop_assert_eq!(reader.take(*kind, 40), Ok(&data[..]));
            }
            prop_assert_eq!(reader.take_address(1), Ok(address));
            prop_assert_eq!(reader.take_addrinfo(2), Ok(more));
            prop_assert!(reader.is_at_end());
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(0u8..32, 0..60)) {
            let mut reader = Reader::new(&bytes);
            while let Some(kind) = reader.peek() {
                if reader.take_address(kind).is_err() && reader.take(kind, 100).is_err() {
                    break;
                }
            }
        }
    }
}
