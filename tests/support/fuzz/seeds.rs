//! Where the corpora began: the packets and transcripts of the other tests, and what is written here.

use std::{fs, path::Path};

use starling::wire::{
    icmp::{Icmp, extension_structure},
    ip::{Ipv4, Ipv6},
    tcp::Tcp,
};

use crate::fuzz::{machine::recorded, protocol::SESSION};

/// The seeds of a target.
pub(crate) fn of(target: &str) -> Vec<Vec<u8>> {
    match target {
        "ip" => with(
            packets(&["ipv4-router-alert", "ipv6-extension-headers", "udp-ipv4"]),
            &[fragment()],
        ),
        "icmp" => with(
            packets(&["icmp-echo", "icmp-time-exceeded-mpls"]),
            &[long_error()],
        ),
        "udp" => packets(&["udp-ipv4"]),
        "tcp" => with(
            packets(&["tcp-syn", "tcp-syn-ack"]),
            &[Tcp::syn(1, 80, 7, b"data").emit()],
        ),
        "ntp" => packets(&["ntp-reply"]),
        "dns" => hex(DNS),
        "x509" => vec![include_bytes!("../../tls/certificate.der").to_vec()],
        "resolver" => hex(RESOLVER),
        "http2" => hex(HTTP2),
        "http" => texts(HTTP),
        "tls" => hex(TLS),
        "telnet" => texts(TELNET),
        "interpreter" => interpreter(),
        "dialogue" => texts(DIALOGUE),
        "command" => texts(COMMANDS),
        "crontab" => texts(CRONTABS),
        "registration" => texts(REGISTRATION),
        "post" => texts(POSTS),
        "response" => texts(RESPONSES),
        "date" => texts(DATES),
        "result" => with(texts(RESULTS), &golden()),
        "config" => with(texts(CONFIGS), &files("packaging", "toml")),
        "system" => texts(SYSTEM),
        "transcript" => transcripts(),
        "recording" => recordings(),
        "segment" => texts(SEGMENTS),
        "spool" => hex(SPOOLS),
        "machine" => machines(),
        "session" => sessions(),
        "schedule" => hex(SCHEDULES),
        "uploader" => uploaders(),
        "request" => texts(REQUESTS),
        "network" => networks(),
        _ => Vec::new(),
    }
}

fn with(mut seeds: Vec<Vec<u8>>, more: &[Vec<u8>]) -> Vec<Vec<u8>> {
    seeds.extend_from_slice(more);
    seeds
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Hexadecimal digits in any grouping; `#` begins a comment.
fn hex(texts: &[&str]) -> Vec<Vec<u8>> {
    let parse = |text: &&str| {
        let digits: Vec<u8> = text
            .lines()
            .flat_map(|line| line.split('#').next().unwrap_or("").chars())
            .filter_map(|digit| {
                digit
                    .to_digit(16)
                    .and_then(|digit| u8::try_from(digit).ok())
            })
            .collect();
        digits
            .chunks_exact(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect()
    };
    texts.iter().map(parse).collect()
}

fn packets(names: &[&str]) -> Vec<Vec<u8>> {
    let read = |name: &&str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/packets");
        fs::read_to_string(path.join(name).with_extension("hex")).expect("a packet of the tests")
    };
    let texts: Vec<String> = names.iter().map(read).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    hex(&texts)
}

/// The files below a folder of the project whose names end so.
fn files(folder: &str, extension: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut found = Vec::new();
    let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.extension().is_some_and(|found| found == extension) {
            found.push(fs::read(path).expect("a file of the project"));
        }
    }
    found
}

fn golden() -> Vec<Vec<u8>> {
    files("tests/golden/starla", "result")
}

fn transcripts() -> Vec<Vec<u8>> {
    let kinds = ["ping", "traceroute", "dns", "tls", "http", "ntp"];
    let folder = |kind| files(&format!("tests/transcripts/{kind}"), "transcript");
    kinds.into_iter().flat_map(folder).collect()
}

fn fragment() -> Vec<u8> {
    let data = [17, 0, 0, 9, 0, 0, 0, 1, 0, 1, 0, 2, 0, 8, 0, 0];
    let here = std::net::Ipv6Addr::LOCALHOST;
    Ipv6::new(here, here, 44, 64, &data).emit()
}

/// An error of an older router: the quote is not stated, the structure stands 128 octets on.
fn long_error() -> Vec<u8> {
    let here = std::net::Ipv4Addr::new(192, 0, 2, 1);
    let mut body = Ipv4::new(here, here, 17, 1, &[0; 108]).emit();
    body.extend(extension_structure(&[
        (1, 1, &[0, 6, 65, 1]),
        (2, 1, &[1, 2]),
    ]));
    Icmp {
        kind: 11,
        code: 0,
        checksum: 0,
        rest: [0; 4],
        body: &body,
    }
    .emit_v4()
}

fn interpreter() -> Vec<Vec<u8>> {
    let login = format!("C_TO_P_TEST_V1\n{SESSION}\n");
    let session = "CRONTAB /home/atlas/crons/7\nCRONLINE 240 0 0 UNIFORM 3 evping -4 -c 3 192.0.2.1\n\
                   CRONTAB /home/atlas/crons/main\nONEOFF /home/atlas/crons/oneoff evping -6 2001:db8::1\n\
                   RELOAD\nREBOOT\n{\"type\":\"ping\",\"msm_id\":1,\"target\":\"192.0.2.1\"}\n\n";
    let mut seeds = Vec::new();
    for flags in [6, 7] {
        seeds.push([&[flags], session.as_bytes()].concat());
        seeds.push([&[flags], &b"CRONLINE 1 2 3\nnonsense\n\n\n"[..]].concat());
    }
    let wrong = "C_TO_P_TEST_V1\nwrong\n";
    let steps: [(u8, &str); 4] = [(5, &login), (4, wrong), (5, "\n"), (4, "x\n")];
    for flags in [0, 1] {
        let mut seed = vec![flags, 0, 1];
        for (head, text) in steps {
            seed.push(head);
            seed.extend(u8::try_from(text.len()));
            seed.extend(text.bytes());
        }
        seeds.push(seed);
    }
    seeds
}

/// A command and what happens: see `machine.rs` for the bytes.
fn machines() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (command, happens) in MACHINES {
        let happens = hex(&[happens]).remove(0);
        for flags in [0u8, 3] {
            seeds.push([&[flags], command.as_bytes(), b"\n", &happens].concat());
        }
    }
    seeds
}

/// The recordings of those.
fn recordings() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (command, _) in MACHINES {
        for seed in machines() {
            if seed[1..].starts_with(command.as_bytes()) {
                for recording in recorded(&seed) {
                    let command = command.as_bytes();
                    seeds.push([&seed[..1], command, b"\n", &recording].concat());
                }
            }
        }
    }
    seeds
}

const MACHINES: &[(&str, &str)] = &[
    (
        "evping -4 -c 3 -A 1 192.0.2.1",
        // Resolved, opened, sent, a reply, the interval, sent, a late duplicate, a loss.
        "00 00  00 1234  00  77 0000 00 00  06 00  77 0000 00 00  77 0001 00 00  06 00 06",
    ),
    (
        "evping -6 -c 2 -s 60 host.example",
        "00 01  00 1234  00 0d 00  77 0000 20 0001ff 00  06 05 01 00 01  06",
    ),
    ("evping -4 -r -c 1 host.example", "05 00 00  00"),
    (
        "evtraceroute -4 -c 2 -m 4 -w 500 192.0.2.1",
        // Time exceeded twice, then port unreachable, with and without labels.
        "00 00  00 1234  00 77 0000 01 0b 00 00 00 0000  00 77 0000 01 0b 00 00 03 0000 04 00064101
         00 06 00 77 0000 03 0b 01 03 00 0000 00 06 06",
    ),
    (
        "evtraceroute -6 -I -c 1 -m 3 2001:db8::1",
        "00 00  00 1234  00 77 0000 01 0b 00 00 01 0000 04 00064101  00 77 0000 00 00 06",
    ),
    (
        "evtraceroute -4 -T -p 80 -c 1 -m 3 host.example",
        "00 00  00 1234  00 77 0000 01 0b 00 00 00 0000  00 77 0000 00 00000007 00 01 00 06",
    ),
    (
        "evtraceroute -6 -U -a 16 -c 1 -m 2 -S 1400 -H 8 -D 8 -F 2001:db8::1",
        "00 00  00 1234  00 77 0000 01 0b 02 00 00 0500  00 77 0000 01 0b 01 04 00 0000  06 06",
    ),
    (
        "evntp -4 -c 2 192.0.2.1",
        "00 00  00 1234  00 77 0000 00 24010300 00000001 00000002 47505300 e9000000 00000000 e9000000 00000000
         e9000000 10000000 e9000000 20000000 00  06 00  06 06",
    ),
    ("evntp -6 -c 1 -w 1000 host.example", "00 00  00 1234  05 00 00 01 06"),
    (
        "evtdig -4 --a www.example.com. --qbuf --ttl 192.0.2.53",
        "00 00  00 1234  00 77 0000 00 80 01 10 c00c 0001 0001 0000003c 0004 c0000201 00",
    ),
    (
        "evtdig -6 --soa . --retry 2 --cookies -n ns.example",
        "00 00  00 1234  00 06 06 00 1234 00 77 0000 00 80 00 00 00 06 06",
    ),
    (
        "evtdig -4 -t --txt version.bind. -p_probe_id 192.0.2.53",
        // Connected, written, readable, a reply in one piece.
        "00 00  00 00  00  00  00 01 80 01 12 c00c 0010 0003 00000000 0006 05 312e322e33 00",
    ),
    (
        "evtdig --tls -h 192.0.2.53",
        "00 00  00 02  00  00  00 04 0020 00 30 0001 00 01 80 00 00",
    ),
    (
        "evtdig --https --a www.example.com. 192.0.2.53",
        "00 00  00 02  00  00  00 12 0000 0004 0000 0000 00 00  00 30 00000e01 0400 0000 0188 5f90 1d75 d062 0d26
         00 06",
    ),
    (
        "evsslgetcert -4 -p 443 www.example.com",
        // Connected by our own TLS, readable, a flight that is an alert, then a second hello.
        "00 00  00 00  00 00  00 0e 15030300020228  00 00  00 00  00 00  00 92 16 0303 0045
         02 000026 0303 0000000000000000 0000000000000000 0000000000000000 0000000000000000 00 c02f 00
         0b 000017 000014 00000a 30820001020304050607 000004 deadbeef 00",
    ),
    (
        "evsslgetcert -6 -V TLS1.2 2001:db8::1",
        "00 00  00 00  00  00  00 0e 15030300020246  06 06",
    ),
    (
        "evsslgetcert -4 -h sni.example 192.0.2.1",
        "00 00  00 00  00 01 44 04 30820001  00 0e 15030300020228 06",
    ),
    (
        "evhttpget -4 -1 --all --store-headers 100 --store-body 50 http://www.example.com/x?y",
        "00 02  00 00  00  00  00 54 485454502f312e3120323030204f4b0d0a436f6e74656e742d4c656e6774683a20320d0a0d0a6f6b
         00 00 00 00 00 00 00 00 06",
    ),
    (
        "evhttpget -6 -c --etim --post-file /home/atlas/data/p https://www.example.com:8443/",
        "00 03 61 62 63  00 02  00 04  00  00  00 20 485454502f312e3120343034200d0a0d0a 00 00 05 00 06 06",
    ),
    (
        "evhttpget -0 --head http://192.0.2.1/",
        "00 00  00 00  00  00  00 1c 485454502f312e30203230300d0a0d0a 00 06",
    ),
    (
        "evhttpget -4 --eetim --store-headers 200 http://www.example.com/",
        // Resolved, connected, written, readable, a response with a length, chunks and a trailer, in pieces.
        "00 00  00 00  00  00  00 51 00 00 02 00 05 01 00 02 05 68656c6c6f 01 21  00 09  00 01  00 00 01 06",
    ),
    (
        "evhttpget -6 --all --combine --read-limit 60 https://www.example.com/",
        "00 01  00 02  00  00  00 01 04 01 01 02 03 616263 02 0a 30313233343536373839 02 6162  00 00  06 00 04 00 00 06",
    ),
    (
        "evsslgetcert -4 -V TLS1.2 192.0.2.1",
        // A hello and two certificates, each in a record of its own, the second read in small pieces.
        "00 00  00 00  00  00  00 41 00 00 01 00 c02f 00 03 02 04 30820001 03 a1b2c3  00 07  00 07  00 01",
    ),
    (
        "evsslgetcert -6 -h sni.example host.example",
        // TLS 1.3, then what the library found.
        "00 01  00 00  00 00  00 01 00 00 01 01 1301 20 06 04 deadbeef  00 01 c4 02 3082 02 3083 00",
    ),
    (
        "evsslgetcert -4 -h sni.example host.example",
        // A request for another hello, an alert, the other hello, another alert.
        "00 01  00 00  00 00  00 01 01 00 01 02 1302 00 10 05 02 28 01  00 00  00 00  00 00  00 01 00 01 00 05 02 46",
    ),
    (
        "evtdig --https --qbuf --a www.example.com. 192.0.2.53",
        "00 00  00 02  00  00  00 01 00 00 00 00 00 80 01 10 c00c 0001 0001 0000003c 0004 c0000201 14  00 01",
    ),
    (
        "evtdig --resolv -4 --a $r.$t.$p.example.",
        "00 02 00 01  00 00  00 1234 00 77 0000 00 80 00 00 06 00 00 00 1234 00 06 06",
    ),
];

const DNS: &[&str] = &[
    "# A TXT record behind a pointer\n\
     1234 8180 0001 0001 0000 0000 03777777 076578616d706c65 00 0010 0001 \
     c00c 0010 0001 0000003c 0006 05 68656c6c6f",
    "# SOA, then TXT of two strings\n\
     0001 8400 0001 0002 0000 0000 00 0006 0001 \
     00 0006 0001 00000e10 0018 016100 016200 00000001 00000002 00000003 00000004 00000005 \
     00 0010 0001 00000000 0004 0161 0162",
    "# OPT with a cookie\n\
     0001 8100 0001 0000 0000 0001 00 0002 0001 00 0029 0200 00000000 0014 000a 0010 \
     0001020304050607 08090a0b0c0d0e0f",
    "# A query with EDNS\n\
     0001 0100 0001 0000 0000 0001 03777777 00 0001 0001 00 0029 0200 00008000 0004 0003 0000",
    "# A pointer to itself\n0001 8180 0001 0001 0000 0000 00 0010 0001 c00f 0010 0001 00000000 0000",
];

const HTTP2: &[&str] = &[
    "# SETTINGS, a header block with Huffman coding, DATA\n\
     000006 04 00 00000000 0003 00000064  00000e 01 04 00000001 88 5f90 1d75 d062 0d26 3d4c 4952 16a4 \
     000003 00 01 00000001 616263",
    "# Padded HEADERS with priority, CONTINUATION, PING, GOAWAY\n\
     00000a 01 28 00000001 02 00000000 10 88 82 0000  000001 09 04 00000001 84 \
     000008 06 00 00000000 0001020304050607  000008 07 00 00000000 00000000 00000000",
    "# Only a header block: indexed, incremental, size update, literals\n\
     3f e1 1f 82 86 84 41 0f 7777772e6578616d706c652e636f6d 58 08 6e6f2d6361636865 be 00 01 61 01 62",
];

const HTTP: &[&str] = &[
    "\0\0\x05HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello",
    "\0\0\x03HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nTrailer: x\r\n\r\n",
    "\x01\0\x07HTTP/1.0 301 Moved\nLocation: /\n\n",
    "\x02\x06\x02HTTP/1.1 404 Not Found\r\nServer: x\r\n\r\nuntil it closes",
    "\x04\x03\x09http/1.1 100 \r\n\r\nHTTP/1.1 204 None\r\n\r\n",
];

const TLS: &[&str] = &[
    "# A ServerHello of TLS 1.2 and two certificates in one record\n\
     00 05 16 0303 0045 \
     02 000026 0303 0000000000000000 0000000000000000 0000000000000000 0000000000000000 00 c02f 00 \
     0b 000017 000014 00000a 30820001020304050607 000004 deadbeef",
    "# TLS 1.3 chosen by an extension\n\
     01 01 16 0303 0032 02 00002e 0303 0000000000000000 0000000000000000 0000000000000000 0000000000000000 00 1301 00 \
     0006 002b 0002 0304",
    "# An alert in two records, in pieces\n00 02 15 0301 0001 02 15 0301 0001 46",
    "# A retry, then a change of cipher\n\
     01 00 16 0303 0032 02 00002e 0303 cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c 00 1301 00 \
     0006 002b 0002 0304 14 0303 0001 01",
];

const TELNET: &[&str] = &[
    "\x03CRONTAB /home/atlas/crons/7\r\nCRONLINE 1 2 3\n\n",
    "\x01a\rb\n\0c\n\r\n\n",
];

const DIALOGUE: &[&str] = &[
    "\x01\x02Atlas probe, see http://atlas.ripe.net/\r\n\r\nProbe 1 (host) login: \0\r\nPassword: \0OK\r\n\r\n\0OK\r\n\r\n",
    "\x07\x01x login: \0\r\nPassword: \0BAD_PASSWORD\r\n\r\n",
    "\0\x03 login: \0Password: \0BAD_COMMAND\r\n\r\n\0OK\r\n\r\n",
    "\x05\x02 login: \0Password: \0\0BAD_PATH\r\n\r\n\0OK\r\n\r\n",
];

const COMMANDS: &[&str] = &[
    "",
    "REBOOT",
    "RELOAD",
    "CRONTAB /home/atlas/crons/7",
    "CRONTAB /var/atlas-probe/crons/./main/",
    "CRONLINE 240 0 0 UNIFORM 3 evping -4 -c 3 -A \"1001\" -O /home/atlas/data/new/7 192.0.2.1",
    "ONEOFF /home/atlas/crons/oneoff evtdig -4 --a \"www.example.com.\" 192.0.2.53",
    r#"{"type":"ping","msm_id":1001,"target":"192.0.2.1","af":4,"packets":3,"args":["-s","60"]}"#,
    r#"{"type":"traceroute","msm_id":5,"target":"2001:db8::1","af":6}"#,
];

const CRONTABS: &[&str] = &[
    "240 0 1700000000 UNIFORM 3 evping -4 -c 3 192.0.2.1\n0 0 0 NONE 0 evntp -4 192.0.2.1 # once\nMAILTO=x\n",
    "60 1 2 UNIFORM 0 evtraceroute -6 \\\n -I 2001:db8::1\n",
    "120 1 3573339600 UNIFORM 3 httppost -A 9002 --delete-file --maxpostsize 1000000 \
     --post-header /home/atlas/data/new/h --post-dir '/home/atlas/data/out' --post-footer f \
     -O /home/atlas/data/new/main http://127.0.0.1:8080/?PROBE_ID=1&SESSION_ID=fa >> /dev/null\n",
    "180 1 3573339600 NONE NULL condmv -A 9804 -x 120 /home/atlas/data/new/7 /home/atlas/data/out/7\n",
    "post\nreload_resolv_conf\nbarrier /home/atlas/x\nevping \"\" \"a b\" c\n",
];

const REGISTRATION: &[&str] = &[
    "OK\nCONTROLLER ctr.example.net 443 ssh-rsa AAAAB3NzaC1yc2E=\nREREGISTER 86400\nPROBE_ID 1015186\n",
    "OK\n",
    "WAIT\nTIMEOUT 3600\n",
    "REFUSED\nREASON: none\n",
    "OK\nREMOTE_PORT 2023\nSESSION_ID fa0b28e5f26291ad4a41ceecffc73457cbb4180291f53abdcda5667357440a9f\n",
    "P_TO_R_INIT\nTOKEN_SPECS fluffy 1000 5120 debian/12/x86_64\nREASON_FOR_REGISTRATION NEW\n",
    "P_TO_R_INIT TOKEN_SPECS fluffy 1000 5120 x/1/y REASON_FOR_REGISTRATION REREG_TIMER_EXPIRED",
    "OK\nFIRMWARE_APPS_VERSION 1\nFIRMWARE_APPS 1 2 3\nDHCPV4 True\nIPV4 192.0.2.1\nDNS_SERVERS 192.0.2.1\n",
];

const POSTS: &[&str] = &[
    "P_TO_C_REPORT\nRESULT { \"id\":\"1\" }\nRESULT 9901 ongoing 1 x\n\nSESSION_ID fa0b28e5\n",
    "P_TO_C_REPORT\n\nSESSION_ID fa\n",
    "P_TO_C_REPORT\nnone\nRESULT {}\n\nSESSION_ID fa\n",
    "/?PROBE_ID=1&SESSION_ID=fa&SRC=oneoff",
];

const RESPONSES: &[&str] = &[
    "\x03HTTP/1.1 200 \r\nContent-Length: 3\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: close\r\n\r\nOK\n",
    "\x02HTTP/1.1 429 Too Many\r\nRetry-After: 120\r\n\r\nwait",
    "\x05HTTP/1.1 503 x\r\nRetry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 0\r\n\r\n",
    "\x04HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2;x=y\nOK\n1\r\n\n\r\n0\r\nT: v\r\n\r\n",
];

const DATES: &[&str] = &[
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Thu, 29 Feb 2024 23:59:60 GMT",
    "Fri, 31 Dec 9999 23:59:59 GMT",
];

const RESULTS: &[&str] = &[
    r#"{ "id":"1001", "fw":5120, "mver": "2.6.4", "lts":12, "time":1700000003, "af":4, "result": [ { "x":"*" }, { "rtt":10.5 } ] }"#,
    r#"{ "id":"42", "lts":123"bundle":43, , "time":9, "rt": 2.0, "cert":[ "x, , y" ] }"#,
    r#"{ "af": 4, "result": [ { "hop":1, "result": [ { "from":"192.0.2.1" } } ] } ] }"#,
    "9901 ongoing 1775483034 starling",
    "9000 done 17 525400123456 STARTING",
];

const CONFIGS: &[&str] = &[
    "dialect = \"starla\"\ndata_dir = \"/tmp/x\"\n[measurement]\n[log]\nlevel = \"debug\"\n",
    "90s",
    "250ms",
];

const SYSTEM: &[&str] = &[
    "Inter-|   Receive                                                |  Transmit\n \
     face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
     lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n",
    "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
     eth0\t00000000\t0102A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n",
    "00000000000000000000000000000001 01 80 10 80       lo\n",
    "00000000000000000000000000000000 00 00000000000000000000000000000000 00 20010db8000000000000000000000001 \
     00000400 00000000 00000000 00000003     eth0\n",
    "nameserver 192.0.2.1\nnameserver 2001:db8::53 # x\nsearch example\n",
    "ID=debian\nVERSION_ID=\"12\"\n",
    "12345.67 54321.00\n",
];

const SEGMENTS: &[&str] = &[
    "000000000042.open\nRESULT { }\nRESULT 1 done\nRESULT torn",
    "000000000042-11-00000000.lines\nRESULT { }\nx\n",
    "000000000042-11-1c291ca3.lines.z\nRESULT a\0b\n",
    "000000000001.bad\n",
    "000000000001.tmp\nRESULT \u{e9}\n",
];

const SPOOLS: &[&str] = &[
    "30 01 61 62 63 00  32 02 61 62 63 05 524553554c  34 03 61 62 63 00  05 04 00  06 05 03 616263  07 06 00",
    "72 01 61 62 63 00 05  b4 02 61 62 63 03 010203",
    "10 09 61 0b 524553554c5420 610a 6262  12 09 62 00",
];

/// Form, name, flags, numbers of records, records.
const RESOLVER: &[&str] = &[
    "00 09 612e6578616d706c65  8180 0001  c00c 0001 0001 0000003c 0004 c0000201",
    "01 09 612e6578616d706c65  8180 0001  c00c 001c 0001 0000003c 0010 20010db8000000000000000000000001",
    "02 03 612e62              8180 0001  c00c 000c 0001 0000003c 0009 016107657861 00",
    "00 01 61                  8183 0000",
    "00 01 61  8180 0002  c00c 0005 0001 0000003c 0003 016200  016200 0001 0001 0000003c 0004 c0000201",
    "08 01 61                  1234 8180 0000 0000 0000 0000",
];

/// Registered, a session opened and kept.
fn sessions() -> Vec<Vec<u8>> {
    let mut seeds = hex(&[
        "03 00 00000007 07 03 00 01 07 07 07 07 03 01 61 02 07 07 05 00000001 07 04 0e10 07",
        "00 00 00000001 07 07 07",
    ]);
    let mut whole = vec![3, 0, 0, 0, 0, 7, 7];
    for text in [REGISTRATION[0], RESPONSES[0]] {
        let text = text.as_bytes();
        whole.push(1);
        whole.push(u8::try_from(text.len().min(255)).expect("at most 255"));
        whole.extend(&text[..text.len().min(255)]);
        whole.extend([7, 0, 7]);
    }
    seeds.push(whole);
    seeds
}

/// Seed, then what happens: tables, one-offs, runs that end, time that passes.
const SCHEDULES: &[&str] = &[
    "00000001  00 00 02  00 00 003c 00000000 00  01 00 00f0 00000007 00  07 07 02 00 07 07 02 00 07",
    "00000002  01 00 04 0000 00000000 00  01 00 04 0000 00000001 00  01 01 06 0000 00000000 ffff 00  07 02 00 07",
    "00000003  00 01 01  00 08 0001 00000000 0014 01  07 07 04 0e10 07 04 f1f0 07 05 ffff 07",
];

/// Seed, a session, a tunnel, results, posts and what comes of them.
fn uploaders() -> Vec<Vec<u8>> {
    let mut seeds = hex(&[
        "00000001 00 01 01 01 03 00 000003e8 01 07 07 04 00 06 00c8 07 03 01 00000064 01 04 00 02 01f4 07 07",
        "00000002 00 00 01 01 07 04 00 01 0000 07 07 01 00 07 01 01 07 04 00 1e 00c8 00000010 0005 0010 07",
    ]);
    for line in CRONTABS {
        let line = line.as_bytes();
        let mut seed = vec![0, 0, 0, 3, 0, 1, 1, 1, 2];
        seed.push(u8::try_from(line.len().min(255)).expect("at most 255"));
        seed.extend(&line[..line.len().min(255)]);
        seed.extend([7, 7, 4, 0, 6, 0, 200, 7]);
        seeds.push(seed);
    }
    seeds
}

/// Pieces, then a request.
const REQUESTS: &[&str] = &[
    "\x07POST /?PROBE_ID=1&SESSION_ID=fa HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
     User-Agent: httppost for atlas.ripe.net\r\nContent-Length: 5\r\n\r\nhello",
    "\x03POST /?PROBE_ID=1&SESSION_ID=fa&SRC=oneoff HTTP/1.0\r\ncontent-length: 0\r\n\r\n",
    "\0POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "\x01GET / HTTP/1.1\nContent-Length: 1\nContent-Length: 2\n\n",
    "\x02\x16\x03\x01\x02\0\x01\0\x01~\x03\x03",
    "\x04POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
];

/// Configuration and limits, then a probe that registers, comes, is told, posts, is asked for things and leaves; with
/// a disk that works and one that does not.
fn networks() -> Vec<Vec<u8>> {
    let come = "00 00 00  03 00 01  02 00  01 01 00  04 00  05 00 02  06 00  0b 00";
    // Two posts with a line in common while the disk is busy; the first fails.
    let post = "07 00 00 08 3d31303031 0a3d32  07 00 00 05 3d31303031  0a 01 0a 00  07 00 00 05 3d31303031 0a 00";
    let asked = "0c 01 00 13 657670696e67202d34203139322e302e322e31 0b 00  0c 12 00 00 04  07 00 01 02 3d33 0a 00
                 0c 07 01 00  0c 17 01 00  0d  00 01 00  06 00  0e 0000 ffff  0f 00 0f 00";
    let mut seeds = Vec::new();
    for front in ["00 00", "00 01", "13 02", "01 08", "10 10", "0c 00"] {
        let text = [front, come, post, asked].join(" ");
        seeds.extend(hex(&[&text]));
    }
    seeds
}
