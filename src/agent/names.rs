//! The session's names: through the same resolver as everything else, one question for each family.

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::timeout};

use crate::{
    measurement::machine::{Family, ResolveError},
    net::Net,
    session::ssh::Resolve,
};

/// How long the other family is waited for once one has told addresses. RFC 8305 section 3 would give IPv6 50 ms and
/// add addresses to a race under way; here a list is made once, so both get the time that an answer takes on a bad
/// line.
const OTHER_FAMILY: Duration = Duration::from_secs(1);

type Looked = Result<Vec<IpAddr>, ResolveError>;

/// Looks names up for the session. A question that is never answered, as some resolvers do with IPv6, does not hold
/// the other up.
#[must_use]
pub fn resolve_through(net: Net) -> Resolve {
    Arc::new(move |host: String, port: u16| {
        let mut lookups = JoinSet::new();
        for family in [Family::V6, Family::V4] {
            let (net, host) = (net.clone(), host.clone());
            lookups.spawn(async move { net.lookup(&host, family).await });
        }
        Box::pin(async move {
            let addresses = gathered(lookups).await?;
            Ok(addresses
                .into_iter()
                .map(|address| (address, port).into())
                .collect())
        })
    })
}

/// What all look-ups tell; once one told something, of the others what comes soon.
async fn gathered(mut lookups: JoinSet<Looked>) -> Looked {
    let mut found = Vec::new();
    let mut cause = ResolveError::NotKnown;
    loop {
        let told = if found.is_empty() {
            lookups.join_next().await
        } else {
            timeout(OTHER_FAMILY, lookups.join_next())
                .await
                .unwrap_or(None)
        };
        match told {
            Some(Ok(Ok(addresses))) => found.extend(addresses),
            Some(Ok(Err(ResolveError::NotKnown))) => {}
            Some(_) => cause = ResolveError::Failed,
            None if found.is_empty() => return Err(cause),
            None => return Ok(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::sleep;

    /// Each look-up tells after so many milliseconds.
    fn after(lookups: [(u64, Looked); 2]) -> Looked {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut set = JoinSet::new();
            for (millis, looked) in lookups {
                set.spawn(async move {
                    sleep(Duration::from_millis(millis)).await;
                    looked
                });
            }
            gathered(set).await
        })
    }

    fn found(address: &str) -> Looked {
        Ok(vec![address.parse().unwrap()])
    }

    #[test]
    fn a_family_that_is_never_answered_does_not_hold_the_other_up() {
        let both = after([(10, found("192.0.2.1")), (900, found("2001:db8::1"))]);
        assert_eq!(both.unwrap().len(), 2);
        let four = after([(10, found("192.0.2.1")), (60_000, found("2001:db8::1"))]);
        assert_eq!(four, found("192.0.2.1"));
        let six = after([
            (60_000, Err(ResolveError::Failed)),
            (10, found("2001:db8::1")),
        ]);
        assert_eq!(six, found("2001:db8::1"));
    }

    #[test]
    fn a_family_without_addresses_leaves_the_other_its_time() {
        for cause in [ResolveError::NotKnown, ResolveError::Failed] {
            let late = after([(10, Err(cause)), (20_000, found("192.0.2.1"))]);
            assert_eq!(late, found("192.0.2.1"));
        }
    }

    #[test]
    fn only_a_name_that_neither_family_knows_is_not_known() {
        let (not_known, failed) = (ResolveError::NotKnown, ResolveError::Failed);
        assert_eq!(
            after([(1, Err(not_known)), (2, Err(not_known))]),
            Err(not_known)
        );
        assert_eq!(after([(1, Err(failed)), (2, Err(not_known))]), Err(failed));
        assert_eq!(after([(1, Err(not_known)), (2, Err(failed))]), Err(failed));
    }
}
