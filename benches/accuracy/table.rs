//! What each tool reports against what was captured.

use crate::{
    common::{
        capture::Packet,
        figures::{self, Errors, micros, quantile},
    },
    exchange::{self, Exchange},
    responder,
    tools::{Kind, Reported, Tool},
};

/// Adds one run of a tool: what it reported, and what the tap saw meanwhile.
pub(crate) fn compare(errors: &mut Errors, kind: Kind, reported: &[Reported], packets: &[Packet]) {
    let mut exchanges = exchange::exchanges(packets);
    for reported in reported {
        // The first of those to this target and hop that was not compared yet.
        let at = exchanges.iter().position(|exchange| {
            exchange.to == reported.to && reported.ttl.is_none_or(|ttl| ttl == exchange.ttl)
        });
        let captured = at.and_then(|at| truth(kind, &exchanges.remove(at)));
        errors.add(reported.micros, captured);
    }
    errors.apart += exchanges.len();
    // A tool that says nothing at all must not keep us here forever.
    errors.apart += usize::from(reported.is_empty());
}

/// The captured figure in microseconds: a round trip, or the clock offset (RFC 5905 section 8) with the server's
/// times as they stand in its reply.
fn truth(kind: Kind, exchange: &Exchange) -> Option<f64> {
    let (received, content) = exchange.reply.as_ref()?;
    if kind != Kind::Ntp {
        return Some(micros(received - exchange.sent));
    }
    let time = |at: usize| -> Option<i64> {
        let octets = content.get(at..at + 8)?;
        octets.try_into().ok().map(responder::nanos)
    };
    let there = time(32)? - exchange.sent;
    let back = time(40)? - received;
    Some(micros(there + back) / 2.0)
}

/// How early the tap can be.
pub(crate) fn bias(load: &str, later: &[i64]) {
    let mut later: Vec<f64> = later.iter().map(|nanos| micros(*nanos)).collect();
    later.sort_by(f64::total_cmp);
    println!(
        "\nTap, {load}: the far end of the link saw requests {} us (median), {} us (p99) after the tap;",
        quantile(&later, 50),
        quantile(&later, 99)
    );
    println!("the driver's time, which starling reports, lies in between.");
}

/// One table: tools down, figures across.
pub(crate) fn print(kind: Kind, load: &str, errors: &[(Tool, Errors)]) {
    figures::heading(
        &format!("{}, {load}: reported minus captured, us", kind.name()),
        "packets",
    );
    for (tool, errors) in errors {
        figures::row(tool.name(), errors);
    }
}
