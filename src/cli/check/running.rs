//! What a running agent got, as it says itself.

use super::{super::status::Unasked, Finding, host};
use crate::{
    net::Capabilities,
    observe::status::{Report, SessionState},
};

/// Whether an agent runs, and how it does.
pub(super) fn finding(running: &Result<Report, Unasked>) -> Finding {
    const WHAT: &str = "agent";
    let report = match running {
        Ok(report) => report,
        Err(Unasked::Nobody(_)) => {
            return Finding::ok(WHAT, "none runs with this data directory");
        }
        Err(Unasked::Hangs(_)) => {
            return Finding::problem(
                WHAT,
                "one runs and does not answer",
                "restart it: systemctl restart starling",
            );
        }
        Err(why) => {
            return Finding::warning(
                WHAT,
                why.to_string(),
                "what follows is said of this user and this kernel",
            );
        }
    };
    let words = format!("process {}: {}", report.pid, report.health.words());
    if report.health.ready {
        Finding::ok(WHAT, words)
    } else if !report.health.live {
        Finding::problem(WHAT, words, "restart it: systemctl restart starling")
    } else if report.session.state == SessionState::WaitingForApproval {
        Finding::warning(
            WHAT,
            words,
            "whoever runs the network must approve the key that `starling key show` prints",
        )
    } else {
        Finding::warning(WHAT, words, "`starling status` says more")
    }
}

/// What it may do and what it gave up.
pub(super) fn privileges(report: &Report) -> Vec<Finding> {
    let may = Capabilities {
        raw: report.host.raw_sockets,
        datagram_icmp: report.host.datagram_icmp,
    };
    let layers = report.host.confinement.iter().map(|layer| {
        if layer.holds {
            Finding::ok("confinement", layer.words.clone())
        } else {
            Finding::warning(
                "confinement",
                layer.words.clone(),
                "nothing breaks; a newer kernel would confine the probe better",
            )
        }
    });
    let [raw, ping] = host::sockets(may);
    [raw, ping].into_iter().chain(layers).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{super::Verdict, *};
    use crate::observe::status::{Health, Host, Layer};

    #[test]
    fn an_agent_that_runs_is_judged_by_its_health() {
        let verdict = |live, ready| {
            let health = Health {
                live,
                ready,
                lacks: Vec::new(),
            };
            finding(&Ok(Report {
                health,
                ..Report::default()
            }))
            .verdict
        };
        assert_eq!(verdict(true, true), Verdict::Ok);
        assert_eq!(verdict(true, false), Verdict::Warning);
        assert_eq!(verdict(false, false), Verdict::Problem);
        let hangs = finding(&Err(Unasked::Hangs(PathBuf::new())));
        assert_eq!(hangs.verdict, Verdict::Problem);
        let nobody = finding(&Err(Unasked::Nobody(PathBuf::new())));
        assert_eq!(nobody.verdict, Verdict::Ok);
    }

    #[test]
    fn what_it_got_counts() {
        let layer = |holds, words: &str| Layer {
            holds,
            words: words.to_owned(),
        };
        let findings = privileges(&Report {
            host: Host {
                raw_sockets: true,
                confinement: vec![layer(true, "seccomp: on"), layer(false, "landlock: none")],
                ..Host::default()
            },
            ..Report::default()
        });
        let told: Vec<_> = findings
            .iter()
            .map(|finding| (finding.what, finding.verdict))
            .collect();
        assert_eq!(
            told,
            [
                ("raw sockets", Verdict::Ok),
                ("ping sockets", Verdict::Ok),
                ("confinement", Verdict::Ok),
                ("confinement", Verdict::Warning)
            ]
        );
    }
}
