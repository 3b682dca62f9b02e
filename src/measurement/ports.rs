//! Ports by number or by name. The tables of the host are not read: a result must not depend on them.

/// Names that a server's port may go by (IANA).
const SERVICES: [(&str, u16); 23] = [
    ("tcpmux", 1),
    ("echo", 7),
    ("discard", 9),
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("time", 37),
    ("domain", 53),
    ("http", 80),
    ("ntp", 123),
    ("snmp", 161),
    ("https", 443),
    ("submissions", 465),
    ("smtps", 465),
    ("submission", 587),
    ("ldaps", 636),
    ("domain-s", 853),
    ("ftps", 990),
    ("imaps", 993),
    ("pop3s", 995),
    ("mdns", 5353),
    ("http-alt", 8080),
];

/// The port that a port option's text names: a decimal number up to 65535 or a service.
#[must_use]
pub fn port(text: &str) -> Option<u16> {
    let service = SERVICES.iter().find(|(name, _)| *name == text);
    service
        .map(|(_, number)| *number)
        .or_else(|| text.parse().ok())
}
