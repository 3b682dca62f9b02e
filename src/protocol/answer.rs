//! The line rules that the answers to both INITs share (`controller-protocol` section 2.4).
