//! Wharf's peers: tests that hold Wharf against other implementations. They are oracles, never dependencies of Wharf.
