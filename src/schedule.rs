//! Which job runs when: periodic and one-off jobs, spread, overlap, missed runs, clock steps
//! (`controller-protocol` sections 5.1 to 5.4). Pure.
